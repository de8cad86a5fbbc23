package activities

import (
	"context"
	"encoding/json"
	"time"

	"github.com/muster-mdm/muster/apple/abm"
	"github.com/muster-mdm/muster/apple/dep"
	"github.com/muster-mdm/muster/apple/fault"
)

// gate lets one request through at a time, and none while Apple asked to be left alone: what one activity was told, another
// that is under way must heed, too.
type gate struct {
	turn  chan struct{}
	until time.Time // of a throttle; kept by who has the turn
	now   func() time.Time
}

func newGate(now func() time.Time) *gate { return &gate{turn: make(chan struct{}, 1), now: now} }

// through makes a request when it is its turn. Too early, it fails as Apple would.
func through[T any](ctx context.Context, g *gate, ask func() (T, error)) (out T, err error) {
	select {
	case g.turn <- struct{}{}:
	case <-ctx.Done():
		return out, ctx.Err()
	}
	defer func() { <-g.turn }()
	if left := g.until.Sub(g.now()); left > 0 {
		return out, &fault.Error{Kind: fault.Throttled, RetryAfter: left}
	}
	out, err = ask()
	if f, ok := fault.As(err); ok && f.Kind == fault.Throttled {
		g.until = g.now().Add(pauseOf(f))
	}
	return out, err
}

func pauseOf(f *fault.Error) time.Duration {
	if f.RetryAfter <= 0 {
		return throttlePause
	}
	return f.RetryAfter
}

// PatientDEP asks one thing at a time and keeps the pauses that Apple asks for.
func PatientDEP(d DEP, now func() time.Time) DEP { return &patientDEP{d, newGate(now)} }

type patientDEP struct {
	dep  DEP
	gate *gate
}

func (p *patientDEP) Account(ctx context.Context) (dep.Account, error) {
	return through(ctx, p.gate, func() (dep.Account, error) { return p.dep.Account(ctx) })
}

func (p *patientDEP) Fetch(ctx context.Context, cursor string, limit int) (dep.Page, error) {
	return through(ctx, p.gate, func() (dep.Page, error) { return p.dep.Fetch(ctx, cursor, limit) })
}

func (p *patientDEP) Sync(ctx context.Context, cursor string, limit int) (dep.Page, error) {
	return through(ctx, p.gate, func() (dep.Page, error) { return p.dep.Sync(ctx, cursor, limit) })
}

func (p *patientDEP) DefineProfile(ctx context.Context, fields json.RawMessage) (string, error) {
	return through(ctx, p.gate, func() (string, error) { return p.dep.DefineProfile(ctx, fields) })
}

func (p *patientDEP) AssignProfile(ctx context.Context, uuid string, serials []string) (dep.Results, error) {
	return through(ctx, p.gate, func() (dep.Results, error) { return p.dep.AssignProfile(ctx, uuid, serials) })
}

func (p *patientDEP) Disown(ctx context.Context, serials []string) (dep.Results, error) {
	return through(ctx, p.gate, func() (dep.Results, error) { return p.dep.Disown(ctx, serials) })
}

// PatientBusiness asks one thing at a time and keeps the pauses that Apple asks for.
func PatientBusiness(b Business, now func() time.Time) Business {
	return &patientBusiness{b, newGate(now)}
}

type patientBusiness struct {
	business Business
	gate     *gate
}

func (p *patientBusiness) OrgDevice(ctx context.Context, serial string) (abm.OrgDevice, error) {
	return through(ctx, p.gate, func() (abm.OrgDevice, error) { return p.business.OrgDevice(ctx, serial) })
}

func (p *patientBusiness) AssignedServer(ctx context.Context, serial string) (string, error) {
	return through(ctx, p.gate, func() (string, error) { return p.business.AssignedServer(ctx, serial) })
}

func (p *patientBusiness) OrgDevices(ctx context.Context, cursor string, limit int) (devices []abm.OrgDevice, next string, err error) {
	next, err = through(ctx, p.gate, func() (string, error) {
		var next string
		var err error
		devices, next, err = p.business.OrgDevices(ctx, cursor, limit)
		return next, err
	})
	return devices, next, err
}

func (p *patientBusiness) StartActivity(ctx context.Context, kind abm.ActivityKind, serverID string, serials []string) (string, error) {
	return through(ctx, p.gate, func() (string, error) { return p.business.StartActivity(ctx, kind, serverID, serials) })
}

func (p *patientBusiness) Activity(ctx context.Context, id string) (abm.ActivityState, error) {
	return through(ctx, p.gate, func() (abm.ActivityState, error) { return p.business.Activity(ctx, id) })
}
