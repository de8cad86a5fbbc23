package cli_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/cmd/muster/cli"
	"github.com/muster-mdm/muster/devstack/stacktest"
	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/store"
)

// muster runs the command line and returns its exit code and what it said.
func muster(t *testing.T, args ...string) (code int, out, errOut string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code = cli.Main(t.Context(), args, cli.Streams{In: strings.NewReader(""), Out: &stdout, Err: &stderr})
	return code, stdout.String(), stderr.String()
}

// loggedOut has the test know of no Muster, although whoever runs it may be logged in at one.
func loggedOut(t *testing.T) {
	t.Helper()
	for _, name := range []string{"XDG_CONFIG_HOME", "HOME"} { // of Linux, of macOS
		t.Setenv(name, t.TempDir())
	}
	for _, name := range []string{"MUSTER_URL", "MUSTER_TOKEN", "MUSTER_TOKEN_FILE"} {
		t.Setenv(name, "")
	}
}

func TestWhatCannotBeUnderstoodEndsWithTwo(t *testing.T) {
	loggedOut(t)
	t.Setenv("MUSTER_DATABASE_URL", "")
	for _, c := range []struct{ args, says string }{
		{"foo", `"foo" is no command of "muster"`},
		{"migrate upp", `"upp" is no command of "muster migrate"`},
		{"token make", `"make" is no command of "muster token"`},
		{"version extra", `"extra" is no command of "muster version"`},
		{"serve --nonsense", "unknown flag: --nonsense"},
		{"migrate up", "MUSTER_DATABASE_URL"},
		{"serve --database-url postgres://h/d --roles gardener", `"gardener" is no role`},
		{"dev --until tomorrow", `"tomorrow"`},
		{"bench --rows z", `no row "z"`},
		{"import chek", "no API token is set"}, // a file may be called so
		{"import", `"muster import" needs the name of a file`},
		{"import check", `"muster import check" needs the name of a file`},
		{"import check a.csv b.csv", `"b.csv" is one too many`},
		{"import check --group x a.csv", "unknown flag: --group"},
		{"import template extra", `"extra" is no command of "muster import template"`},
		{"rehearse --devices -3", "--devices is -3"},
		{"rehearse --timeout 0", "--timeout is 0s"},
	} {
		code, out, errOut := muster(t, strings.Fields(c.args)...)
		require.Equal(t, 2, code, c.args)
		require.Empty(t, out, c.args)
		require.Contains(t, errOut, c.says, c.args)
		require.Contains(t, errOut, "muster: ", c.args)
	}
}

func TestBareCommandsHelp(t *testing.T) {
	for _, args := range [][]string{{}, {"migrate"}, {"token"}, {"serve", "--help"}} {
		code, out, _ := muster(t, args...)
		require.Zero(t, code)
		require.Contains(t, out, "Usage:")
	}
}

func TestMisreadSettingsNameTheVariable(t *testing.T) {
	t.Setenv("MUSTER_SETUP_HOLD", "abc")
	code, _, errOut := muster(t, "serve")
	require.Equal(t, 2, code)
	require.Contains(t, errOut, `MUSTER_SETUP_HOLD is "abc"; give a time such as 30m`)
}

func TestDatabaseThatCannotBeReached(t *testing.T) {
	for url, says := range map[string]string{
		"postgres://u:secret@127.0.0.1:1/d": "PostgreSQL at 127.0.0.1:1 can't be reached",
		"nonsense":                          "The database URL can't be read",
	} {
		code, _, errOut := muster(t, "token", "create", "--name", "x", "--database-url", url)
		require.Equal(t, 1, code)
		require.Contains(t, errOut, says)
		require.NotContains(t, errOut, "secret")
		require.Equal(t, 1, strings.Count(errOut, "\n"), "one sentence: %s", errOut)
	}
}

func TestMigrateAndTokens(t *testing.T) {
	name := sha256.Sum256([]byte("empty"))
	url := stacktest.Database(t, "cli_"+hex.EncodeToString(name[:4]), func(context.Context, string) error { return nil })
	t.Setenv("MUSTER_DATABASE_URL", url)

	code, out, _ := muster(t, "migrate", "status")
	require.Zero(t, code)
	require.Contains(t, out, "pending")
	code, _, errOut := muster(t, "migrate", "up")
	require.Zero(t, code, errOut)
	_, out, _ = muster(t, "migrate", "status")
	require.NotContains(t, out, "pending")
	code, out, _ = muster(t, "migrate", "up")
	require.Zero(t, code)
	require.Contains(t, out, "nothing was to be done")

	code, secret, errOut := muster(t, "token", "create", "--name", "ci", "--role", "technician", "--valid-for", "1h")
	require.Zero(t, code, errOut)
	db, err := store.Open(t.Context(), store.Config{URL: url, MaxConns: 2})
	require.NoError(t, err)
	defer db.Close()
	token, err := db.TokenOf(t.Context(), strings.TrimSpace(secret))
	require.NoError(t, err)
	require.Equal(t, store.Technician, token.Role)
	require.NotNil(t, token.ExpiresAt)

	code, _, errOut = muster(t, "token", "create", "--name", "ci", "--role", "gardener")
	require.Equal(t, 1, code)
	require.Contains(t, errOut, `"gardener" is no role`)
	_, secret, _ = muster(t, "token", "secret")
	require.NoError(t, db.KeepToken(t.Context(), "bootstrap", store.Admin, strings.TrimSpace(secret)))
	require.Equal(t, provision.Invalid, provision.CodeOf(db.KeepToken(t.Context(), "bootstrap", store.Admin, "mst_short")))

	code, out, errOut = muster(t, "doctor", "--temporal-address", "127.0.0.1:1")
	require.Equal(t, 1, code)
	require.Contains(t, out, "ok    Schema")
	require.Contains(t, out, "FAIL  Push certificate")
	require.Contains(t, out, "FAIL  Temporal at 127.0.0.1:1")
	require.Contains(t, errOut, "checks failed")
}

func TestHealthcheck(t *testing.T) {
	ready := true
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if !ready {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	code, _, errOut := muster(t, "healthcheck", "--url", server.URL)
	require.Zero(t, code, errOut)
	ready = false
	code, _, errOut = muster(t, "healthcheck", "--url", server.URL)
	require.Equal(t, 1, code)
	require.Contains(t, errOut, "not ready (503")
	server.Close()
	code, _, errOut = muster(t, "healthcheck", "--url", server.URL)
	require.Equal(t, 1, code)
	require.Contains(t, errOut, "does not answer")
}
