package api

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/url"
	"time"

	"github.com/muster-mdm/muster/api/intake"
	"github.com/muster-mdm/muster/apple/abm"
	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/store"
)

// ListAbmServers answers GET /v1/abm-servers.
func (r *rest) ListAbmServers(ctx context.Context, q ListAbmServersRequestObject) (ListAbmServersResponseObject, error) {
	after, err := parseCursor(q.Params.Cursor, "abm-servers", 1)
	if err != nil {
		return nil, err
	}
	limit := limitOf(q.Params.Limit)
	list, err := r.DB.ABMServers(ctx, store.Page{After: after[0], Limit: limit + 1})
	if err != nil {
		return nil, err
	}
	list, next := page(list, limit, "abm-servers", func(s store.ABMServer) []string { return []string{s.Name} })
	return ListAbmServers200JSONResponse{Servers: each(list, r.renderServer), NextCursor: next}, nil
}

// GetAbmServer answers GET /v1/abm-servers/{name}.
func (r *rest) GetAbmServer(ctx context.Context, q GetAbmServerRequestObject) (GetAbmServerResponseObject, error) {
	s, err := r.DB.ABMServer(ctx, q.Name)
	return GetAbmServer200JSONResponse{r.serverAnswer(s)}, err
}

// PutAbmServer answers PUT /v1/abm-servers/{name}.
func (r *rest) PutAbmServer(ctx context.Context, q PutAbmServerRequestObject) (PutAbmServerResponseObject, error) {
	condition, err := conditionOf(q.Params.IfMatch, q.Params.IfNoneMatch != nil)
	if err != nil {
		return nil, err
	}
	in := store.ABMServerInput{Name: q.Name, Description: value(q.Body.Description), DefaultProfile: value(q.Body.DefaultProfile)}
	if in.SyncEvery, err = durationOf("sync_every", q.Body.SyncEvery); err != nil {
		return nil, err
	}
	if in.FullEvery, err = durationOf("full_every", q.Body.FullEvery); err != nil {
		return nil, err
	}
	if in.SignInPolicy, err = wishedPolicy(*q.Body); err != nil {
		return nil, err
	}
	s, created, err := r.Intake.PutABMServer(ctx, in, condition)
	if err != nil {
		return nil, err
	}
	if created {
		return PutAbmServer201JSONResponse{Body: r.renderServer(s), Headers: PutAbmServer201ResponseHeaders{ETag: etag(s.Version)}}, nil
	}
	return PutAbmServer200JSONResponse{r.serverAnswer(s)}, nil
}

func wishedPolicy(b AbmServerInput) (provision.SignInPolicy, error) {
	hold, err := durationOf("sign_in_hold", b.SignInHold)
	return provision.SignInPolicy{
		AutoAssign: value(b.AutoAssignUsers), Conflict: provision.ReviewChoice(value(b.SignInConflict)), Hold: hold,
		HoldChoice: provision.ReviewChoice(value(b.SignInHoldChoice)),
	}, err
}

func durationOf(field string, text *string) (time.Duration, error) {
	if text == nil {
		return 0, nil
	}
	return intake.ParseDuration(field, *text)
}

// DeleteAbmServer answers DELETE /v1/abm-servers/{name}.
func (r *rest) DeleteAbmServer(ctx context.Context, q DeleteAbmServerRequestObject) (DeleteAbmServerResponseObject, error) {
	condition, err := conditionOf(q.Params.IfMatch, false)
	if err != nil {
		return nil, err
	}
	return DeleteAbmServer204Response{}, r.Intake.DeleteABMServer(ctx, q.Name, condition)
}

// GetAbmServerCertificate answers GET /v1/abm-servers/{name}/certificate.
func (r *rest) GetAbmServerCertificate(ctx context.Context, q GetAbmServerCertificateRequestObject) (GetAbmServerCertificateResponseObject, error) {
	s, err := r.DB.ABMServer(ctx, q.Name)
	if err != nil {
		return nil, err
	}
	disposition := "attachment; filename*=UTF-8''" + url.PathEscape(s.Name) + ".pem"
	return GetAbmServerCertificate200ApplicationxPemFileResponse{
		Body: bytes.NewReader(s.CertificatePEM), ContentLength: int64(len(s.CertificatePEM)),
		Headers: GetAbmServerCertificate200ResponseHeaders{ContentDisposition: &disposition},
	}, nil
}

