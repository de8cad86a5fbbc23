package devstack

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// fakeBin makes a folder whose programs say that they are of the versions given.
func fakeBin(t *testing.T, dir, postgres, initdb string) string {
	t.Helper()
	require.NoError(t, os.MkdirAll(dir, 0o755))
	for name, version := range map[string]string{"postgres": postgres, "initdb": initdb} {
		script := fmt.Sprintf("#!/bin/sh\necho '%s (PostgreSQL) %s (Debian)'\n", name, version)
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(script), 0o755))
	}
	return dir
}

// emptyMachine has nothing installed, and cannot install.
func emptyMachine(root string) finder {
	return finder{
		env:      func(string) string { return "" },
		lookPath: func(string) (string, error) { return "", errors.New("not in PATH") },
		debian:   filepath.Join(root, "usr/lib/postgresql/*/bin"),
		homebrew: []string{filepath.Join(root, "opt/homebrew/opt/postgresql*/bin")},
		install:  func(context.Context, Progress) error { return errors.New("no package manager") },
	}
}

func TestFindPostgresInOrder(t *testing.T) {
	root := t.TempDir()
	named := fakeBin(t, filepath.Join(root, "named"), "14.1", "14.1")
	inPath := fakeBin(t, filepath.Join(root, "path"), "15.3", "15.3")
	fakeBin(t, filepath.Join(root, "usr/lib/postgresql/9/bin"), "9.6", "9.6")
	fakeBin(t, filepath.Join(root, "usr/lib/postgresql/15/bin"), "15.18", "15.18")
	debian := fakeBin(t, filepath.Join(root, "usr/lib/postgresql/17/bin"), "17.2", "17.2")
	require.NoError(t, os.MkdirAll(filepath.Join(root, "usr/lib/postgresql/18/bin"), 0o755)) // only a client package
	brew := fakeBin(t, filepath.Join(root, "opt/homebrew/opt/postgresql@16/bin"), "16.4", "16.4")

	f := emptyMachine(root)
	f.env = func(string) string { return named }
	f.lookPath = func(string) (string, error) { return filepath.Join(inPath, "initdb"), nil }
	requireFound := func(want PostgresBinaries) {
		t.Helper()
		found, err := f.postgres(t.Context())
		require.NoError(t, err)
		require.Equal(t, want, found)
	}
	requireFound(PostgresBinaries{Dir: named, Major: 14})
	f.env = func(string) string { return "" }
	requireFound(PostgresBinaries{Dir: inPath, Major: 15})
	f.lookPath = emptyMachine(root).lookPath
	requireFound(PostgresBinaries{Dir: debian, Major: 17})
	f.debian = filepath.Join(root, "nowhere/*")
	requireFound(PostgresBinaries{Dir: brew, Major: 16})
}

func TestFindPostgresFollowsALoneLinkInPath(t *testing.T) {
	root := t.TempDir()
	dir := fakeBin(t, filepath.Join(root, "real"), "15.3", "15.3")
	link := filepath.Join(root, "initdb")
	require.NoError(t, os.Symlink(filepath.Join(dir, "initdb"), link))
	f := emptyMachine(root)
	f.lookPath = func(string) (string, error) { return link, nil }
	found, err := f.postgres(t.Context())
	require.NoError(t, err)
	require.Equal(t, dir, found.Dir)
}

func TestFindPostgresRefusesAUselessPGBIN(t *testing.T) {
	root := t.TempDir()
	fakeBin(t, filepath.Join(root, "usr/lib/postgresql/17/bin"), "17.2", "17.2")
	for dir, why := range map[string]string{
		filepath.Join(root, "absent"):                               "no such file",
		fakeBin(t, filepath.Join(root, "old"), "9.6", "9.6"):        "older than 14",
		fakeBin(t, filepath.Join(root, "mixed"), "17.2", "16.1"):    "initdb is version 16",
		fakeBin(t, filepath.Join(root, "wrapper"), "what?", "ever"): "does not say which version",
	} {
		f := emptyMachine(root)
		f.env = func(string) string { return dir }
		_, err := f.postgres(t.Context())
		require.ErrorContains(t, err, why)
		require.ErrorContains(t, err, "PG_BIN="+dir)
	}
}

func TestFindPostgresInstallsWhatIsMissing(t *testing.T) {
	root := t.TempDir()
	f := emptyMachine(root)
	var told []string
	f.Progress = func(s string) { told = append(told, s) }
	f.install = func(context.Context, Progress) error {
		fakeBin(t, filepath.Join(root, "usr/lib/postgresql/15/bin"), "15.18", "15.18")
		return nil
	}
	found, err := f.postgres(t.Context())
	require.NoError(t, err)
	require.Equal(t, 15, found.Major)
	require.NotEmpty(t, told)
}

func TestFindPostgresSaysWhatToInstall(t *testing.T) {
	f := emptyMachine(t.TempDir())
	_, err := f.postgres(t.Context())
	require.ErrorIs(t, err, ErrNotInstalled)
	require.ErrorContains(t, err, "sudo apt-get install postgresql")
	require.ErrorContains(t, err, "brew install postgresql")
	require.ErrorContains(t, err, "no package manager")

	f.NoInstall = true
	f.install = func(context.Context, Progress) error { t.Error("installed although told not to"); return nil }
	_, err = f.postgres(t.Context())
	require.ErrorIs(t, err, ErrNotInstalled)
}
