package devstack

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// InstallByApt runs a script as root, by sudo if that asks for no password, which installs servers by apt-get and starts none
// of them; what names them for people, and args are the script's.
func InstallByApt(ctx context.Context, what, script string, progress Progress, args ...string) error {
	lock, err := installAlone()
	if err != nil {
		return err
	}
	defer lock.Close()
	command := append([]string{"sh", "-c", script, "install"}, args...)
	if os.Geteuid() != 0 {
		if err := exec.CommandContext(ctx, "sudo", "-n", "true").Run(); err != nil {
			return errors.New("apt-get needs root, and sudo would ask for a password")
		}
		command = append([]string{"sudo", "-n"}, command...)
	}
	progress.say("Installing %s with apt-get, without starting a service; this takes a minute.", what)
	return quiet(exec.CommandContext(ctx, command[0], command[1:]...)) //nolint:gosec // a script of ours
}

// installAlone waits until no other process installs: the first to end would take away what keeps the other's services from starting.
func installAlone() (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(os.TempDir(), "muster-install.lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("waiting for other installers: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		return nil, errors.Join(fmt.Errorf("waiting for other installers: %w", err), f.Close())
	}
	return f, nil
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
