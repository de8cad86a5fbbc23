package devstack

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestClaimIsExclusiveUntilGivenBack(t *testing.T) {
	dir := t.TempDir()
	lock, err := claim(dir, kindPostgres)
	require.NoError(t, err)
	_, err = claim(dir, kindPostgres)
	require.ErrorIs(t, err, ErrInUse)
	other, err := claim(dir, kindTemporal)
	require.NoError(t, err, "another kind of server may share the folder")
	require.NoError(t, other.Close())
	require.NoError(t, lock.Close())
	lock, err = claim(dir, kindPostgres)
	require.NoError(t, err)
	require.NoError(t, lock.Close())
}

func TestSweepRemovesOnlyOldFoldersThatNobodyClaims(t *testing.T) {
	parent := t.TempDir()
	folder := func(name string) string {
		dir := filepath.Join(parent, name)
		require.NoError(t, os.Mkdir(dir, 0o755))
		return dir
	}
	abandoned, claimed, foreign := folder(throwAwayPrefix+"1"), folder(throwAwayPrefix+"2"), folder("of-somebody-else")
	lock, err := claim(claimed, kindTemporal)
	require.NoError(t, err)
	defer lock.Close()

	sweep(parent, time.Now().Add(-time.Hour))
	require.DirExists(t, abandoned, "swept although young")
	sweep(parent, time.Now().Add(time.Hour))
	require.NoDirExists(t, abandoned)
	require.DirExists(t, claimed)
	require.DirExists(t, foreign)
}

func TestThrowAwayFolderIsKeptForAnyKindOfServer(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	dir, release, err := ThrowAway("directory")
	require.NoError(t, err)
	sweep(os.TempDir(), time.Now().Add(time.Hour))
	require.DirExists(t, dir)
	release()
	require.NoDirExists(t, dir)
}

// A claim lasts although nobody refers to it any more: its server may still run.
func TestForgottenClaimIsKept(t *testing.T) {
	dir := t.TempDir()
	_, err := claim(dir, kindPostgres)
	require.NoError(t, err)
	for range 3 { // a finalizer runs after one collection, and closes before the next
		runtime.GC()
	}
	_, err = claim(dir, kindPostgres)
	require.ErrorIs(t, err, ErrInUse)
}
