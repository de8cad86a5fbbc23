package api

import (
	"context"
	"time"

	"github.com/muster-mdm/muster/store"
)

// ListTokens answers GET /v1/tokens.
func (r *rest) ListTokens(ctx context.Context, q ListTokensRequestObject) (ListTokensResponseObject, error) {
	key, err := parseCursor(q.Params.Cursor, "tokens", 2)
	if err != nil {
		return nil, err
	}
	var after store.Token
	if q.Params.Cursor != nil {
		if after.CreatedAt, err = time.Parse(time.RFC3339Nano, key[0]); err != nil {
			return nil, faultf(codeCursorInvalid, "The cursor is not one that this list gave; begin without one.").at("cursor")
		}
		after.ID = key[1]
	}
	limit := limitOf(q.Params.Limit)
	list, err := r.DB.Tokens(ctx, after, limit+1)
	if err != nil {
		return nil, err
	}
	list, next := page(list, limit, "tokens", func(t store.Token) []string {
		return []string{t.CreatedAt.UTC().Format(time.RFC3339Nano), t.ID}
	})
	return ListTokens200JSONResponse{Tokens: each(list, renderToken), NextCursor: next}, nil
}

// CreateToken answers POST /v1/tokens.
func (r *rest) CreateToken(ctx context.Context, q CreateTokenRequestObject) (CreateTokenResponseObject, error) {
	t, secret, err := r.DB.CreateToken(ctx, q.Body.Name, store.Role(q.Body.Role), q.Body.ExpiresAt)
	if err != nil {
		return nil, err
	}
	return CreateToken201JSONResponse{Token: renderToken(t), Secret: secret}, nil
}

// RevokeToken answers DELETE /v1/tokens/{id}.
func (r *rest) RevokeToken(ctx context.Context, q RevokeTokenRequestObject) (RevokeTokenResponseObject, error) {
	return RevokeToken204Response{}, r.DB.RevokeToken(ctx, q.Id)
}

func renderToken(t store.Token) Token {
	return Token{
		Id: t.ID, Name: t.Name, Prefix: t.Prefix, Role: Role(t.Role), CreatedAt: t.CreatedAt, ExpiresAt: t.ExpiresAt,
		LastUsedAt: t.LastUsedAt, RevokedAt: t.RevokedAt,
	}
}
