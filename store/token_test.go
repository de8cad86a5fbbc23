package store_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/store"
)

func TestTokensExpireAndAreRevoked(t *testing.T) {
	now := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	db := open(t, store.WithClock(func() time.Time { return now }))
	in := now.Add(time.Hour)
	made, secret, err := db.CreateToken(t.Context(), " depot ", store.Technician, &in)
	require.NoError(t, err)
	require.Equal(t, "depot", made.Name)
	found, err := db.TokenOf(t.Context(), secret)
	require.NoError(t, err)
	require.Equal(t, made.ID, found.ID)
	require.Nil(t, found.LastUsedAt)
	now = now.Add(59 * time.Minute)
	found, err = db.TokenOf(t.Context(), secret)
	require.NoError(t, err)
	require.Equal(t, now.Add(-59*time.Minute), found.LastUsedAt.UTC())
	now = now.Add(time.Minute)
	_, err = db.TokenOf(t.Context(), secret)
	require.Equal(t, provision.NotFound, provision.CodeOf(err), "expired")

	_, secret, err = db.CreateToken(t.Context(), "x", store.Viewer, nil)
	require.NoError(t, err)
	found, err = db.TokenOf(t.Context(), secret)
	require.NoError(t, err)
	require.NoError(t, db.RevokeToken(t.Context(), found.ID))
	_, err = db.TokenOf(t.Context(), secret)
	require.Equal(t, provision.NotFound, provision.CodeOf(err), "revoked")

	for _, bad := range []struct {
		name string
		role store.Role
	}{{"", store.Admin}, {"x", "king"}, {"x", ""}} {
		_, _, err := db.CreateToken(t.Context(), bad.name, bad.role, nil)
		require.Equal(t, provision.Invalid, provision.CodeOf(err))
	}
}

func TestRoles(t *testing.T) {
	order := []store.Role{store.Viewer, store.Technician, store.Admin}
	for i, r := range order {
		for j, least := range order {
			require.Equal(t, i >= j, r.Includes(least), "%s %s", r, least)
		}
		require.False(t, r.Includes(""), "what is not listed is denied")
		require.False(t, r.Includes("king"))
		require.False(t, store.Role("").Includes(r))
	}
}
