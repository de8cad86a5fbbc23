package devstack

import (
	"bufio"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// A file named go.mod would make its folder another module, and those can't be embedded.
var (
	//go:embed temporalcli/mod.txt
	temporalMod []byte
	//go:embed temporalcli/sum.txt
	temporalSum []byte
)

// build works in a folder beside the final place and renames: a build that is killed leaves nothing half.
func build(ctx context.Context, bin string, progress Progress) error {
	staging, err := os.MkdirTemp(filepath.Dir(bin), ".temporal-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(staging)
	progress.say("Building Temporal's CLI %s into %s. This happens once and takes some minutes.", TemporalVersion, filepath.Dir(bin))

	if err := layOut(staging); err != nil {
		return err
	}
	built := filepath.Join(staging, "temporal")
	cmd := exec.CommandContext(ctx, "go", "build", "-v", "-mod=readonly", "-o", built, temporalPackage)
	cmd.Dir = staging
	// The developer's own build flags are meant for our module; without cgo no C compiler is needed.
	cmd.Env = append(os.Environ(), "GOFLAGS=", "GOWORK=off", "GOOS=", "GOARCH=", "CGO_ENABLED=0")
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
	if !isPinnedTemporal(built) {
		return errors.New("go build succeeded, but what it built isn't the pinned version")
	}
	return os.Rename(built, bin)
}

// layOut makes the folder the module that the CLI is built from.
func layOut(dir string) error {
	return errors.Join(
		os.WriteFile(filepath.Join(dir, "go.mod"), temporalMod, 0o600),
		os.WriteFile(filepath.Join(dir, "go.sum"), temporalSum, 0o600),
	)
}

// narrate tells now and then how far `go build -v` has got, and returns its last line.
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