// PutAbmServerToken answers PUT /v1/abm-servers/{name}/token.
func (r *rest) PutAbmServerToken(ctx context.Context, q PutAbmServerTokenRequestObject) (PutAbmServerTokenResponseObject, error) {
	p7m, err := io.ReadAll(q.Body)
	if err != nil {
		return nil, fmt.Errorf("reading the server token: %w", readFault(err))
	}
	s, err := r.Intake.LinkABM(ctx, q.Name, p7m, value(q.Params.Force))
	return PutAbmServerToken200JSONResponse{r.serverAnswer(s)}, err
}

// PutAbmServerBusinessAccount answers PUT /v1/abm-servers/{name}/business-account.
func (r *rest) PutAbmServerBusinessAccount(ctx context.Context, q PutAbmServerBusinessAccountRequestObject) (PutAbmServerBusinessAccountResponseObject, error) {
	account := abm.Account{ClientID: q.Body.ClientId, KeyID: q.Body.KeyId, PrivateKeyPEM: []byte(q.Body.PrivateKey)}
	s, err := r.Intake.PutABMBusiness(ctx, q.Name, account)
	return PutAbmServerBusinessAccount200JSONResponse{r.serverAnswer(s)}, err
}

// DeleteAbmServerBusinessAccount answers DELETE /v1/abm-servers/{name}/business-account.
func (r *rest) DeleteAbmServerBusinessAccount(ctx context.Context, q DeleteAbmServerBusinessAccountRequestObject) (DeleteAbmServerBusinessAccountResponseObject, error) {
	s, err := r.Intake.DeleteABMBusiness(ctx, q.Name)
	return DeleteAbmServerBusinessAccount200JSONResponse{r.serverAnswer(s)}, err
}

// RenewAbmServerKeys answers POST /v1/abm-servers/{name}:renew-keys.
func (r *rest) RenewAbmServerKeys(ctx context.Context, q RenewAbmServerKeysRequestObject) (RenewAbmServerKeysResponseObject, error) {
	s, err := r.Intake.RenewABMKeys(ctx, q.Name)
	return RenewAbmServerKeys200JSONResponse{r.serverAnswer(s)}, err
}

// SyncAbmServer answers POST /v1/abm-servers/{name}:sync.
func (r *rest) SyncAbmServer(ctx context.Context, q SyncAbmServerRequestObject) (SyncAbmServerResponseObject, error) {
	s, err := r.Intake.SyncABM(ctx, q.Name, value(q.Params.Full))
	return SyncAbmServer200JSONResponse{r.serverAnswer(s)}, err
}

// PauseAbmServer answers POST /v1/abm-servers/{name}:pause.
func (r *rest) PauseAbmServer(ctx context.Context, q PauseAbmServerRequestObject) (PauseAbmServerResponseObject, error) {
	s, err := r.Intake.PauseABM(ctx, q.Name, true)
	return PauseAbmServer200JSONResponse{r.serverAnswer(s)}, err
}

// ResumeAbmServer answers POST /v1/abm-servers/{name}:resume.
func (r *rest) ResumeAbmServer(ctx context.Context, q ResumeAbmServerRequestObject) (ResumeAbmServerResponseObject, error) {
	s, err := r.Intake.PauseABM(ctx, q.Name, false)
	return ResumeAbmServer200JSONResponse{r.serverAnswer(s)}, err
}

// ForgetAbmServerDevices answers POST /v1/abm-servers/{name}:forget-devices.
func (r *rest) ForgetAbmServerDevices(ctx context.Context, q ForgetAbmServerDevicesRequestObject) (ForgetAbmServerDevicesResponseObject, error) {
	left, err := r.Intake.ForgetABMDevices(ctx, q.Name, q.Body.Name)
	return ForgetAbmServerDevices200JSONResponse{Left: left}, err
}
