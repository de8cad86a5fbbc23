package cli_test

import (
	"context"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/api"
	"github.com/muster-mdm/muster/api/intake"
	"github.com/muster-mdm/muster/devstack/stacktest"
	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/store"
)

// The scripts run muster as people do, against an API and a worker of their own.
func TestRemoteScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/remote", RequireExplicitExec: true, RequireUniqueNames: true,
		Setup: func(env *testscript.Env) error {
			url, token := serveDesk(t, env)
			if err := os.WriteFile(filepath.Join(env.WorkDir, "token"), []byte(token+"\n"), 0o600); err != nil {
				return err
			}
			env.Setenv("XDG_CONFIG_HOME", filepath.Join(env.WorkDir, "config"))
			env.Setenv("HOME", env.WorkDir)
			env.Setenv("SERVER", url)
			env.Setenv("TOKEN", token)
			return nil
		},
	})
}

// serveDesk serves the API on a fresh database and works on operations, until the script ends.
func serveDesk(t *testing.T, env *testscript.Env) (url, token string) {
	db, err := store.Open(t.Context(), store.Config{URL: stacktest.Database(t, "muster", migrate), MaxConns: 6},
		store.WithEncoder(func(o provision.Order) ([]byte, error) { return []byte(o.UUID), nil }))
	require.NoError(t, err)
	use, err := intake.New(db, intake.Settings{})
	require.NoError(t, err)
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
	_, token, err = db.CreateToken(ctx, "cli", store.Admin, nil)
	require.NoError(t, err)
	return server.URL, token
}
