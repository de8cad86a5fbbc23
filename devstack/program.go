package devstack

import (
	"context"
	"syscall"
	"time"
)

// ProgramConfig describes a program of ours that stands on the servers, such as muster itself.
type ProgramConfig struct {
	Name string   // for people: "the API"
	Args []string // Args[0] is the executable's path
	Env  []string // its whole environment
	Log  string   // file for its stdout and stderr; the previous run's is kept as log.1
}

// Program is a running program. It dies with the process that started it, as the servers do.
type Program struct{ *process }

// StartProgram starts a program; it says nothing about whether the program is ready.
func StartProgram(cfg ProgramConfig) (*Program, error) {
	p, err := cfg.command().start()
	if err != nil {
		return nil, err
	}
	return &Program{p}, nil
}

// RunProgram runs a program to its end, which must be a success: else the error is a *CrashError with the end of its log.
func RunProgram(ctx context.Context, cfg ProgramConfig) error { return cfg.command().run(ctx) }

func (c ProgramConfig) command() command {
	return command{
		name: c.Name, args: c.Args, env: c.Env, log: c.Log,
		lastWill: syscall.SIGKILL, // what it does must survive that anyway
		farewell: []farewell{{syscall.SIGTERM, 20 * time.Second}},
	}
}

// Await repeats try until it succeeds, the program ends, or the context does.
func (p *Program) Await(ctx context.Context, try func(context.Context) error) error {
	return poll(ctx, p.process, try)
}

// Kill ends the program with SIGKILL and returns when it is gone. It is no crash.
func (p *Program) Kill() { p.kill() }

// Pid is the process id, for what the system says of it.
func (p *process) Pid() int { return p.os.Pid }

// Pid is the process id of the server that runs now.
func (t *Temporal) Pid() int { return t.latest().Pid() }

// FreePort finds a free loopback port that the kernel doesn't hand out by itself, so that a server which comes back after a
// while finds it free again.
func FreePort() (int, error) {
	ports, err := freePorts(1, nil)
	if err != nil {
		return 0, err
	}
	return ports[0], nil
}
