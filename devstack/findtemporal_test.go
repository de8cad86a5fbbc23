package devstack

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// fakeGo stands in for the tool chain: it records how it was called and "builds" by linking to a program that is there already.
func fakeGo(t *testing.T, script string) (calls string) {
	t.Helper()
	dir := t.TempDir()
	calls = filepath.Join(dir, "calls")
	script = fmt.Sprintf("#!/bin/sh\necho \"$* GOFLAGS=$GOFLAGS CGO_ENABLED=$CGO_ENABLED\" >>%s\n%s\n", calls, script)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "go"), []byte(script), 0o755))
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	t.Setenv("GOFLAGS", "-mod=vendor")
	return calls
}

func pinnedTemporal(t *testing.T) string {
	t.Helper()
	bin, err := FindTemporal(t.Context(), "../.bin", FindOptions{Progress: func(s string) { t.Log(s) }})
	require.NoError(t, err)
	return bin
}

func TestFindTemporalBuildsOnceForManyWhoAsk(t *testing.T) {
	calls := fakeGo(t, "echo go.temporal.io/server >&2; ln -s "+pinnedTemporal(t)+" \"$GOBIN/temporal\"")
	dir := filepath.Join(t.TempDir(), "bin")
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			bin, err := FindTemporal(t.Context(), dir, FindOptions{})
			if err != nil || bin != filepath.Join(dir, "temporal") {
				t.Errorf("found %q: %v", bin, err)
			}
		})
	}
	group.Wait()
	called, err := os.ReadFile(calls)
	require.NoError(t, err)
	require.Equal(t, "install -v github.com/temporalio/cli/cmd/temporal@v1.5.1 GOFLAGS= CGO_ENABLED=0\n", string(called))
	left, err := filepath.Glob(filepath.Join(dir, ".temporal-*"))
	require.NoError(t, err)
	require.Empty(t, left, "the build leaves something behind")
}

func TestFindTemporalSaysWhyTheBuildFailed(t *testing.T) {
	fakeGo(t, "echo 'dial tcp: no network' >&2; exit 1")
	dir := t.TempDir()
	_, err := FindTemporal(t.Context(), dir, FindOptions{})
	require.ErrorContains(t, err, "no network")
	require.ErrorContains(t, err, "by hand: `GOBIN="+dir)
}

func TestFindTemporalRefusesAnotherProgramThanThePinned(t *testing.T) {
	fakeGo(t, "ln -s "+os.Args[0]+" \"$GOBIN/temporal\"") // a Go program, but another
	_, err := FindTemporal(t.Context(), t.TempDir(), FindOptions{})
	require.ErrorContains(t, err, "isn't the pinned version")
}

func TestFindTemporalSaysHowToBuildWhatIsMissing(t *testing.T) {
	dir := t.TempDir()
	_, err := FindTemporal(t.Context(), dir, FindOptions{NoInstall: true})
	require.ErrorIs(t, err, ErrNotInstalled)
	require.ErrorContains(t, err, "GOBIN="+dir+" go install github.com/temporalio/cli/cmd/temporal@v1.5.1")

	require.NoError(t, os.Symlink(os.Args[0], filepath.Join(dir, "temporal")))
	_, err = FindTemporal(t.Context(), dir, FindOptions{NoInstall: true})
	require.ErrorIs(t, err, ErrNotInstalled, "another program was taken for it")

	t.Setenv("PATH", dir)
	_, err = FindTemporal(t.Context(), dir, FindOptions{})
	require.ErrorIs(t, err, ErrNotInstalled)
	require.ErrorContains(t, err, "install Go")
}

func TestNarrateCountsPackagesAndKeepsTheLastLine(t *testing.T) {
	require.Equal(t, "modernc.org/sqlite", narrate(strings.NewReader("go: downloading x v1\nmodernc.org/libc\nmodernc.org/sqlite\n"), nil))
}
