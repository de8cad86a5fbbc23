package devstack

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Need is programs that tests stand on, and how to get them on Debian or Ubuntu.
type Need struct {
	// Programs are names; all of them are needed, or with Any the first that is there.
	Programs []string
	Any      bool
	// What names them for people while they are installed.
	What string
	// Script installs them, as root, with Args; ScriptFile is where it is in the project.
	Script, ScriptFile string
	Args               []string
}

// FindPrograms finds the paths of programs by their names, in PATH and in folders that PATH often lacks, and
// installs what is missing. What can't be installed is an error that says how to get it.
func FindPrograms(ctx context.Context, n Need, progress Progress) (map[string]string, error) {
	return newProgramFinder(n, progress).find(ctx, n)
}

// programFinder is FindPrograms with the machine it looks at, which tests replace.
type programFinder struct {
	lookPath func(string) (string, error)
	folders  []string
	install  func(ctx context.Context) error
}

func newProgramFinder(n Need, progress Progress) programFinder {
	return programFinder{
		lookPath: exec.LookPath,
		folders: []string{
			"/usr/sbin", "/usr/local/sbin", "/usr/bin", "/Applications/Google Chrome.app/Contents/MacOS", "/Applications/Chromium.app/Contents/MacOS",
		},
		install: func(ctx context.Context) error {
			if _, err := exec.LookPath("apt-get"); err != nil {
				return errors.New("there is no apt-get")
			}
			return InstallByApt(ctx, n.What, n.Script, progress, n.Args...)
		},
	}
}

func (f programFinder) find(ctx context.Context, n Need) (map[string]string, error) {
	if found, ok := f.installed(n); ok {
		return found, nil
	}
	if err := f.install(ctx); err != nil {
		return nil, n.missing(err)
	}
	if found, ok := f.installed(n); ok {
		return found, nil
	}
	return nil, n.missing(errors.New("the packages are installed, but the programs are not where they were expected"))
}

func (n Need) missing(cause error) error {
	script := strings.Join(append([]string{n.ScriptFile}, n.Args...), " ")
	return fmt.Errorf("%s is %w: install it with `sudo sh %s` on Debian or Ubuntu (installing it here: %w)", n.Programs[0], ErrNotInstalled, script, cause)
}

func (f programFinder) installed(n Need) (map[string]string, bool) {
	found := map[string]string{}
	for _, name := range n.Programs {
		file, ok := f.look(name)
		switch {
		case ok && n.Any:
			return map[string]string{name: file}, true
		case ok:
			found[name] = file
		case !n.Any:
			return nil, false
		}
	}
	return found, !n.Any
}

func (f programFinder) look(name string) (string, bool) {
	if file, err := f.lookPath(name); err == nil {
		return file, true
	}
	for _, folder := range f.folders {
		file := filepath.Join(folder, name)
		if info, err := os.Stat(file); err == nil && info.Mode()&0o111 != 0 {
			return file, true
		}
	}
	return "", false
}
