// Package directorytest shares real directories among the tests of a package: each is started when the first test asks, has the
// same domain, accounts and groups every time, and is stopped at the package's end. What is missing is installed, and what
// cannot be is a failure that says how to get it, never a skip.
package directorytest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/muster-mdm/muster/devstack/directories"
)

// startLimit bounds installing and starting a directory.
const startLimit = 10 * time.Minute

// Main runs a package's tests and then stops the directories they started; call it from TestMain.
func Main(m *testing.M) { os.Exit(Runner{m}.Run()) }

// Runner is what Main runs, for a TestMain that hands its tests to somebody else.
type Runner struct{ M interface{ Run() int } }

// Run runs the tests, stops the directories, and returns the exit code.
func (r Runner) Run() int {
	servers.enabled = true
	code := r.M.Run()
	if err := servers.stop(); err != nil {
		fmt.Fprintln(os.Stderr, "directorytest:", err)
		return max(code, 1)
	}
	return code
}

// ActiveDirectory is this test process's domain controller. It is shared: a test that locks an account starts its own by
// [StartSamba].
func ActiveDirectory(t testing.TB) *directories.Samba {
	t.Helper()
	servers.mu.Lock()
	defer servers.mu.Unlock()
	if servers.samba == nil {
		start(t, "Samba", func(ctx context.Context) (err error) {
			servers.samba, err = directories.StartSamba(ctx, say)
			return err
		})
	}
	return servers.samba
}

// OpenLDAP is this test process's plain LDAP server, shared likewise.
func OpenLDAP(t testing.TB) *directories.Slapd {
	t.Helper()
	servers.mu.Lock()
	defer servers.mu.Unlock()
	if servers.slapd == nil {
		start(t, "OpenLDAP", func(ctx context.Context) (err error) {
			servers.slapd, err = directories.StartSlapd(ctx, say)
			return err
		})
	}
	return servers.slapd
}

func start(t testing.TB, name string, run func(context.Context) error) {
	t.Helper()
	if !servers.enabled {
		t.Fatal("nobody would stop the directories: add `func TestMain(m *testing.M) { directorytest.Main(m) }` to the package's tests")
	}
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	if err := run(ctx); err != nil {
		t.Fatalf("starting %s for the test: %v", name, err)
	}
}

// servers are this test process's own.
var servers private

type private struct {
	enabled bool // by Runner, before any test runs

	mu    sync.Mutex
	samba *directories.Samba
	slapd *directories.Slapd
}

func (p *private) stop() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	var errs []error
	if p.samba != nil {
		errs = append(errs, p.samba.Err(), p.samba.Stop())
	}
	if p.slapd != nil {
		errs = append(errs, p.slapd.Err(), p.slapd.Stop())
	}
	return errors.Join(errs...)
}

func say(sentence string) { fmt.Fprintln(os.Stderr, "directorytest:", sentence) }
