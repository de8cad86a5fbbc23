package store_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/store"
	"github.com/muster-mdm/muster/store/keyring"
)

func TestSecretsLieSealedInTheTable(t *testing.T) {
	f := newFleet(t)
	f.linked(school, "home")
	_, err := f.PutABMBusiness(t.Context(), school, "BUSINESSAPI.x", "key-1", []byte("business key in clear"))
	require.NoError(t, err)
	var row string
	require.NoError(t, f.sql.QueryRow(t.Context(), `SELECT encode(private_key, 'escape') || encode(token, 'escape') || encode(business_key, 'escape')
		FROM abm_servers WHERE name = 'school'`).Scan(&row))
	require.NotContains(t, row, "in clear")
	secrets, err := f.ABMSecrets(t.Context(), school)
	require.NoError(t, err)
	require.JSONEq(t, `{"secret":"token in clear"}`, string(secrets.Token))
	require.Equal(t, "business key in clear", string(secrets.BusinessKey))
	require.Equal(t, "BUSINESSAPI.x", secrets.Server.BusinessClient)

	f.exec(`UPDATE abm_servers SET token = (SELECT token FROM abm_servers WHERE name = 'school') WHERE name = 'home'`)
	_, err = f.ABMSecrets(t.Context(), "home")
	require.Equal(t, provision.SecretUnreadable, provision.CodeOf(err), "a secret can't be moved")
	s, err := f.PutABMBusiness(t.Context(), school, "", "key-1", nil)
	require.NoError(t, err)
	require.Empty(t, s.BusinessKey)
	secrets, err = f.ABMSecrets(t.Context(), school)
	require.NoError(t, err)
	require.Nil(t, secrets.BusinessKey)
	_, err = f.ABMSecrets(t.Context(), "nobody")
	require.Equal(t, provision.NotFound, provision.CodeOf(err))
}

func TestWithoutAKeyringNoSecretIsStored(t *testing.T) {
	db := open(t)
	_, _, err := db.PutABMServer(t.Context(), store.ABMServerInput{Name: school, SyncEvery: 1, FullEvery: 1}, store.Condition{}, noKeys)
	require.Equal(t, provision.KeyringMissing, provision.CodeOf(err))
	var none *keyring.Keyring
	f := open(t, store.WithSealer(none))
	_, _, err = f.PutABMServer(t.Context(), store.ABMServerInput{Name: school, SyncEvery: 1, FullEvery: 1}, store.Condition{}, noKeys)
	require.Equal(t, provision.KeyringMissing, provision.CodeOf(err))
}

func TestTokenOfAnotherAccountNeedsForce(t *testing.T) {
	f := newFleet(t)
	f.linked(school, "home")
	f.fetched(school, "C0000000")
	require.NoError(t, f.NoteABMAccount(t.Context(), school, store.ABMAccount{OrgName: "Acme", ServerUUID: "S1"}))
	year := f.Now().Add(365 * 24 * time.Hour)
	s, err := f.LinkABM(t.Context(), school, false, token("CK_school", year))
	require.NoError(t, err)
	require.Equal(t, store.PhaseSync, s.Phase, "a renewal begins nothing anew")
	require.Equal(t, "Acme", s.Account.OrgName)

	_, err = f.LinkABM(t.Context(), school, false, token("CK_another_much_longer", year))
	require.Equal(t, store.ABMTokenOther, provision.CodeOf(err))
	require.ErrorContains(t, err, "CK_another_m…")
	s, err = f.LinkABM(t.Context(), school, true, token("CK_another_much_longer", year))
	require.NoError(t, err)
	require.Equal(t, store.PhaseFetch, s.Phase)
	require.Nil(t, s.Account)
	require.Equal(t, "present school", f.stands("C0000000"), "until the new list says otherwise")
	_, err = f.LinkABM(t.Context(), "home", true, token("CK_another_much_longer", year))
	require.Equal(t, provision.AlreadyExists, provision.CodeOf(err), "one account has one cursor")

	wrong := errors.New("not a token")
	_, err = f.LinkABM(t.Context(), school, true, func(_, _ []byte) (store.ABMToken, error) { return store.ABMToken{}, wrong })
	require.ErrorIs(t, err, wrong)
	_, err = f.LinkABM(t.Context(), "nobody", true, token("x", year))
	require.Equal(t, provision.NotFound, provision.CodeOf(err))
}

