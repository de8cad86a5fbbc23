package devstack

import (
	"context"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func shell(t *testing.T, script string) command {
	t.Helper()
	return command{
		name: "the shell", args: []string{"/bin/sh", "-c", script}, log: filepath.Join(t.TempDir(), "log"),
		lastWill: syscall.SIGKILL, farewell: []farewell{{syscall.SIGTERM, 200 * time.Millisecond}},
	}
}

func requireLog(t *testing.T, p *process, line string) {
	t.Helper()
	require.Eventually(t, func() bool { return p.LogTail(1) == line }, 10*time.Second, 5*time.Millisecond)
}

func TestCrashNamesTheChildAndShowsTheEndOfItsLog(t *testing.T) {
	p, err := shell(t, "for i in 1 2 3 4; do echo line $i; done; exit 3").start()
	require.NoError(t, err)
	s := NewSupervisor(p)
	err = s.Wait(t.Context())
	var crash *CrashError
	require.ErrorAs(t, err, &crash)
	require.Equal(t, "the shell", crash.Name)
	require.ErrorContains(t, err, "the shell stopped by itself (exit status 3)")
	require.ErrorContains(t, err, "line 4")
	require.Equal(t, "line 3\nline 4", p.LogTail(2))
	require.NoError(t, s.Stop(), "stopping what is gone")
}

func TestStopThatWasAskedForIsNoCrash(t *testing.T) {
	p, err := shell(t, "exec sleep 600").start()
	require.NoError(t, err)
	s := NewSupervisor(p)
	require.NoError(t, s.Stop())
	<-p.Done()
	require.NoError(t, p.Err())
	done, cancel := context.WithCancel(t.Context())
	cancel()
	require.NoError(t, s.Wait(done))
}

func TestStopKillsWhatDoesNotListen(t *testing.T) {
	p, err := shell(t, "trap '' TERM; echo deaf; while :; do sleep 1; done").start()
	require.NoError(t, err)
	requireLog(t, p, "deaf")
	require.NoError(t, p.Stop())
	require.False(t, p.running())
	require.NoError(t, p.Err())
}

func TestStartKeepsThePreviousLog(t *testing.T) {
	c := shell(t, "echo $$")
	require.NoError(t, c.run(t.Context()))
	first := tail(c.log, 1)
	require.NoError(t, c.run(t.Context()))
	require.Equal(t, first, tail(c.log+".1", 1))
	require.NotEqual(t, first, tail(c.log, 1))
}

func TestStartOfAMissingProgram(t *testing.T) {
	c := shell(t, "")
	c.args = []string{"/nowhere/postgres"}
	_, err := c.start()
	require.ErrorContains(t, err, "starting the shell")
}
