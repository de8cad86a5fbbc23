package devstack

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// bareOf is a machine without any programs but those of a folder.
func bareOf(folder string) programFinder {
	return programFinder{
		lookPath: func(string) (string, error) { return "", exec.ErrNotFound },
		folders:  []string{folder},
		install:  func(context.Context) error { return nil },
	}
}

func addProgram(t *testing.T, folder, name string) string {
	t.Helper()
	file := filepath.Join(folder, name)
	require.NoError(t, os.WriteFile(file, []byte("#!/bin/sh\n"), 0o700))
	return file
}

func TestFindProgramsInstallsWhatIsMissing(t *testing.T) {
	folder := t.TempDir()
	slapd := addProgram(t, folder, "slapd")
	f := bareOf(folder)
	installed := 0
	f.install = func(context.Context) error {
		installed++
		addProgram(t, folder, "slapadd")
		return nil
	}
	need := Need{Programs: []string{"slapd", "slapadd"}}
	for range 2 {
		found, err := f.find(t.Context(), need)
		require.NoError(t, err)
		require.Equal(t, map[string]string{"slapd": slapd, "slapadd": filepath.Join(folder, "slapadd")}, found)
	}
	require.Equal(t, 1, installed)
}

func TestFindProgramsTakesTheFirstOfSeveral(t *testing.T) {
	folder := t.TempDir()
	f := bareOf(folder)
	need := Need{Programs: []string{"a", "b", "c"}, Any: true}
	_, err := f.find(t.Context(), need)
	require.ErrorIs(t, err, ErrNotInstalled)
	addProgram(t, folder, "c")
	b := addProgram(t, folder, "b")
	found, err := f.find(t.Context(), need)
	require.NoError(t, err)
	require.Equal(t, map[string]string{"b": b}, found)
}

func TestProgramsThatCannotBeInstalledAreAFailureThatSaysHow(t *testing.T) {
	f := bareOf(t.TempDir())
	need := Need{Programs: []string{"samba"}, ScriptFile: "devstack/x/install.sh", Args: []string{"samba"}}
	_, err := f.find(t.Context(), need)
	require.ErrorIs(t, err, ErrNotInstalled)
	require.ErrorContains(t, err, "`sudo sh devstack/x/install.sh samba`")

	f.install = func(context.Context) error { return errors.New("no network") }
	_, err = f.find(t.Context(), need)
	require.ErrorIs(t, err, ErrNotInstalled)
	require.ErrorContains(t, err, "no network")
}
