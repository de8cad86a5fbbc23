package store_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/devstack/stacktest"
	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/store"
	"github.com/muster-mdm/muster/store/keyring"
)

func ring(t *testing.T, keys ...string) *keyring.Keyring {
	t.Helper()
	k, err := keyring.Parse(strings.Join(keys, ","))
	require.NoError(t, err)
	return k
}

func authorityKeys() (certificate, key []byte, err error) {
	return []byte("certificate"), []byte("the authority's key in clear"), nil
}

// A key is replaced by putting a new one before it, sealing everything anew, and taking the old one out; what lay in
// clear before there was a keyring is sealed by the way.
func TestSecretsAreSealedAnew(t *testing.T) {
	at := stacktest.Database(t, "muster", migrate)
	opened := func(options ...store.Option) *store.DB {
		db, err := store.Open(t.Context(), store.Config{URL: at, MaxConns: 2}, options...)
		require.NoError(t, err)
		t.Cleanup(db.Close)
		return db
	}
	authority := func(db *store.DB) (string, error) {
		_, key, err := db.Authority(t.Context(), authorityKeys)
		return string(key), err
	}
	bare := opened()
	key, err := authority(bare)
	require.NoError(t, err)
	require.Equal(t, "the authority's key in clear", key)
	secrets, err := bare.Secrets(t.Context())
	require.NoError(t, err)
	require.Equal(t, store.Secrets{Clear: []string{"authorities/private_key"}}, secrets)
	_, err = bare.Reseal(t.Context())
	require.Equal(t, provision.KeyringMissing, provision.CodeOf(err))

	first, second := keyring.NewKey(), keyring.NewKey()
	one := opened(store.WithSealer(ring(t, first)))
	_, _, err = one.PutABMServer(t.Context(), store.ABMServerInput{Name: school, SyncEvery: 1e9, FullEvery: 1e9}, store.Condition{}, noKeys)
	require.NoError(t, err)
	_, err = one.LinkABM(t.Context(), school, false, token("CK", one.Now()))
	require.NoError(t, err)
	key, err = authority(one)
	require.NoError(t, err)
	require.Equal(t, "the authority's key in clear", key, "what lies in clear is read all the same")
	n, err := one.Reseal(t.Context())
	require.NoError(t, err)
	require.Equal(t, 1, n)
	secrets, err = one.Secrets(t.Context())
	require.NoError(t, err)
	require.Equal(t, store.Secrets{Sealed: 3}, secrets)
	_, err = authority(bare)
	require.Equal(t, provision.KeyringMissing, provision.CodeOf(err))

	both := opened(store.WithSealer(ring(t, second, first)))
	secrets, err = both.Secrets(t.Context())
	require.NoError(t, err)
	require.Equal(t, store.Secrets{Old: 3}, secrets)
	n, err = both.Reseal(t.Context())
	require.NoError(t, err)
	require.Equal(t, 3, n)
	n, err = both.Reseal(t.Context())
	require.NoError(t, err)
	require.Zero(t, n, "twice is once")

	last := opened(store.WithSealer(ring(t, second)))
	key, err = authority(last)
	require.NoError(t, err)
	require.Equal(t, "the authority's key in clear", key)
	_, err = last.ABMSecrets(t.Context(), school)
	require.NoError(t, err)
	_, err = one.Secrets(t.Context())
	require.Equal(t, provision.KeyringKeyUnknown, provision.CodeOf(err))
	_, err = one.Reseal(t.Context())
	require.Equal(t, provision.KeyringKeyUnknown, provision.CodeOf(err))
}

func TestAuthoritysKeyIsSealedFromTheBeginning(t *testing.T) {
	f := newFleet(t)
	_, key, err := f.Authority(t.Context(), authorityKeys)
	require.NoError(t, err)
	require.Equal(t, "the authority's key in clear", string(key))
	require.Equal(t, 1, f.count(`authorities`))
	require.Zero(t, f.count(`authorities WHERE encode(private_key, 'escape') LIKE '%in clear%'`))
	_, key, err = f.Authority(t.Context(), authorityKeys)
	require.NoError(t, err)
	require.Equal(t, "the authority's key in clear", string(key))
}
