package directories

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/muster-mdm/muster/devstack"
)

// The script is a file of its own because continuous integration runs it, too.
//
//go:embed install_directories.sh
var installScript string

// programs are the paths of a directory's programs by their names.
type programs map[string]string

var (
	sambaPrograms = []string{"samba", "samba-tool"}
	slapdPrograms = []string{"slapd", "slapadd"}
)

// what names them for people.
var what = map[string]string{"samba": "Samba", "slapd": "OpenLDAP"}

// finder finds the directories' programs; tests replace the machine it looks at.
type finder struct {
	progress devstack.Progress
	lookPath func(string) (string, error)
	folders  []string // servers stand in folders that are in root's PATH only
	install  func(ctx context.Context, progress devstack.Progress) error
}

// newFinder looks for the programs of samba or slapd.
func newFinder(of string, progress devstack.Progress) finder {
	return finder{
		progress: progress,
		lookPath: exec.LookPath,
		folders:  []string{"/usr/sbin", "/usr/local/sbin", "/usr/bin"},
		install: func(ctx context.Context, progress devstack.Progress) error {
			if _, err := exec.LookPath("apt-get"); err != nil {
				return errors.New("there is no apt-get")
			}
			return devstack.InstallByApt(ctx, what[of], installScript, progress, of)
		},
	}
}

// find looks for all programs of a directory, and installs what is missing.
func (f finder) find(ctx context.Context, names []string) (programs, error) {
	if found, ok := f.installed(names); ok {
		return found, nil
	}
	if err := f.install(ctx, f.progress); err != nil {
		return nil, missing(names, err)
	}
	if found, ok := f.installed(names); ok {
		return found, nil
	}
	return nil, missing(names, errors.New("the packages are installed, but the programs are not where they were expected"))
}

func missing(names []string, cause error) error {
	return fmt.Errorf("%[1]s is %[2]w: install it with `sudo sh devstack/directories/install_directories.sh %[1]s` on Debian or Ubuntu (installing it here: %[3]w)",
		names[0], devstack.ErrNotInstalled, cause)
}

func (f finder) installed(names []string) (programs, bool) {
	found := programs{}
	for _, name := range names {
		file, ok := f.look(name)
		if !ok {
			return nil, false
		}
		found[name] = file
	}
	return found, true
}

func (f finder) look(name string) (string, bool) {
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
