package main

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/devstack"
)

// asMain turns this test program into the command itself.
const asMain = "MUSTER_WITH_TEST_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(asMain) != "" {
		os.Exit(with(context.Background(), os.Args[1:]))
	}
	os.Exit(m.Run())
}

// command is `with -- sh -c script`; what it says on stderr comes back in out.
func command(t *testing.T, script string) (cmd *exec.Cmd, out *strings.Builder) {
	t.Helper()
	cmd = exec.CommandContext(t.Context(), os.Args[0], "--", "sh", "-c", script)
	cmd.Env = append(os.Environ(), asMain+"=yes")
	out = &strings.Builder{}
	cmd.Stdout, cmd.Stderr = out, out
	return cmd, out
}

func awaitFile(t *testing.T, file string) string {
	t.Helper()
	var content string
	require.Eventually(t, func() bool {
		raw, err := os.ReadFile(file)
		content = strings.TrimSpace(string(raw))
		return err == nil && content != ""
	}, time.Minute, 10*time.Millisecond, "%s does not appear", file)
	return content
}

func TestWithSetsTheVariablesAndPassesTheExitCode(t *testing.T) {
	cmd, out := command(t, `echo "$MUSTER_TEST_POSTGRES $MUSTER_TEST_TEMPORAL"; exit 7`)
	err := cmd.Run()
	require.Equal(t, 7, cmd.ProcessState.ExitCode(), "%v: %s", err, out)
	require.Regexp(t, `^postgres://muster:\w+@127\.0\.0\.1:\d+/postgres\?sslmode=disable 127\.0\.0\.1:\d+\n$`, out.String())
}

func TestWithPassesSignalsOn(t *testing.T) {
	ready := filepath.Join(t.TempDir(), "ready")
	cmd, out := command(t, `trap 'echo heard; exit 5' TERM; echo up >`+ready+`; while :; do sleep 0.05; done`)
	require.NoError(t, cmd.Start())
	awaitFile(t, ready)
	require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
	_ = cmd.Wait()
	require.Equal(t, 5, cmd.ProcessState.ExitCode(), "%s", out)
	require.Contains(t, out.String(), "heard")
}

func TestWithReportsTheSignalThatEndedTheCommand(t *testing.T) {
	cmd, out := command(t, `kill -KILL $$`)
	_ = cmd.Run()
	require.Equal(t, 128+int(syscall.SIGKILL), cmd.ProcessState.ExitCode(), "%s", out)
}

// crashed is a server that has ended unasked; it leaves a file when its supervisor learns of it.
type crashed struct{ seen string }

func (crashed) Name() string { return "Temporal" }
func (crashed) Stop() error  { return nil }

func (crashed) Done() <-chan struct{} {
	done := make(chan struct{})
	close(done)
	return done
}

func (c crashed) Err() error {
	err := &devstack.CrashError{Name: "Temporal", Log: "disk full"}
	return errors.Join(err, os.WriteFile(c.seen, []byte("seen"), 0o600))
}

func TestWithFailsWhenAServerCrashesUnderTheCommand(t *testing.T) {
	seen := filepath.Join(t.TempDir(), "seen")
	s := &stack{Supervisor: devstack.NewSupervisor(crashed{seen: seen})}
	code, err := s.command(t.Context(), []string{"sh", "-c", "until [ -s " + seen + " ]; do sleep 0.05; done"}, nil)
	require.Equal(t, exitFailed, code)
	require.ErrorContains(t, err, "Temporal stopped by itself")
	require.ErrorContains(t, err, "disk full")
}

// idle is a server that lives.
type idle struct{ crashed }

func (idle) Done() <-chan struct{} { return nil }
func (idle) Err() error            { return nil }

func TestWithAsksForTheServersHealthWhenTheCommandFails(t *testing.T) {
	asked := 0
	s := &stack{Supervisor: devstack.NewSupervisor(idle{}), check: func(context.Context) error {
		asked++
		return errors.New("interrupted (9)")
	}}
	code, err := s.command(t.Context(), []string{"true"}, nil)
	require.Equal(t, 0, code)
	require.NoError(t, err)
	require.Zero(t, asked)

	code, err = s.command(t.Context(), []string{"sh", "-c", "exit 7"}, nil)
	require.Equal(t, 7, code)
	require.ErrorContains(t, err, "this may be why: interrupted (9)")
}

func TestWithoutACommand(t *testing.T) {
	require.Equal(t, 2, with(t.Context(), []string{"--"}))
}
