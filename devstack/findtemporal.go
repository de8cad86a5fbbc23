package devstack

import (
	"context"
	"debug/buildinfo"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"syscall"
	"time"
)

// TemporalVersion is the pinned release of Temporal's CLI. Newer ones hold a replace directive, which only their own module obeys.
const TemporalVersion = "v1.5.1"

const (
	temporalModule  = "github.com/temporalio/cli"
	temporalPackage = temporalModule + "/cmd/temporal"

	// With the SQLite that the CLI asks for itself, v1.34.1, one call that is cancelled in the middle of a query makes the server
	// answer "interrupted (9)" to all others for ever.
	sqliteModule  = "modernc.org/sqlite"
	sqliteVersion = "v1.44.3"
)

// FindTemporal returns the path of the pinned Temporal CLI in binDir, and builds it there when it is missing or of another
// version. That takes minutes once; several processes that ask at the same time wait for one build.
func FindTemporal(ctx context.Context, binDir string, opts FindOptions) (string, error) {
	dir, err := filepath.Abs(binDir)
	if err != nil {
		return "", err
	}
	bin := filepath.Join(dir, "temporal")
	if isPinnedTemporal(bin) {
		return bin, nil
	}
	byHand := buildByHand(bin)
	if opts.NoInstall {
		return "", fmt.Errorf("the Temporal CLI %s is %w in %s: build it with `%s`", TemporalVersion, ErrNotInstalled, dir, byHand)
	}
	if _, err := exec.LookPath("go"); err != nil {
		return "", fmt.Errorf("the Temporal CLI %s is %w in %s, and building it needs Go: install Go, then run `%s`", TemporalVersion, ErrNotInstalled, dir, byHand)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // a folder of programs
		return "", fmt.Errorf("making the folder for the Temporal CLI: %w", err)
	}
	if err := buildOnce(ctx, bin, opts.Progress); err != nil {
		return "", fmt.Errorf("building the Temporal CLI (by hand: `%s`): %w", byHand, err)
	}
	return bin, nil
}

// buildByHand is a command line that builds what we build, anywhere, also without Muster's sources.
func buildByHand(bin string) string {
	return fmt.Sprintf("(cd $(mktemp -d) && go mod init temporalcli && go get %s@%s %s@%s && CGO_ENABLED=0 go build -o %s %s)",
		temporalPackage, TemporalVersion, sqliteModule, sqliteVersion, bin, temporalPackage)
}

// isPinnedTemporal reads what Go's linker wrote into the program, so a stale or foreign program is never taken for the pinned one.
func isPinnedTemporal(bin string) bool {
	info, err := buildinfo.ReadFile(bin)
	return err == nil && isPinned(info)
}

func isPinned(info *buildinfo.BuildInfo) bool {
	return info.Main.Path == temporalModule && info.Main.Version == TemporalVersion &&
		slices.ContainsFunc(info.Deps, func(m *debug.Module) bool { return m.Path == sqliteModule && m.Version == sqliteVersion })
}

func buildOnce(ctx context.Context, bin string, progress Progress) error {
	lock, err := os.OpenFile(filepath.Join(filepath.Dir(bin), ".temporal.lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := lockOrWait(ctx, lock, progress); err != nil {
		return err
	}
	if isPinnedTemporal(bin) {
		return nil
	}
	return build(ctx, bin, progress)
}

// lockOrWait looks again and again, because a blocking flock would not hear the context.
func lockOrWait(ctx context.Context, lock *os.File, progress Progress) error {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for told := false; ; told = true {
		if syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil {
			return nil
		}
		if !told {
			progress.say("Waiting for another process that builds Temporal's CLI.")
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}
