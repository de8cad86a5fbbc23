package api

import (
	"context"

	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/store"
)

// ListGroups answers GET /v1/groups.
func (r *rest) ListGroups(ctx context.Context, q ListGroupsRequestObject) (ListGroupsResponseObject, error) {
	after, err := parseCursor(q.Params.Cursor, "groups", 1)
	if err != nil {
		return nil, err
	}
	limit := limitOf(q.Params.Limit)
	list, err := r.DB.Groups(ctx, store.Page{After: after[0], Limit: limit + 1})
	if err != nil {
		return nil, err
	}
	list, next := page(list, limit, "groups", func(g store.Group) []string { return []string{g.Name} })
	return ListGroups200JSONResponse{Groups: each(list, renderGroup), NextCursor: next}, nil
}

// GetGroup answers GET /v1/groups/{name}.
func (r *rest) GetGroup(ctx context.Context, q GetGroupRequestObject) (GetGroupResponseObject, error) {
	g, err := r.DB.Group(ctx, q.Name)
	return GetGroup200JSONResponse{groupAnswer(g)}, err
}

// PutGroup answers PUT /v1/groups/{name}.
func (r *rest) PutGroup(ctx context.Context, q PutGroupRequestObject) (PutGroupResponseObject, error) {
	how, err := editOf(editParams{q.Params.IfMatch, q.Params.IfNoneMatch != nil, q.Params.DryRun, q.Params.Assume})
	if err != nil {
		return nil, err
	}
	g := store.Group{Name: q.Name, Description: value(q.Body.Description), DeviceProfile: value(q.Body.DeviceProfile), Items: each(q.Body.Items, itemOf)}
	g, created, err := r.Intake.PutGroup(ctx, actorOf(ctx), g, how)
	if err != nil {
		return nil, err
	}
	if created {
		return PutGroup201JSONResponse{Body: renderGroup(g), Headers: PutGroup201ResponseHeaders{ETag: etag(g.Version)}}, nil
	}
	return PutGroup200JSONResponse{groupAnswer(g)}, nil
}

// DeleteGroup answers DELETE /v1/groups/{name}.
func (r *rest) DeleteGroup(ctx context.Context, q DeleteGroupRequestObject) (DeleteGroupResponseObject, error) {
	condition, err := conditionOf(q.Params.IfMatch, false)
	if err != nil {
		return nil, err
	}
	return DeleteGroup204Response{}, r.Intake.DeleteGroup(ctx, q.Name, condition)
}

func itemOf(in GroupItem) provision.Item {
	return provision.Item{
		Key:   provision.ItemKey{Kind: provision.ItemKind(in.Kind), Name: in.Name},
		Stage: provision.Stage(value(in.Stage)),
		DependsOn: each(value(in.DependsOn), func(ref ItemRef) provision.ItemKey {
			return provision.ItemKey{Kind: provision.ItemKind(ref.Kind), Name: ref.Name}
		}),
	}
}

func renderGroup(g store.Group) Group {
	return Group{
		Name: g.Name, Description: g.Description, DeviceProfile: given(g.DeviceProfile), Items: each(g.Items, renderItem), Version: g.Version,
		CreatedAt: g.CreatedAt, UpdatedAt: g.UpdatedAt,
	}
}

func renderItem(it provision.Item) GroupItem {
	stage := Stage(it.Stage)
	out := GroupItem{Kind: ItemKind(it.Key.Kind), Name: it.Key.Name, Stage: &stage}
	if len(it.DependsOn) > 0 {
		refs := each(it.DependsOn, refOf)
		out.DependsOn = &refs
	}
	return out
}

func refOf(k provision.ItemKey) ItemRef { return ItemRef{Kind: ItemKind(k.Kind), Name: k.Name} }

func groupAnswer(g store.Group) GroupJSONResponse {
	return GroupJSONResponse{Body: renderGroup(g), Headers: GroupResponseHeaders{ETag: etag(g.Version)}}
}
