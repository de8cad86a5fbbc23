package devstack

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// The script is a file of its own because continuous integration runs it, too.
//
//go:embed install_postgres.sh
var installScript string

// installPostgres installs PostgreSQL by the machine's own package manager.
func installPostgres(ctx context.Context, progress Progress) error {
	if _, err := exec.LookPath("apt-get"); err == nil {
		return installByApt(ctx, progress)
	}
	if _, err := exec.LookPath("brew"); err == nil {
		progress.say("Installing PostgreSQL with `brew install postgresql@17`; this takes some minutes.")
		return quiet(exec.CommandContext(ctx, "brew", "install", "postgresql@17"))
	}
	return errors.New("there is neither apt-get nor brew")
}

func installByApt(ctx context.Context, progress Progress) error {
	args := []string{"sh", "-c", installScript}
	if os.Geteuid() != 0 {
		if err := exec.CommandContext(ctx, "sudo", "-n", "true").Run(); err != nil {
			return errors.New("apt-get needs root, and sudo would ask for a password")
		}
		args = append([]string{"sudo", "-n"}, args...)
	}
	progress.say("Installing PostgreSQL with apt-get, without starting its service; this takes a minute.")
	return quiet(exec.CommandContext(ctx, args[0], args[1:]...)) //nolint:gosec // our own script
}

// quiet runs a command whose output only matters when it fails.
func quiet(cmd *exec.Cmd) error {
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		lines := strings.Split(strings.TrimSpace(out.String()), "\n")
		return fmt.Errorf("%s: %w: %s", cmd.Args[0], err, strings.Join(lines[max(0, len(lines)-5):], "; "))
	}
	return nil
}
