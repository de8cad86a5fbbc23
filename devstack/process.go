package devstack

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// command describes a child before it runs.
type command struct {
	name     string   // for people: "PostgreSQL"
	args     []string // args[0] is the executable
	env      []string
	log      string         // its stdout and stderr; the previous run's is kept as log.1
	account  *account       // nil: ours
	lastWill syscall.Signal // what the kernel sends it when we die, where the kernel can
	farewell []farewell     // how Stop asks it to end, politest first
}

// farewell is one step of an escalating stop.
type farewell struct {
	signal syscall.Signal
	wait   time.Duration
}

// process is a running child with its log.
type process struct {
	command
	os       *os.Process
	done     chan struct{}
	err      error // how it ended; read it after done
	expected atomic.Bool
}

// killWait is how long a child may take to vanish after SIGKILL; only a hung disk takes longer.
const killWait = 10 * time.Second

func (c command) start() (*process, error) {
	if err := os.Rename(c.log, c.log+".1"); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("keeping the previous log of %s: %w", c.name, err)
	}
	log, err := os.OpenFile(c.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the log of %s: %w", c.name, err)
	}
	defer log.Close()

	p := &process{command: c, done: make(chan struct{})}
	started := make(chan error, 1)
	go p.live(log, started)
	if err := <-started; err != nil {
		return nil, fmt.Errorf("starting %s: %w", c.name, err)
	}
	return p, nil
}

// live starts the child and waits for it on one thread: the kernel sends the last will when the *thread* that forked ends,
// so that thread must be held for as long as the child lives.
func (p *process) live(log *os.File, started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()

	cmd := exec.Command(p.args[0], p.args[1:]...) //nolint:gosec,noctx // our own servers; their lives are ended by Stop, not by a context
	cmd.Dir = "/"                                 // the account they run as may be unable to read ours
	cmd.Env = p.env
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = attributes(p.lastWill)
	cmd.SysProcAttr.Setpgid = true // Ctrl-C in a terminal reaches us alone; we end the children in order
	if p.account != nil {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: p.account.uid, Gid: p.account.gid}
	}
	err := cmd.Start()
	p.os = cmd.Process
	started <- err
	if err != nil {
		return
	}
	err = cmd.Wait()
	if !p.expected.Load() {
		p.err = &CrashError{Name: p.name, Cause: err, Log: p.LogTail(20)}
	}
	close(p.done)
}

// run starts the command and waits until it has ended by itself; its end must be a success.
func (c command) run(ctx context.Context) error {
	p, err := c.start()
	if err != nil {
		return err
	}
	select {
	case <-p.done:
	case <-ctx.Done():
		p.kill()
		return ctx.Err()
	}
	var crash *CrashError
	if errors.As(p.err, &crash) && crash.Cause == nil {
		return nil
	}
	return p.err
}

// Name is what people call the server.
func (p *process) Name() string { return p.name }

// Done is closed when the server has ended, for whatever reason.
func (p *process) Done() <-chan struct{} { return p.done }

// Err is nil while the server runs and after a stop that was asked for, else a *CrashError.
func (p *process) Err() error {
	if p.running() {
		return nil
	}
	return p.err
}

func (p *process) running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// Stop ends the server, politely first and with SIGKILL last, and returns when it is gone. It may be called again.
func (p *process) Stop() error {
	p.expected.Store(true)
	for _, step := range p.farewell {
		_ = p.os.Signal(step.signal) // it may be gone already; done tells
		if p.gone(step.wait) {
			return nil
		}
	}
	p.kill()
	if !p.gone(killWait) {
		return fmt.Errorf("stopping %s: process %d survives SIGKILL", p.name, p.os.Pid)
	}
	return nil
}

func (p *process) kill() {
	p.expected.Store(true)
	_ = p.os.Kill()
	p.gone(killWait)
}

func (p *process) gone(within time.Duration) bool {
	timer := time.NewTimer(within)
	defer timer.Stop()
	select {
	case <-p.done:
		return true
	case <-timer.C:
		return false
	}
}

// LogTail returns the last n lines the server has written.
func (p *process) LogTail(n int) string { return tail(p.log, n) }

// CrashError is the end of a server that nobody asked for.
type CrashError struct {
	Name  string
	Cause error  // how it ended; nil: with exit code 0
	Log   string // the end of its log
}

func (e *CrashError) Error() string {
	how := "exit status 0"
	if e.Cause != nil {
		how = e.Cause.Error()
	}
	text := fmt.Sprintf("%s stopped by itself (%s)", e.Name, how)
	if e.Log == "" {
		return text + "; its log is empty"
	}
	return text + "; the end of its log:\n" + indent(e.Log)
}

func (e *CrashError) Unwrap() error { return e.Cause }

func indent(text string) string {
	return "    " + strings.ReplaceAll(text, "\n", "\n    ")
}
