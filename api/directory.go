package api

import (
	"context"

	"github.com/muster-mdm/muster/api/intake"
	"github.com/muster-mdm/muster/directory"
	"github.com/muster-mdm/muster/store"
)

// ListDirectories answers GET /v1/directories.
func (r *rest) ListDirectories(ctx context.Context, q ListDirectoriesRequestObject) (ListDirectoriesResponseObject, error) {
	after, err := parseCursor(q.Params.Cursor, "directories", 1)
	if err != nil {
		return nil, err
	}
	limit := limitOf(q.Params.Limit)
	list, err := r.DB.Directories(ctx, store.Page{After: after[0], Limit: limit + 1})
	if err != nil {
		return nil, err
	}
	list, next := page(list, limit, "directories", func(d store.Directory) []string { return []string{d.Name} })
	out := ListDirectories200JSONResponse{Directories: make([]Directory, len(list)), NextCursor: next}
	for i, d := range list {
		if out.Directories[i], err = renderDirectory(d); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// GetDirectory answers GET /v1/directories/{name}.
func (r *rest) GetDirectory(ctx context.Context, q GetDirectoryRequestObject) (GetDirectoryResponseObject, error) {
	d, err := r.DB.Directory(ctx, q.Name)
	if err != nil {
		return nil, err
	}
	shown, err := renderDirectory(d)
	return GetDirectory200JSONResponse{DirectoryJSONResponse{Body: shown, Headers: DirectoryResponseHeaders{ETag: etag(d.Version)}}}, err
}

// PutDirectory answers PUT /v1/directories/{name}.
func (r *rest) PutDirectory(ctx context.Context, q PutDirectoryRequestObject) (PutDirectoryResponseObject, error) {
	how, err := editOf(editParams{q.Params.IfMatch, q.Params.IfNoneMatch != nil, q.Params.DryRun, q.Params.Assume})
	if err != nil {
		return nil, err
	}
	wish, err := wishedDirectory(q.Name, *q.Body)
	if err != nil {
		return nil, err
	}
	d, created, err := r.Intake.PutDirectory(ctx, wish, how)
	if err != nil {
		return nil, err
	}
	shown, err := renderDirectory(d)
	if created {
		return PutDirectory201JSONResponse{Body: shown, Headers: PutDirectory201ResponseHeaders{ETag: etag(d.Version)}}, err
	}
	return PutDirectory200JSONResponse{DirectoryJSONResponse{Body: shown, Headers: DirectoryResponseHeaders{ETag: etag(d.Version)}}}, err
}

// DeleteDirectory answers DELETE /v1/directories/{name}.
func (r *rest) DeleteDirectory(ctx context.Context, q DeleteDirectoryRequestObject) (DeleteDirectoryResponseObject, error) {
	condition, err := conditionOf(q.Params.IfMatch, false)
	if err != nil {
		return nil, err
	}
	return DeleteDirectory204Response{}, r.Intake.DeleteDirectory(ctx, q.Name, condition)
}

// TestDirectory answers POST /v1/directories/{name}:test.
func (r *rest) TestDirectory(ctx context.Context, q TestDirectoryRequestObject) (TestDirectoryResponseObject, error) {
	var try *intake.AccountTry
	if b := value(q.Body); b != (DirectoryTestInput{}) {
		try = &intake.AccountTry{Account: b.Account, Password: b.Password, By: actorOf(ctx)}
	}
	tested, err := r.Intake.TestDirectory(ctx, q.Name, try)
	out := DirectoryTest{Works: len(tested.Problems) == 0, Person: renderTested(tested)}
	out.Problems = make([]struct {
		Code   string `json:"code"`
		Detail string `json:"detail"`
	}, len(tested.Problems))
	for i, p := range tested.Problems {
		out.Problems[i].Code, out.Problems[i].Detail = string(p.Code), p.Message
	}
	return TestDirectory200JSONResponse(out), err
}

func renderTested(t intake.DirectoryTested) *DirectoryPerson {
	if t.Who == nil {
		return nil
	}
	p := t.Who.Person
	return &DirectoryPerson{
		Domain: p.Domain, Name: p.Name, DisplayName: p.DisplayName, Email: p.Email,
		DirectoryGroups: append([]string{}, p.Groups...), Groups: append([]string{}, t.Who.Groups()...),
	}
}

func wishedDirectory(name string, b DirectoryInput) (intake.DirectoryWish, error) {
	timeout, err := durationOf("timeout", b.Timeout)
	claims := value(b.Claims)
	w := intake.DirectoryWish{
		Name: name, Description: value(b.Description), Kind: directory.Kind(b.Kind), Domain: value(b.Domain), Secret: b.ClientSecret,
		Settings: intake.DirectorySettings{
			URLs: value(b.Urls), StartTLS: value(b.StartTls), BaseDN: value(b.BaseDn), BindTemplate: value(b.BindTemplate),
			UserFilter: value(b.UserFilter), EmailAttribute: value(b.EmailAttribute), NestedGroups: value(b.NestedGroups),
			Issuer: value(b.Issuer), ClientID: value(b.ClientId), Scopes: value(b.Scopes), TrustEmail: value(b.TrustEmail),
			Claims: directory.Claims{
				Name: value(claims.Name), DisplayName: value(claims.DisplayName), Email: value(claims.Email), Groups: value(claims.Groups),
			},
			CA: value(b.Ca), InsecurePlain: value(b.InsecurePlain), Timeout: timeout,
		},
	}
	for _, g := range value(b.Groups) {
		w.Groups = append(w.Groups, store.DirectoryGroup{DirectoryGroup: g.DirectoryGroup, Group: g.Group})
	}
	return w, err
}

func renderDirectory(d store.Directory) (Directory, error) {
	s, err := intake.SettingsOf(d)
	out := Directory{
		Name: d.Name, Description: d.Description, Kind: DirectoryKind(d.Kind), Domain: d.Domain, HasClientSecret: d.HasSecret,
		Urls: list(s.URLs), StartTls: given(s.StartTLS), BaseDn: given(s.BaseDN), BindTemplate: given(s.BindTemplate),
		UserFilter: given(s.UserFilter), EmailAttribute: given(s.EmailAttribute), NestedGroups: given(s.NestedGroups),
		Issuer: given(s.Issuer), ClientId: given(s.ClientID), Scopes: list(s.Scopes), TrustEmail: given(s.TrustEmail),
		Ca: given(s.CA), InsecurePlain: given(s.InsecurePlain), Groups: []DirectoryGroup{},
		Version: d.Version, CreatedAt: d.CreatedAt, UpdatedAt: d.UpdatedAt,
	}
	if c := s.Claims; c != (directory.Claims{}) {
		out.Claims = &DirectoryClaims{Name: given(c.Name), DisplayName: given(c.DisplayName), Email: given(c.Email), Groups: given(c.Groups)}
	}
	if s.Timeout != 0 {
		out.Timeout = given(intake.FormatDuration(s.Timeout))
	}
	for _, g := range d.Groups {
		out.Groups = append(out.Groups, DirectoryGroup{DirectoryGroup: g.DirectoryGroup, Group: g.Group})
	}
	return out, err
}

// list is a pointer to a list that isn't empty.
func list(l []string) *[]string {
	if len(l) == 0 {
		return nil
	}
	return &l
}
