// Command with runs another command with a throw-away PostgreSQL and a throw-away Temporal server that all its tests share:
//
//	go run ./devstack/with -- go test ./...
//
// It sets MUSTER_TEST_POSTGRES and MUSTER_TEST_TEMPORAL, passes signals on, stops both servers at the end, and exits as the command
// did. When the command fails it says whether a server is to blame.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"github.com/muster-mdm/muster/devstack"
	"github.com/muster-mdm/muster/devstack/stacktest"
)

// exitFailed is our own exit code when a server, not the command, is to blame.
const exitFailed = 1

func main() { os.Exit(with(context.Background(), os.Args[1:])) }

// with is main with its arguments and its exit code.
func with(ctx context.Context, args []string) int {
	if len(args) > 0 && args[0] == "--" {
		args = args[1:]
	}
	if len(args) == 0 {
		fmt.Fprintln(os.Stderr, "usage: with -- command [argument …]")
		return 2
	}
	code, err := run(ctx, args)
	if err != nil {
		fmt.Fprintln(os.Stderr, "with:", err)
	}
	return code
}

func run(ctx context.Context, args []string) (code int, err error) {
	// Signals that come while the servers start wait for the command; until then they end the start.
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer signal.Stop(signals)

	stack, err := startStack(ctx, signals)
	if err != nil {
		return exitFailed, err
	}
	defer func() {
		if stopped := stack.Stop(); stopped != nil {
			code, err = max(code, exitFailed), errors.Join(err, stopped)
		}
	}()
	return stack.command(ctx, args, signals)
}

// stack is the two servers.
type stack struct {
	*devstack.Supervisor
	env   []string
	check func(context.Context) error // whether a server that lives is of use, too
}

func startStack(ctx context.Context, signals <-chan os.Signal) (*stack, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	started := make(chan struct{})
	defer close(started)
	go func() {
		select {
		case s := <-signals:
			cancel(fmt.Errorf("ended by the signal %q before the servers were up", s))
		case <-started:
		}
	}()
	s, err := startServers(ctx)
	if cause := context.Cause(ctx); err != nil && cause != nil {
		return nil, cause
	}
	return s, err
}

func startServers(ctx context.Context) (*stack, error) {
	find := devstack.FindOptions{Progress: func(sentence string) { fmt.Fprintln(os.Stderr, "with:", sentence) }}
	bin, err := devstack.FindPostgres(ctx, find)
	if err != nil {
		return nil, err
	}
	dir, err := devstack.BinDir()
	if err != nil {
		return nil, err
	}
	temporalBin, err := devstack.FindTemporal(ctx, dir, find)
	if err != nil {
		return nil, err
	}
	pg, err := devstack.StartPostgres(ctx, devstack.PostgresConfig{Bin: bin, ThrowAway: true})
	if err != nil {
		return nil, err
	}
	t, err := devstack.StartTemporal(ctx, devstack.TemporalConfig{
		Bin: temporalBin, ThrowAway: true, SearchAttributes: stacktest.SearchAttributes,
	})
	if err != nil {
		return nil, errors.Join(err, pg.Stop())
	}
	return &stack{
		Supervisor: devstack.NewSupervisor(pg, t),
		env:        []string{stacktest.PostgresVariable + "=" + pg.URL("postgres"), stacktest.TemporalVariable + "=" + t.HostPort()},
		check:      t.Check,
	}, nil
}

// command runs the command to its end and passes signals on to it. A server that crashes meanwhile fails the run by name, but
// the command still ends by itself: its output shows what the crash did.
func (s *stack) command(ctx context.Context, args []string, signals <-chan os.Signal) (int, error) {
	cmd := exec.Command(args[0], args[1:]...) //nolint:gosec,noctx // running what it is given is its purpose; signals end it
	cmd.Env = append(os.Environ(), s.env...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	if err := cmd.Start(); err != nil {
		return exitFailed, err
	}
	watch, cancel := context.WithCancel(ctx)
	defer cancel()
	crashed := make(chan error, 1)
	go func() { crashed <- s.Wait(watch) }()
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()

	for {
		select {
		case sig := <-signals:
			_ = cmd.Process.Signal(sig) // it may have ended just now
		case err := <-ended:
			cancel()
			code, err := exitCode(err, <-crashed)
			if code != 0 && err == nil {
				err = s.diagnose(ctx)
			}
			return code, err
		}
	}
}

// diagnose tells failures that a server has caused from the tests' own.
func (s *stack) diagnose(ctx context.Context) error {
	if err := s.check(ctx); err != nil {
		return fmt.Errorf("the command failed, and this may be why: %w", err)
	}
	return nil
}

// exitCode is the command's own, 128 more than the signal that ended it, or a failure when a server crashed beside it.
func exitCode(ended, crashed error) (int, error) {
	code := 0
	var exit *exec.ExitError
	switch {
	case ended == nil:
	case !errors.As(ended, &exit):
		return exitFailed, errors.Join(ended, crashed)
	case exit.ExitCode() >= 0:
		code = exit.ExitCode()
	default:
		code = exitFailed
		if status, ok := exit.Sys().(syscall.WaitStatus); ok {
			code = 128 + int(status.Signal())
		}
	}
	if crashed != nil {
		code = max(code, exitFailed)
	}
	return code, crashed
}
