package devstack

import (
	"context"
	_ "embed"
	"errors"
	"os/exec"
)

// The script is a file of its own because continuous integration runs it, too.
//
//go:embed install_postgres.sh
var installScript string

// installPostgres installs PostgreSQL by the machine's own package manager.
func installPostgres(ctx context.Context, progress Progress) error {
	if _, err := exec.LookPath("apt-get"); err == nil {
		return InstallByApt(ctx, "PostgreSQL", installScript, progress)
	}
	if _, err := exec.LookPath("brew"); err == nil {
		progress.say("Installing PostgreSQL with `brew install postgresql@17`; this takes some minutes.")
		return quiet(exec.CommandContext(ctx, "brew", "install", "postgresql@17"))
	}
	return errors.New("there is neither apt-get nor brew")
}
