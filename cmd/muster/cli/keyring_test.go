package cli_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/apple/identity"
	"github.com/muster-mdm/muster/devstack/stacktest"
	"github.com/muster-mdm/muster/store"
	"github.com/muster-mdm/muster/store/keyring"
)

func TestKeyringIsMadeAndRotated(t *testing.T) {
	code, first, errOut := muster(t, "keyring", "new")
	require.Equal(t, 0, code, errOut)
	_, second, _ := muster(t, "keyring", "new")
	require.NotEqual(t, first, second)
	first, second = strings.TrimSpace(first), strings.TrimSpace(second)
	_, err := keyring.Parse(first + "," + second)
	require.NoError(t, err)

	url := stacktest.Database(t, "muster", migrate)
	db, err := store.Open(t.Context(), store.Config{URL: url, MaxConns: 2})
	require.NoError(t, err)
	t.Cleanup(db.Close)
	_, err = identity.LoadAuthority(t.Context(), db, identity.AuthorityConfig{KeyBits: 2048})
	require.NoError(t, err)
	t.Setenv("MUSTER_DATABASE_URL", url)
	t.Setenv("MUSTER_TEMPORAL_ADDRESS", "127.0.0.1:1")
	code, _, errOut = muster(t, "keyring", "rotate")
	require.Equal(t, 2, code)
	require.Contains(t, errOut, "MUSTER_KEYRING")
	_, out, _ := muster(t, "doctor")
	require.Contains(t, out, "warn  Secrets: no keyring is set")

	t.Setenv("MUSTER_KEYRING", first)
	_, out, _ = muster(t, "doctor")
	require.Contains(t, out, "warn  Secrets: in clear in the database: authorities/private_key\n      Run muster keyring rotate.")
	code, out, errOut = muster(t, "keyring", "rotate")
	require.Equal(t, 0, code, errOut)
	require.Contains(t, out, "1 anew")
	_, out, _ = muster(t, "doctor")
	require.Contains(t, out, "ok    Secrets\n")

	t.Setenv("MUSTER_KEYRING", second+" "+first)
	_, out, _ = muster(t, "doctor")
	require.Contains(t, out, "warn  Secrets: sealed by an older key than the keyring's first: 1")
	code, _, errOut = muster(t, "keyring", "rotate")
	require.Equal(t, 0, code, errOut)
	t.Setenv("MUSTER_KEYRING", first)
	_, out, _ = muster(t, "doctor")
	require.Contains(t, out, "FAIL  Secrets: ")
	require.Contains(t, out, "isn't in the keyring")
	require.NotContains(t, out+errOut, strings.SplitN(first, ":", 2)[1])

	t.Setenv("MUSTER_KEYRING", "nonsense")
	code, _, errOut = muster(t, "keyring", "rotate")
	require.Equal(t, 2, code)
	require.Contains(t, errOut, "MUSTER_KEYRING: Key 1 of the keyring has no id")
	_, out, _ = muster(t, "doctor")
	require.Contains(t, out, "FAIL  Secrets")
}
