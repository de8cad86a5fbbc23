package cli_test

import (
	"context"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/api"
	"github.com/muster-mdm/muster/api/intake"
	"github.com/muster-mdm/muster/devstack/directories"
	"github.com/muster-mdm/muster/devstack/directorytest"
	"github.com/muster-mdm/muster/devstack/stacktest"
	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/store"
	"github.com/muster-mdm/muster/store/keyring"
)

// The scripts run muster as people do, against an API and a worker of their own.
func TestRemoteScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/remote", RequireExplicitExec: true, RequireUniqueNames: true,
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){"sign-in": signIn, "expand": expand},
		Setup: func(env *testscript.Env) error {
			url, token := serveDesk(t, env)
			slapd := directorytest.OpenLDAP(t)
			for name, text := range map[string]string{"token": token + "\n", "ca.pem": slapd.CA, "password": slapd.Password + "\n"} {
				if err := os.WriteFile(filepath.Join(env.WorkDir, name), []byte(text), 0o600); err != nil {
					return err
				}
			}
			env.Setenv("LDAP", slapd.URL)
			env.Setenv("BASE", directories.BaseDN)
			env.Setenv("PEOPLE", directories.PeopleDN)
			env.Setenv("XDG_CONFIG_HOME", filepath.Join(env.WorkDir, "config"))
			env.Setenv("HOME", env.WorkDir)
			env.Setenv("SERVER", url)
			env.Setenv("TOKEN", token)
			return nil
		},
	})
}

// desk is what a script's own commands work on.
type desk struct {
	db  *store.DB
	use *intake.Intake
}

type deskKey struct{}

// signIn has andrew sign in on a device of the server schools, as its web view does: sign-in SERIAL.
func signIn(ts *testscript.TestScript, _ bool, args []string) {
	d := ts.Value(deskKey{}).(*desk)
	ctx, device := context.Background(), args[0]
	seen := provision.Fact{Kind: provision.ABMSeen, ABM: &provision.ABMFact{Server: "schools", State: provision.ABMPresent}}
	_, err := d.db.UpdateOrCreate(ctx, device, func(ctx context.Context, c *store.Change) error {
		_, err := c.Record(ctx, seen)
		return err
	})
	ts.Check(err)
	id, err := d.use.TrySignIn(ctx, intake.SignInTry{
		Serial: device, Address: "192.0.2.1", Account: directories.Domain + `\` + directories.Andrew, Password: strings.TrimSpace(ts.ReadFile("password")),
	})
	ts.Check(err)
	_, err = d.use.SignedIn(ctx, device, 0, id, func(context.Context, *store.Change) error { return nil })
	ts.Check(err)
}

// expand puts the script's variables into files: expand FILE...
func expand(ts *testscript.TestScript, _ bool, args []string) {
	for _, name := range args {
		text := os.Expand(ts.ReadFile(name), ts.Getenv)
		ts.Check(os.WriteFile(ts.MkAbs(name), []byte(text), 0o600))
	}
}

// serveDesk serves the API on a fresh database and works on operations, until the script ends.
func serveDesk(t *testing.T, env *testscript.Env) (url, token string) {
	keys, err := keyring.Parse(keyring.NewKey())
	require.NoError(t, err)
	db, err := store.Open(t.Context(), store.Config{URL: stacktest.Database(t, "muster", migrate), MaxConns: 6},
		store.WithEncoder(func(o provision.Order) ([]byte, error) { return []byte(o.UUID), nil }), store.WithSealer(keys))
	require.NoError(t, err)
	use, err := intake.New(db, intake.Settings{SignInReturn: "https://muster.example.com/enroll/return"})
	require.NoError(t, err)
	env.Values[deskKey{}] = &desk{db, use}
	e, err := api.New(api.Config{DB: db, Intake: use, Log: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	server := httptest.NewServer(e)
	ctx, cancel := context.WithCancel(context.Background())
	var worker sync.WaitGroup
	worker.Go(func() {
		_ = db.ListenOperations(ctx, func() {
			for id := "-"; id != "" && ctx.Err() == nil; {
				id, _ = db.WorkOn(ctx)
			}
		})
	})
	env.Defer(func() {
		cancel()
		worker.Wait()
		server.Close()
		db.Close()
	})
	_, viewer, err := db.CreateToken(ctx, "looks", store.Viewer, nil)
	require.NoError(t, err)
	env.Setenv("VIEWER", viewer)
	_, token, err = db.CreateToken(ctx, "cli", store.Admin, nil)
	require.NoError(t, err)
	return server.URL, token
}
