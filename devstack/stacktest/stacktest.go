// Package stacktest gives tests in any room real servers: a fresh PostgreSQL database, a fresh Temporal namespace.
//
// The servers are those that MUSTER_TEST_POSTGRES and MUSTER_TEST_TEMPORAL name (as `go run ./devstack/with` sets them), or else
// private ones, started when the first test of a package asks and stopped at its end. What is missing is installed or built, and
// what cannot be is a failure that says how to get it, never a skip.
package stacktest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/muster-mdm/muster/devstack"
)

// The variables by which a runner shares its servers with all tests.
const (
	PostgresVariable = "MUSTER_TEST_POSTGRES" // a superuser's URL of any database
	TemporalVariable = "MUSTER_TEST_TEMPORAL" // host:port
)

// SearchAttributes are those that Muster's workflows set, as every namespace of a test has them.
var SearchAttributes = map[string]string{
	"MusterStatus":    "Keyword",
	"MusterAwaiting":  "KeywordList",
	"MusterGroups":    "KeywordList",
	"MusterServer":    "Keyword",
	"MusterBlockedBy": "Keyword",
	"MusterEpoch":     "Int",
}

// startLimit bounds installing, building and starting a server. Building Temporal's CLI on a small cold machine takes the most of it.
const startLimit = 20 * time.Minute

// Main runs a package's tests and then stops the servers they started; call it from TestMain.
func Main(m *testing.M) { os.Exit(Runner{m}.Run()) }

// Runner is what Main runs, for a TestMain that hands its tests to somebody else: goleak.VerifyTestMain(stacktest.Runner{m}).
type Runner struct{ M interface{ Run() int } }

// Run runs the tests, stops the servers, and returns the exit code.
func (r Runner) Run() int {
	servers.enabled = true
	code := r.M.Run()
	if err := servers.stop(); err != nil {
		fmt.Fprintln(os.Stderr, "stacktest:", err)
		return max(code, 1)
	}
	return code
}

// servers are this test process's own.
var servers private

type private struct {
	enabled bool // by Runner, before any test runs

	mu       sync.Mutex
	postgres *devstack.Postgres
	temporal *devstack.Temporal
}

var errNoMain = errors.New("nobody would stop the servers: add `func TestMain(m *testing.M) { stacktest.Main(m) }` to the package's tests")

func (p *private) postgresURL() (string, error) {
	if url := os.Getenv(PostgresVariable); url != "" {
		return url, nil
	}
	if !p.enabled {
		return "", errNoMain
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.postgres != nil {
		return p.postgres.URL("postgres"), nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	bin, err := devstack.FindPostgres(ctx, devstack.FindOptions{Progress: say})
	if err != nil {
		return "", err
	}
	p.postgres, err = devstack.StartPostgres(ctx, devstack.PostgresConfig{Bin: bin, ThrowAway: true})
	if err != nil {
		return "", err
	}
	return p.postgres.URL("postgres"), nil
}

func (p *private) temporalHostPort() (string, error) {
	if hostPort := os.Getenv(TemporalVariable); hostPort != "" {
		return hostPort, nil
	}
	if !p.enabled {
		return "", errNoMain
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.temporal != nil {
		return p.temporal.HostPort(), nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	dir, err := devstack.BinDir()
	if err != nil {
		return "", err
	}
	bin, err := devstack.FindTemporal(ctx, dir, devstack.FindOptions{Progress: say})
	if err != nil {
		return "", err
	}
	p.temporal, err = devstack.StartTemporal(ctx, devstack.TemporalConfig{Bin: bin, ThrowAway: true, SearchAttributes: SearchAttributes})
	if err != nil {
		return "", err
	}
	return p.temporal.HostPort(), nil
}

// explain names the server that an error comes from, and what it has to say if it is ours.
func (p *private) explain(err error) error {
	if hostPort := os.Getenv(TemporalVariable); hostPort != "" {
		return fmt.Errorf("the server %s that %s names: %w", hostPort, TemporalVariable, err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return fmt.Errorf("the server of this package's tests: %w; the end of its log:\n%s", err, p.temporal.LogTail(20))
}

func (p *private) stop() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	var errs []error
	if p.temporal != nil {
		errs = append(errs, p.temporal.Err(), p.temporal.Stop())
	}
	if p.postgres != nil {
		errs = append(errs, p.postgres.Err(), p.postgres.Stop())
	}
	return errors.Join(errs...)
}

func say(sentence string) { fmt.Fprintln(os.Stderr, "stacktest:", sentence) }
