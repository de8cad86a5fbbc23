package e2e

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/cmd/muster/cli"
	"github.com/muster-mdm/muster/cmd/muster/rehearse"
	"github.com/muster-mdm/muster/cmd/muster/rehearse/environment"
	"github.com/muster-mdm/muster/sim"
	"github.com/muster-mdm/muster/sim/appleschema/schemaflag"
)

// asMuster makes this test program behave as muster, so that tests can start, kill and restart what they have built.
// It doesn't begin with MUSTER_, so that processes below a rehearsal inherit it.
const asMuster = "E2E_AS_MUSTER"

func TestMain(m *testing.M) {
	if os.Getenv(asMuster) == "" {
		os.Exit(m.Run())
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := cli.Main(ctx, os.Args[1:], cli.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr})
	stop()
	os.Exit(code)
}

// patience bounds a rehearsal; the machine may be busy with other tests.
const patience = 5 * time.Minute

// start starts an environment whose MDM traffic is checked against Apple's schema where that is at hand.
func start(t *testing.T, cfg environment.Config) *environment.Environment {
	t.Helper()
	cfg.Variables = map[string]string{asMuster: "yes"}
	if watcher, ok := schemaflag.Watch(t); ok && cfg.Front == nil {
		cfg.Front = watcher.Handler
	}
	env, err := environment.Start(t.Context(), cfg)
	require.NoError(t, err)
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(env.Worker().LogTail(20))
		}
		require.NoError(t, env.Close())
	})
	return env
}

// rehearsal runs lives and returns the report, printing what went wrong.
func rehearsal(t *testing.T, env *environment.Environment, cfg rehearse.Config) rehearse.Report {
	t.Helper()
	cfg.Timeout = patience
	if cfg.Keys == nil {
		cfg.Keys = sim.NewKeyPool(2048, 8) // devices may share keys: certificates are what tells them apart
	}
	report, err := rehearse.Run(t.Context(), env, cfg)
	require.NoError(t, err)
	require.NoError(t, report.PrintWrong(t.Output()))
	require.NoError(t, report.Print(t.Output()))
	return report
}
