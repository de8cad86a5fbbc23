package mdm_test

import (
	"database/sql"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/apple/mdm"
	"github.com/muster-mdm/muster/devstack/stacktest"
	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/store"
	"github.com/muster-mdm/muster/store/keyring"
)

func TestKeysOfPushCertificatesAreSealed(t *testing.T) {
	db, err := store.Open(t.Context(), store.Config{URL: stacktest.Database(t, "muster", migrate), MaxConns: 4})
	require.NoError(t, err)
	t.Cleanup(db.Close)
	opened := func(options ...mdm.Option) *mdm.Storage {
		s, err := mdm.NewStorage(db.NanoMDM(), slog.New(slog.DiscardHandler), options...)
		require.NoError(t, err)
		return s
	}
	ring, err := keyring.Parse(keyring.NewKey())
	require.NoError(t, err)
	const other = "com.apple.mgmt.External.other"
	bare, sealing := opened(), opened(mdm.WithSealer(ring))
	older, newer := selfSigned(t, time.Now().Add(time.Hour), other), selfSigned(t, time.Now().Add(time.Hour), topic)
	_, err = bare.StorePushCertificate(t.Context(), older[0], older[1])
	require.NoError(t, err)
	_, err = sealing.StorePushCertificate(t.Context(), newer[0], newer[1])
	require.NoError(t, err)
	require.Equal(t, 1, inClear(t, db.NanoMDM()))
	open, err := sealing.ClearKeys(t.Context())
	require.NoError(t, err)
	require.Equal(t, 1, open)

	for _, name := range []string{topic, other} {
		pair, stale, err := sealing.RetrievePushCert(t.Context(), name)
		require.NoError(t, err)
		require.NotEmpty(t, pair.Certificate)
		is, err := sealing.IsPushCertStale(t.Context(), name, stale)
		require.NoError(t, err)
		require.False(t, is)
	}
	_, _, err = bare.RetrievePushCert(t.Context(), topic)
	require.Equal(t, provision.KeyringMissing, provision.CodeOf(err))
	_, err = bare.ClearKeys(t.Context())
	require.Equal(t, provision.KeyringMissing, provision.CodeOf(err))
	_, _, err = sealing.RetrievePushCert(t.Context(), "nobody's")
	require.ErrorIs(t, err, sql.ErrNoRows)

	n, err := sealing.ResealKeys(t.Context())
	require.NoError(t, err)
	require.Equal(t, 2, n)
	require.Zero(t, inClear(t, db.NanoMDM()))
	newest, err := sealing.Topic(t.Context())
	require.NoError(t, err)
	require.Equal(t, topic, newest, "the newest stays the newest")
	pair, _, err := sealing.RetrievePushCert(t.Context(), other)
	require.NoError(t, err)
	require.NotNil(t, pair.PrivateKey)

	_, err = db.NanoMDM().ExecContext(t.Context(), `UPDATE push_certs SET key_pem = (SELECT key_pem FROM push_certs WHERE topic = $1) WHERE topic = $2`, other, topic)
	require.NoError(t, err)
	_, _, err = sealing.RetrievePushCert(t.Context(), topic)
	require.Equal(t, provision.SecretUnreadable, provision.CodeOf(err), "a key can't be moved")
	_, err = sealing.ResealKeys(t.Context())
	require.Error(t, err)
}

func inClear(t *testing.T, db *sql.DB) (n int) {
	t.Helper()
	require.NoError(t, db.QueryRowContext(t.Context(), `SELECT count(*) FROM push_certs WHERE key_pem LIKE '%BEGIN PRIVATE KEY%'`).Scan(&n))
	return n
}