func TestKeysOfAServerAreRenewed(t *testing.T) {
	f := newFleet(t)
	f.linked(school)
	s, err := f.RenewABMKeys(t.Context(), school, func() (certificate, key []byte, err error) {
		return []byte("new certificate"), []byte("new key"), nil
	})
	require.NoError(t, err)
	require.Equal(t, "new certificate", string(s.CertificatePEM))
	_, err = f.LinkABM(t.Context(), school, false, func(certificate, key []byte) (store.ABMToken, error) {
		require.Equal(t, "new certificate/new key", string(certificate)+"/"+string(key))
		return token("CK_school", f.Now())(nil, nil)
	})
	require.NoError(t, err)
	wrong := errors.New("no entropy")
	_, err = f.RenewABMKeys(t.Context(), school, func() (certificate, key []byte, err error) { return nil, nil, wrong })
	require.ErrorIs(t, err, wrong)
}

func TestServersAreEditedUnderConditions(t *testing.T) {
	f := newFleet(t)
	s := f.server(school, "")
	require.Equal(t, store.Unlinked, s.Health)
	in := store.ABMServerInput{Name: school, Description: "of the school", SyncEvery: time.Minute, FullEvery: time.Hour}
	s, created, err := f.PutABMServer(t.Context(), in, store.Condition{Given: true, Versions: []int64{s.Version}}, noKeys)
	require.NoError(t, err)
	require.False(t, created)
	require.Equal(t, int64(2), s.Version)
	_, _, err = f.PutABMServer(t.Context(), in, store.Condition{Given: true, Versions: []int64{1}}, noKeys)
	require.Equal(t, provision.VersionConflict, provision.CodeOf(err))
	in.DefaultProfile = "nobody's"
	_, _, err = f.PutABMServer(t.Context(), in, store.Condition{}, noKeys)
	require.Equal(t, provision.NotFound, provision.CodeOf(err))
	_, _, err = f.PutABMServer(t.Context(), store.ABMServerInput{Name: strings.Repeat("x", 64), SyncEvery: time.Minute, FullEvery: time.Hour}, store.Condition{}, noKeys)
	require.Equal(t, provision.Invalid, provision.CodeOf(err))

	s, err = f.PauseABM(t.Context(), school, true)
	require.NoError(t, err)
	require.True(t, s.Paused)
	require.True(t, f.task(school).Paused)
	at := f.Now()
	_, err = f.WantSync(t.Context(), school, false)
	require.NoError(t, err)
	require.NoError(t, f.SyncBegun(t.Context(), school, at))
	require.NotNil(t, f.abmServer(school).SyncWantedAt, "it was wished again since")
	_, err = f.PauseABM(t.Context(), "nobody", true)
	require.Equal(t, provision.NotFound, provision.CodeOf(err))
	list, err := f.ABMServers(t.Context(), store.Page{Limit: 10})
	require.NoError(t, err)
	require.Len(t, list, 1)
	require.NoError(t, f.DeleteABMServer(t.Context(), school, store.Condition{}))
	require.Equal(t, provision.NotFound, provision.CodeOf(f.DeleteABMServer(t.Context(), school, store.Condition{})))
}

// A change of many devices is all or nothing, and leaves out those that aren't known.
func TestManyChange(t *testing.T) {
	f := newFleet(t)
	f.record("C0000001", provision.Fact{Kind: provision.Registered})
	hold := func(ctx context.Context, m *store.Many) error {
		m.Priority(provision.Bulk)
		require.Nil(t, m.Device("C0000009"))
		for _, serial := range m.Serials() {
			if _, err := m.Device(serial).Record(ctx, provision.Fact{Kind: provision.HoldRequest}); err != nil {
				return err
			}
		}
		return nil
	}
	require.NoError(t, f.UpdateMany(t.Context(), []string{"C0000001", "C0000009"}, false, hold))
	require.Equal(t, []string{"registered", "hold"}, f.kinds("C0000001"))
	require.True(t, f.device("C0000001").OnHold)
	require.Equal(t, 1, f.count(`device_events WHERE priority = 2 AND deliver`))
	wrong := errors.New("no")
	err := f.UpdateMany(t.Context(), []string{"C0000001", "C0000002"}, true, func(ctx context.Context, m *store.Many) error {
		if _, err := m.Device("C0000002").Record(ctx, provision.Fact{Kind: provision.HoldRequest}); err != nil {
			return err
		}
		return wrong
	})
	require.ErrorIs(t, err, wrong)
	require.Equal(t, 1, f.count(`devices`))
}
