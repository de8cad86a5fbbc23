package devstack

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// cluster is a data folder on its way to being served.
type cluster struct {
	PostgresConfig
	dir      string // of the log, the password and the lock
	home     string // of the data: dir, unless the account can't reach it
	pgdata   string
	account  *account
	password string
	release  func() // gives the claim back, and removes what was thrown away
}

// openCluster claims the folder and decides who runs the cluster, and where.
func openCluster(cfg PostgresConfig) (*cluster, error) {
	c := &cluster{PostgresConfig: cfg, release: func() {}}
	if c.fallback == "" {
		c.fallback = homeless
	}
	if err := c.claimDir(); err != nil {
		return nil, err
	}
	if err := c.settle(); err != nil {
		c.release()
		return nil, err
	}
	return c, nil
}

func (c *cluster) claimDir() error {
	temporary := c.Dir == ""
	if temporary {
		dir, err := throwAwayDir()
		if err != nil {
			return err
		}
		c.Dir = dir
	}
	dir, err := filepath.Abs(c.Dir)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // PostgreSQL's user passes through it
		return fmt.Errorf("making the folder for PostgreSQL: %w", err)
	}
	lock, err := claim(dir, kindPostgres)
	if err != nil {
		return err
	}
	c.dir = dir
	c.release = func() {
		if temporary {
			_ = os.RemoveAll(dir)
			_ = os.RemoveAll(c.home) // elsewhere only if the user can't reach the folder for temporary files
		}
		_ = lock.Close()
	}
	return nil
}

// settle finds the data folder and its user: an existing cluster stays with its owner, a new one gets an unprivileged user.
func (c *cluster) settle() error {
	c.pgdata = filepath.Join(c.dir, "pgdata")
	if target, err := filepath.EvalSymlinks(c.pgdata); err == nil {
		c.pgdata, c.home = target, filepath.Dir(target)
		c.account, err = ownerOf(target)
		return err
	}
	var err error
	if c.account, err = unprivileged(); err != nil {
		return err
	}
	if c.home, err = c.account.home(c.dir, c.fallback); err != nil {
		return err
	}
	if c.home == c.dir {
		return nil
	}
	link := c.pgdata
	c.pgdata = filepath.Join(c.home, "pgdata")
	c.Progress.say("PostgreSQL's user %q cannot reach %s, so its data lives in %s.", c.account.name, c.dir, c.pgdata)
	_ = os.Remove(link) // a link whose target is gone
	return os.Symlink(c.pgdata, link)
}

// prepare makes the data folder ready for the server: created when new, of the right version, and without a dead server's traces.
func (c *cluster) prepare(ctx context.Context) error {
	version, err := os.ReadFile(filepath.Join(c.pgdata, "PG_VERSION"))
	if errors.Is(err, os.ErrNotExist) {
		return c.initdb(ctx)
	}
	if err != nil {
		return fmt.Errorf("reading the version of %s: %w", c.pgdata, err)
	}
	if have := strings.TrimSpace(string(version)); have != strconv.Itoa(c.Bin.Major) {
		return fmt.Errorf("the data in %s was written by PostgreSQL %s, but %s holds PostgreSQL %d: set PG_BIN to the folder of "+
			"PostgreSQL %s's programs, or remove the folder to start anew", c.pgdata, have, c.Bin.Dir, c.Bin.Major, have)
	}
	password, err := os.ReadFile(c.passwordFile())
	if err != nil {
		return fmt.Errorf("reading the password of the cluster in %s: %w", c.pgdata, err)
	}
	c.password = string(password)
	return c.clearStale(ctx)
}

func (c *cluster) passwordFile() string { return filepath.Join(c.dir, "postgres.password") }

// initdb creates the cluster beside its final place and then renames it, so that one killed half-way is never mistaken for a cluster.
func (c *cluster) initdb(ctx context.Context) error {
	c.Progress.say("Creating a private PostgreSQL %d cluster in %s.", c.Bin.Major, c.pgdata)
	unborn, secret := c.pgdata+".new", filepath.Join(c.home, "initdb.password")
	defer os.Remove(secret)
	if err := os.RemoveAll(unborn); err != nil {
		return err
	}
	if err := os.Mkdir(unborn, 0o700); err != nil {
		return err
	}
	c.password = rand.Text()
	for _, file := range []string{secret, c.passwordFile()} {
		if err := os.WriteFile(file, []byte(c.password), 0o600); err != nil {
			return err
		}
	}
	if err := c.give(unborn, secret); err != nil {
		return err
	}
	cmd := c.command(c.initdbArgs(unborn, secret)...)
	cmd.name, cmd.log = "initdb", filepath.Join(c.dir, "initdb.log")
	if err := cmd.run(ctx); err != nil {
		return fmt.Errorf("creating the cluster: %w", err)
	}
	return os.Rename(unborn, c.pgdata)
}

func (c *cluster) initdbArgs(pgdata, secret string) []string {
	args := []string{
		filepath.Join(c.Bin.Dir, "initdb"), "-D", pgdata, "--username=" + superuser, "--pwfile=" + secret,
		"--auth=scram-sha-256", "--encoding=UTF8", "--locale=" + locale(), "--no-instructions",
	}
	if c.ThrowAway {
		args = append(args, "--no-sync")
	}
	return args
}

// locale folds the case of all letters, yet sorts alike on every machine where it exists; macOS doesn't have it.
func locale() string {
	if runtime.GOOS == "darwin" {
		return "en_US.UTF-8"
	}
	return "C.UTF-8"
}

func (c *cluster) give(paths ...string) error {
	if c.account == nil {
		return nil
	}
	for _, path := range paths {
		if err := os.Chown(path, int(c.account.uid), int(c.account.gid)); err != nil {
			return fmt.Errorf("giving %s to the user %q: %w", path, c.account.name, err)
		}
	}
	return nil
}

// clearStale removes a postmaster.pid without a server behind it: PostgreSQL alone would be fooled when its number belongs to another
// process by now, as is common in containers. A server that really runs here is an orphan, since the claim is ours: it is ended.
func (c *cluster) clearStale(ctx context.Context) error {
	file := filepath.Join(c.pgdata, "postmaster.pid")
	raw, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	first, _, _ := strings.Cut(string(raw), "\n")
	pid, err := strconv.Atoi(strings.TrimSpace(first))
	if err == nil {
		if err := endOrphan(ctx, pid, c.pgdata, syscall.SIGINT); err != nil {
			return err
		}
	}
	if err := os.Remove(file); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// endOrphan ends the process if its command line names the file that only our server would name.
func endOrphan(ctx context.Context, pid int, names string, politely syscall.Signal) error {
	if pid <= 1 || !strings.Contains(commandLine(pid), names) {
		return nil
	}
	for _, signal := range []syscall.Signal{politely, syscall.SIGKILL} {
		if err := syscall.Kill(pid, signal); err != nil {
			return fmt.Errorf("ending the orphaned server %d: %w", pid, err)
		}
		limited, cancel := context.WithTimeout(ctx, 10*time.Second)
		err := poll(limited, nil, func(context.Context) error {
			if strings.Contains(commandLine(pid), names) {
				return errors.New("it still runs")
			}
			return nil
		})
		cancel()
		if err == nil {
			return nil
		}
	}
	return fmt.Errorf("the orphaned server %d does not end", pid)
}
