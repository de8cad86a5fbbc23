package devstack

import (
	"context"
	"errors"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
)

func program(t *testing.T, script string) ProgramConfig {
	t.Helper()
	return ProgramConfig{Name: "the program", Args: []string{"/bin/sh", "-c", script}, Log: filepath.Join(t.TempDir(), "program.log")}
}

func TestKilledProgramIsNoCrash(t *testing.T) {
	p, err := StartProgram(program(t, "trap '' TERM; echo $$; while :; do sleep 1; done"))
	require.NoError(t, err)
	requireLog(t, p.process, strconv.Itoa(p.Pid()))
	p.Kill()
	<-p.Done()
	require.NoError(t, p.Err())
	require.Empty(t, commandLine(p.Pid()))
}

func TestRunProgramTellsAFailureByItsLog(t *testing.T) {
	require.NoError(t, RunProgram(t.Context(), program(t, "exit 0")))
	err := RunProgram(t.Context(), program(t, "echo no such table; exit 3"))
	var crash *CrashError
	require.ErrorAs(t, err, &crash)
	require.Contains(t, err.Error(), "no such table")
	require.Contains(t, err.Error(), "exit status 3")
}

func TestAwaitEndsWithTheProgram(t *testing.T) {
	p, err := StartProgram(program(t, "read line; exit 3"))
	require.NoError(t, err)
	tries := 0
	err = p.Await(t.Context(), func(context.Context) error {
		tries++
		return errors.New("not yet")
	})
	var crash *CrashError
	require.ErrorAs(t, err, &crash)
	require.Positive(t, tries)
	require.NoError(t, p.Await(t.Context(), func(context.Context) error { return nil }))
}

func TestFreePortIsBelowTheEphemeralRange(t *testing.T) {
	port, err := FreePort()
	require.NoError(t, err)
	require.Less(t, port, firstEphemeral())
}
