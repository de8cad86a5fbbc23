package devstack

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
)

// oldestPostgres is the oldest major version Muster's SQL is tested with.
const oldestPostgres = 14

// FindOptions say how FindPostgres and FindTemporal may get what they look for.
type FindOptions struct {
	NoInstall bool // report what is missing instead of installing or building it
	Progress  Progress
}

// PostgresBinaries is a folder with initdb, postgres and their like, all of one major version.
type PostgresBinaries struct {
	Dir   string
	Major int
}

// ErrNotInstalled says that a server's programs are missing; the error's text says in one sentence how to get them.
var ErrNotInstalled = errors.New("not installed")

// FindPostgres looks for PostgreSQL's programs in the folder PG_BIN, in PATH, in Debian's and in Homebrew's folders (the newest
// version there), and else installs them by apt-get or brew, without starting a service. A PG_BIN that does not hold them is an error:
// it was meant.
func FindPostgres(ctx context.Context, opts FindOptions) (PostgresBinaries, error) {
	return newFinder(opts).postgres(ctx)
}

// finder is FindPostgres with the machine it looks at, which tests replace.
type finder struct {
	FindOptions
	env      func(string) string
	lookPath func(string) (string, error)
	debian   string // glob of bin folders
	homebrew []string
	install  func(ctx context.Context, progress Progress) error
}

func newFinder(opts FindOptions) finder {
	return finder{
		FindOptions: opts,
		env:         os.Getenv,
		lookPath:    exec.LookPath,
		debian:      "/usr/lib/postgresql/*/bin",
		homebrew: []string{
			"/opt/homebrew/opt/postgresql*/bin", "/usr/local/opt/postgresql*/bin", "/home/linuxbrew/.linuxbrew/opt/postgresql*/bin",
		},
		install: installPostgres,
	}
}

func (f finder) postgres(ctx context.Context) (PostgresBinaries, error) {
	if dir := f.env("PG_BIN"); dir != "" {
		found, err := inspect(ctx, dir)
		if err != nil {
			return PostgresBinaries{}, fmt.Errorf("PG_BIN=%s holds no usable PostgreSQL: %w", dir, err)
		}
		return found, nil
	}
	if found, ok := f.installed(ctx); ok {
		return found, nil
	}
	if f.NoInstall {
		return PostgresBinaries{}, missingPostgres(nil)
	}
	if err := f.install(ctx, f.Progress); err != nil {
		return PostgresBinaries{}, missingPostgres(err)
	}
	if found, ok := f.installed(ctx); ok {
		f.Progress.say("PostgreSQL %d is installed in %s.", found.Major, found.Dir)
		return found, nil
	}
	return PostgresBinaries{}, missingPostgres(errors.New("the package is installed, but its programs are not where they were expected"))
}

func missingPostgres(cause error) error {
	sentence := fmt.Sprintf("PostgreSQL %d or newer is %%w: install it with `sudo apt-get install postgresql` (Debian, Ubuntu) or "+
		"`brew install postgresql@17` (macOS), or set PG_BIN to the folder that holds initdb and postgres", oldestPostgres)
	if cause == nil {
		return fmt.Errorf(sentence, ErrNotInstalled)
	}
	return fmt.Errorf(sentence+" (installing it here: %w)", ErrNotInstalled, cause)
}

// installed tries PATH first: who put a PostgreSQL there wants that one.
func (f finder) installed(ctx context.Context) (PostgresBinaries, bool) {
	if initdb, err := f.lookPath("initdb"); err == nil {
		for _, dir := range []string{realDir(initdb), filepath.Dir(initdb)} {
			if found, err := inspect(ctx, dir); err == nil {
				return found, true
			}
		}
	}
	if found, ok := newest(ctx, f.debian); ok {
		return found, true
	}
	return newest(ctx, f.homebrew...)
}

// realDir follows links such as /usr/local/bin/initdb to the folder in which the sister programs stand, too.
func realDir(file string) string {
	if target, err := filepath.EvalSymlinks(file); err == nil {
		return filepath.Dir(target)
	}
	return filepath.Dir(file)
}

func newest(ctx context.Context, globs ...string) (PostgresBinaries, bool) {
	var all []PostgresBinaries
	for _, glob := range globs {
		dirs, _ := filepath.Glob(glob)
		for _, dir := range dirs {
			if found, err := inspect(ctx, dir); err == nil {
				all = append(all, found)
			}
		}
	}
	if len(all) == 0 {
		return PostgresBinaries{}, false
	}
	return slices.MaxFunc(all, func(a, b PostgresBinaries) int { return cmp.Compare(a.Major, b.Major) }), true
}

// inspect asks the programs themselves: a wrapper, a broken link or half a package must not be mistaken for a server.
func inspect(ctx context.Context, dir string) (PostgresBinaries, error) {
	server, err := majorVersion(ctx, filepath.Join(dir, "postgres"))
	if err != nil {
		return PostgresBinaries{}, err
	}
	initdb, err := majorVersion(ctx, filepath.Join(dir, "initdb"))
	if err != nil {
		return PostgresBinaries{}, err
	}
	if server != initdb {
		return PostgresBinaries{}, fmt.Errorf("postgres is version %d, but initdb is version %d", server, initdb)
	}
	if server < oldestPostgres {
		return PostgresBinaries{}, fmt.Errorf("version %d is older than %d", server, oldestPostgres)
	}
	return PostgresBinaries{Dir: dir, Major: server}, nil
}

var versionLine = regexp.MustCompile(`\(PostgreSQL\) (\d+)`)

func majorVersion(ctx context.Context, program string) (int, error) {
	out, err := exec.CommandContext(ctx, program, "--version").Output()
	if err != nil {
		return 0, fmt.Errorf("asking %s for its version: %w", program, err)
	}
	match := versionLine.FindSubmatch(out)
	if match == nil {
		return 0, fmt.Errorf("%s does not say which version it is: %q", program, out)
	}
	return strconv.Atoi(string(match[1]))
}
