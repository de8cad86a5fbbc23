package activities

import (
	"context"
	"time"

	"go.temporal.io/sdk/activity"

	"github.com/muster-mdm/muster/apple/dep"
	"github.com/muster-mdm/muster/apple/fault"
	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/store"
)

const (
	// blockedPause is how long duties wait for a server that somebody must mend; they go on at once when it is.
	blockedPause = time.Hour
	// outagePause and longOutagePause are how long duties wait while Apple is out of reach, and when it has been for long.
	outagePause, longOutagePause = time.Minute, 5 * time.Minute
	// longOutage is when it has been for long.
	longOutage = 10 * time.Minute
	// movedOnPause gives the sweep the time to see that a device shall have another profile by now.
	movedOnPause = time.Minute
	// unanswered is the result of a device that Apple's answer leaves out.
	unanswered = "Apple's answer does not name the device."
)

// DutyInput names a server.
type DutyInput struct {
	Server string `json:"server"`
}

// DutyResult is what became of some duties.
type DutyResult struct {
	ABMHalt
	// Verb is what Apple was asked for; Asked for how many devices, Done for how many it did it.
	Verb  provision.ABMVerb `json:"verb,omitempty"`
	Asked int               `json:"asked,omitempty"`
	Done  int               `json:"done,omitempty"`
	// More: something may be due at once. Otherwise Next is when something is; zero = nothing is owed.
	More bool      `json:"more,omitempty"`
	Next time.Time `json:"next,omitzero"`
}

// RunDuties asks Apple for up to a thousand devices for what is due at a server and of one kind. A retry does no harm: what a
// dead attempt had claimed comes up again when its lease ends. To assign a profile or to unassign twice is the same to
// Apple; of what is gone already it says so, and then the device itself is looked at; and what Apple was asked and its
// list confirmed meanwhile is no duty any more.
func (a *ABM) RunDuties(ctx context.Context, in DutyInput) (DutyResult, error) {
	defer beating(ctx)()
	c, halt, err := a.reach(ctx, in.Server)
	if err != nil || halt.set() {
		return DutyResult{ABMHalt: halt, More: halt.Wait > 0}, err
	}
	if halt, err = c.usable(ctx); err != nil || halt.Idle != "" {
		return DutyResult{ABMHalt: halt}, err
	}
	duties, err := a.Duties.ClaimABMDuties(ctx, in.Server, dep.MaxDevices)
	if err != nil {
		return DutyResult{}, told(ctx, err)
	}
	if len(duties) == 0 {
		return c.resting(ctx)
	}
	if halt.set() {
		return DutyResult{ABMHalt: halt, Verb: duties[0].Verb}, told(ctx, a.Duties.BlockABMDuties(ctx, duties, blockedPause))
	}
	out, err := c.carry(ctx, duties)
	out.Verb, out.Asked = duties[0].Verb, len(duties)
	out.More = out.Blocked == ""
	return out, err
}

// resting says when something is due next.
func (a *apple) resting(ctx context.Context) (DutyResult, error) {
	next, err := a.Duties.NextABMDuties(ctx)
	return DutyResult{Next: next[a.server.Name]}, told(ctx, err)
}

func (a *apple) carry(ctx context.Context, duties []store.ABMDuty) (DutyResult, error) {
	switch verb := duties[0].Verb; {
	case verb == provision.AssignProfile:
		return a.assignProfile(ctx, duties)
	case a.business != nil:
		return a.takeOff(ctx, duties)
	case verb == provision.ReleaseDevice:
		return a.disown(ctx, duties)
	}
	return a.answer(ctx, duties, func(store.ABMDuty) store.ABMAnswer { return store.ABMAnswer{Outcome: provision.ABMGuided} })
}

// answer records what became of each duty; say needn't repeat the duty.
func (a *apple) answer(ctx context.Context, duties []store.ABMDuty, say func(store.ABMDuty) store.ABMAnswer) (DutyResult, error) {
	out := DutyResult{}
	if len(duties) == 0 {
		return out, nil
	}
	answers := make([]store.ABMAnswer, len(duties))
	for i, d := range duties {
		answers[i] = say(d)
		answers[i].Duty = d
		if answers[i].Outcome == provision.ABMDone {
			out.Done++
		}
	}
	if err := a.Duties.AnswerABMDuties(ctx, answers); err != nil {
		return out, told(ctx, err)
	}
	activity.GetLogger(ctx).Info("apple answered", "server", a.server.Name, "verb", duties[0].Verb, "devices", len(duties), "done", out.Done)
	return out, nil
}

// again has Apple asked again for a device, the later the more often it was asked.
func (a *ABM) again(d store.ABMDuty, result string) store.ABMAnswer {
	pause := a.Config.RetryAfter[min(d.Tries, len(a.Config.RetryAfter)-1)]
	return store.ABMAnswer{Outcome: provision.ABMRetrying, Result: result, Again: pause}
}

// refused answers for all alike that Apple, or our own rules, don't do it.
func (a *apple) refused(ctx context.Context, duties []store.ABMDuty, result string) (DutyResult, error) {
	return a.answer(ctx, duties, func(d store.ABMDuty) store.ABMAnswer { return a.again(d, result) })
}

// putOff gives duties back of which Apple said nothing.
func (a *apple) putOff(ctx context.Context, duties []store.ABMDuty, pause time.Duration, halt ABMHalt) (DutyResult, error) {
	return DutyResult{ABMHalt: halt}, told(ctx, a.Duties.PostponeABMDuties(ctx, duties, pause))
}

// failed decides on duties whose request went wrong as a whole. Of what is out of reach nobody knows whether it was done;
// asked again, Apple says.
func (a *apple) failed(ctx context.Context, duties []store.ABMDuty, err error) (DutyResult, error) {
	f, ok := fault.As(err)
	if !ok || ctx.Err() != nil {
		return DutyResult{}, told(ctx, err)
	}
	passes := f.Kind == fault.Unreachable || f.Kind == fault.Garbled
	switch {
	case f.Kind == fault.Throttled:
		halt, err := a.throttled(ctx, f)
		if err != nil {
			return DutyResult{}, err
		}
		return a.putOff(ctx, duties, halt.Wait, halt)
	case passes && f.Business:
		return a.putOff(ctx, duties, max(f.RetryAfter, outagePause), ABMHalt{})
	case f.Business || f.Kind == fault.Refused || f.Kind == fault.NotFound:
		return a.refused(ctx, duties, verbatim(f))
	}
	halt, err := a.noted(ctx, err)
	if passes {
		return a.putOff(ctx, duties, max(f.RetryAfter, a.outage()), ABMHalt{})
	}
	if err != nil {
		return DutyResult{}, err
	}
	return DutyResult{ABMHalt: halt}, told(ctx, a.Duties.BlockABMDuties(ctx, duties, blockedPause))
}

func (a *apple) outage() time.Duration {
	if since := a.server.FailingSince; since != nil && a.Now().Sub(*since) > longOutage {
		return longOutagePause
	}
	return outagePause
}

// worked notes that Apple answered; after the answers are written, so that what is claimed doesn't come up again.
func (a *apple) worked(ctx context.Context, out DutyResult, err error) (DutyResult, error) {
	if err != nil {
		return out, err
	}
	return out, told(ctx, a.Servers.ABMWorked(ctx, a.server.Name))
}

func serialsOf(duties []store.ABMDuty) []string {
	serials := make([]string, len(duties))
	for i, d := range duties {
		serials[i] = d.Serial
	}
	return serials
}
