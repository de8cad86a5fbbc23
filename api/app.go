package api

import (
	"context"

	"github.com/muster-mdm/muster/store"
)

// ListApps answers GET /v1/apps.
func (r *rest) ListApps(ctx context.Context, q ListAppsRequestObject) (ListAppsResponseObject, error) {
	after, err := parseCursor(q.Params.Cursor, "apps", 1)
	if err != nil {
		return nil, err
	}
	limit := limitOf(q.Params.Limit)
	list, err := r.DB.Apps(ctx, store.Page{After: after[0], Limit: limit + 1})
	if err != nil {
		return nil, err
	}
	list, next := page(list, limit, "apps", func(a store.App) []string { return []string{a.Name} })
	return ListApps200JSONResponse{Apps: each(list, renderApp), NextCursor: next}, nil
}

// GetApp answers GET /v1/apps/{name}.
func (r *rest) GetApp(ctx context.Context, q GetAppRequestObject) (GetAppResponseObject, error) {
	a, err := r.DB.App(ctx, q.Name)
	return GetApp200JSONResponse{appAnswer(a)}, err
}

// PutApp answers PUT /v1/apps/{name}.
func (r *rest) PutApp(ctx context.Context, q PutAppRequestObject) (PutAppResponseObject, error) {
	how, err := editOf(editParams{q.Params.IfMatch, q.Params.IfNoneMatch != nil, q.Params.DryRun, nil})
	if err != nil {
		return nil, err
	}
	a, created, err := r.Intake.PutApp(ctx, actorOf(ctx), store.App{
		Name: q.Name, Description: value(q.Body.Description), BundleID: q.Body.BundleId,
		ManifestURL: value(q.Body.ManifestUrl), StoreID: value(q.Body.StoreId),
	}, how)
	if err != nil {
		return nil, err
	}
	if created {
		return PutApp201JSONResponse{Body: renderApp(a), Headers: PutApp201ResponseHeaders{ETag: etag(a.Version)}}, nil
	}
	return PutApp200JSONResponse{appAnswer(a)}, nil
}

// DeleteApp answers DELETE /v1/apps/{name}.
func (r *rest) DeleteApp(ctx context.Context, q DeleteAppRequestObject) (DeleteAppResponseObject, error) {
	condition, err := conditionOf(q.Params.IfMatch, false)
	if err != nil {
		return nil, err
	}
	return DeleteApp204Response{}, r.Intake.DeleteApp(ctx, q.Name, condition)
}

func renderApp(a store.App) App {
	return App{
		Name: a.Name, Description: a.Description, BundleId: a.BundleID, ManifestUrl: given(a.ManifestURL),
		StoreId: given(a.StoreID), Content: a.Content, Version: a.Version, CreatedAt: a.CreatedAt, UpdatedAt: a.UpdatedAt,
	}
}

func appAnswer(a store.App) AppJSONResponse {
	return AppJSONResponse{Body: renderApp(a), Headers: AppResponseHeaders{ETag: etag(a.Version)}}
}
