package devstack

import (
	"debug/buildinfo"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// fakeGo stands in for the tool chain: it records how it was called.
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

// linking is fakeGo's script for a build that yields a program that is there already; it asks for a module to build in.
func linking(program string) string {
	return `[ "$1" = build ] || exit 0
[ -f go.mod ] && [ -f go.sum ] || exit 1
until [ "$1" = -o ]; do shift; done
ln -s ` + program + ` "$2"`
}

func pinnedTemporal(t *testing.T) string {
	t.Helper()
	bin, err := FindTemporal(t.Context(), "../.bin", FindOptions{Progress: func(s string) { t.Log(s) }})
	require.NoError(t, err)
	return bin
}

func TestFindTemporalBuildsOnceForManyWhoAsk(t *testing.T) {
	calls := fakeGo(t, "echo go.temporal.io/server >&2; "+linking(pinnedTemporal(t)))
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
	require.Regexp(t, `^build -v -mod=readonly -o \S+/temporal github\.com/temporalio/cli/cmd/temporal GOFLAGS= CGO_ENABLED=0\n$`, string(called))
	left, err := filepath.Glob(filepath.Join(dir, ".temporal-*"))
	require.NoError(t, err)
	require.Empty(t, left, "the build leaves something behind")
}

func TestFindTemporalSaysWhyTheBuildFailed(t *testing.T) {
	fakeGo(t, "echo 'dial tcp: no network' >&2; exit 1")
	dir := t.TempDir()
	_, err := FindTemporal(t.Context(), dir, FindOptions{})
	require.ErrorContains(t, err, "no network")
	require.ErrorContains(t, err, "by hand: `"+buildByHand(filepath.Join(dir, "temporal"))+"`")
}

func TestFindTemporalRefusesAnotherProgramThanThePinned(t *testing.T) {
	fakeGo(t, linking(os.Args[0])) // a Go program, but another
	_, err := FindTemporal(t.Context(), t.TempDir(), FindOptions{})
	require.ErrorContains(t, err, "isn't the pinned version")
}

func TestFindTemporalSaysHowToBuildWhatIsMissing(t *testing.T) {
	dir := t.TempDir()
	_, err := FindTemporal(t.Context(), dir, FindOptions{NoInstall: true})
	require.ErrorIs(t, err, ErrNotInstalled)
	require.ErrorContains(t, err, "build it with `"+buildByHand(filepath.Join(dir, "temporal"))+"`")

	require.NoError(t, os.Symlink(os.Args[0], filepath.Join(dir, "temporal")))
	_, err = FindTemporal(t.Context(), dir, FindOptions{NoInstall: true})
	require.ErrorIs(t, err, ErrNotInstalled, "another program was taken for it")

	t.Setenv("PATH", dir)
	_, err = FindTemporal(t.Context(), dir, FindOptions{})
	require.ErrorIs(t, err, ErrNotInstalled)
	require.ErrorContains(t, err, "install Go")
}

func TestFindTemporalReplacesAnotherProgram(t *testing.T) {
	fakeGo(t, linking(pinnedTemporal(t)))
	dir := t.TempDir()
	require.NoError(t, os.Symlink(os.Args[0], filepath.Join(dir, "temporal")))
	bin, err := FindTemporal(t.Context(), dir, FindOptions{})
	require.NoError(t, err)
	require.True(t, isPinnedTemporal(bin))
}

func TestTemporalIsBuiltByHandAsItIsByUs(t *testing.T) {
	calls := fakeGo(t, `[ "$1" = get ] && touch go.sum; [ "$1 $2" = "mod init" ] && echo "module $3" >go.mod; `+linking(pinnedTemporal(t)))
	dir := t.TempDir()
	out, err := exec.CommandContext(t.Context(), "sh", "-c", buildByHand(filepath.Join(dir, "temporal"))).CombinedOutput()
	require.NoError(t, err, "%s", out)
	_, err = FindTemporal(t.Context(), dir, FindOptions{NoInstall: true})
	require.NoError(t, err)
	called, err := os.ReadFile(calls)
	require.NoError(t, err)
	require.Contains(t, string(called), "get github.com/temporalio/cli/cmd/temporal@v1.5.1 modernc.org/sqlite@v1.44.3 ")
}

func TestTemporalIsBuiltFromThePinnedVersions(t *testing.T) {
	for module, version := range map[string]string{temporalModule: TemporalVersion, sqliteModule: sqliteVersion} {
		require.Contains(t, string(temporalMod), "\t"+module+" "+version+" ", "temporalcli/mod.txt")
		require.Contains(t, string(temporalSum), "\n"+module+" "+version+" h1:", "temporalcli/sum.txt")
	}
}

func TestTemporalWithAnotherSQLiteIsNotThePinned(t *testing.T) {
	built := func(version, sqlite string) *buildinfo.BuildInfo {
		return &buildinfo.BuildInfo{
			Main: debug.Module{Path: "github.com/temporalio/cli", Version: version},
			Deps: []*debug.Module{{Path: "go.temporal.io/server", Version: "v1.29.1"}, {Path: "modernc.org/sqlite", Version: sqlite}},
		}
	}
	require.True(t, isPinned(built("v1.5.1", "v1.44.3")))
	require.False(t, isPinned(built("v1.5.1", "v1.34.1")), "as `go install` builds it")
	require.False(t, isPinned(built("v1.5.0", "v1.44.3")))
	require.False(t, isPinned(&buildinfo.BuildInfo{Main: debug.Module{Path: "github.com/temporalio/cli", Version: "v1.5.1"}}))
}

func TestNarrateCountsPackagesAndKeepsTheLastLine(t *testing.T) {
	require.Equal(t, "modernc.org/sqlite", narrate(strings.NewReader("go: downloading x v1\nmodernc.org/libc\nmodernc.org/sqlite\n"), nil))
}
