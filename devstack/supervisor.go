package devstack

import (
	"context"
	"errors"
	"slices"
)

// Child is a server under supervision: *Postgres and *Temporal are such.
type Child interface {
	Name() string
	Done() <-chan struct{}
	Err() error
	Stop() error
}

// Supervisor looks after children that must all live. It is made by NewSupervisor.
type Supervisor struct {
	children []Child
	crashed  chan error
}

// NewSupervisor looks after the children, named in the order in which they were started.
func NewSupervisor(children ...Child) *Supervisor {
	s := &Supervisor{children: children, crashed: make(chan error, len(children))}
	for _, c := range children {
		go func() {
			<-c.Done()
			if err := c.Err(); err != nil {
				s.crashed <- err
			}
		}()
	}
	return s
}

// Wait returns the *CrashError of the first child that ends unasked, with its name and the end of its log, or nil when the
// context ends first. A child that is stopped on purpose is no crash.
func (s *Supervisor) Wait(ctx context.Context) error {
	select {
	case err := <-s.crashed:
		return err
	case <-ctx.Done():
	}
	select { // a crash that came at the same moment is the better answer
	case err := <-s.crashed:
		return err
	default:
		return nil
	}
}

// Stop ends all children, the last started first.
func (s *Supervisor) Stop() error {
	var errs []error
	for _, c := range slices.Backward(s.children) {
		errs = append(errs, c.Stop())
	}
	return errors.Join(errs...)
}
