package devstack

import (
	"bufio"
	"context"
	"debug/buildinfo"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// TemporalVersion is the pinned release of Temporal's CLI. Newer ones hold a replace directive, so `go install` refuses them.
const TemporalVersion = "v1.5.1"

const (
	temporalModule  = "github.com/temporalio/cli"
	temporalPackage = temporalModule + "/cmd/temporal"
)

// FindTemporal returns the path of the pinned Temporal CLI in binDir, and builds it there by `go install` when it is missing or of
// another version. That takes minutes once; several processes that ask at the same time wait for one build.
func FindTemporal(ctx context.Context, binDir string, opts FindOptions) (string, error) {
	dir, err := filepath.Abs(binDir)
	if err != nil {
		return "", err
	}
	bin := filepath.Join(dir, "temporal")
	if isPinnedTemporal(bin) {
		return bin, nil
	}
	byHand := fmt.Sprintf("GOBIN=%s go install %s@%s", dir, temporalPackage, TemporalVersion)
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

// isPinnedTemporal reads what Go's linker wrote into the program, so a stale or foreign program is never taken for the pinned one.
func isPinnedTemporal(bin string) bool {
	info, err := buildinfo.ReadFile(bin)
	return err == nil && info.Main.Path == temporalModule && info.Main.Version == TemporalVersion
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

// build installs into a folder beside the final place and renames: a build that is killed leaves nothing half.
func build(ctx context.Context, bin string, progress Progress) error {
	staging, err := os.MkdirTemp(filepath.Dir(bin), ".temporal-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(staging)
	progress.say("Building Temporal's CLI %s into %s. This happens once and takes some minutes.", TemporalVersion, filepath.Dir(bin))

	cmd := exec.CommandContext(ctx, "go", "install", "-v", temporalPackage+"@"+TemporalVersion)
	cmd.Dir = staging
	// The developer's own build flags are meant for our module; without cgo no C compiler is needed.
	cmd.Env = append(os.Environ(), "GOBIN="+staging, "GOFLAGS=", "GOWORK=off", "GOOS=", "GOARCH=", "CGO_ENABLED=0")
	out, err := cmd.StderrPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	last := narrate(out, progress)
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("%w: %s", err, last)
	}
	built := filepath.Join(staging, "temporal")
	if !isPinnedTemporal(built) {
		return errors.New("go install succeeded, but what it built isn't the pinned version")
	}
	return os.Rename(built, bin)
}

// narrate tells now and then how far `go install -v` has got, and returns its last line.
func narrate(out io.Reader, progress Progress) (last string) {
	begin, told, lines := time.Now(), time.Now(), bufio.NewScanner(out)
	compiled := 0
	for lines.Scan() {
		last = lines.Text()
		if strings.HasPrefix(last, "go: downloading") {
			continue
		}
		compiled++
		if time.Since(told) > 10*time.Second {
			told = time.Now()
			progress.say("Building Temporal's CLI: %d packages compiled after %s.", compiled, time.Since(begin).Round(time.Second))
		}
	}
	return last
}
