package activities

import (
	"context"

	"go.temporal.io/sdk/activity"

	"github.com/muster-mdm/muster/apple/abm"
	"github.com/muster-mdm/muster/apple/dep"
	"github.com/muster-mdm/muster/apple/fault"
	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/store"
)

// conflicting is Apple's code for devices that another activity is at.
const conflicting = "CONFLICT"

// takeOff has the Business API unassign or release devices: it starts an activity for all of them, or looks after the one
// that is under way.
func (a *apple) takeOff(ctx context.Context, duties []store.ABMDuty) (DutyResult, error) {
	if duties[0].Activity != "" {
		return a.follow(ctx, duties)
	}
	kind, server := abm.Release, ""
	if duties[0].Verb == provision.UnassignDevice {
		kind = abm.Unassign
		if a.server.Account == nil {
			if err := a.learnAccount(ctx); err != nil {
				return a.failed(ctx, duties, err)
			}
		}
		server = a.server.Account.ServerUUID
	}
	id, err := a.business.StartActivity(ctx, kind, server, serialsOf(duties))
	if f, ok := fault.As(err); ok && f.Code == conflicting {
		return a.putOff(ctx, duties, a.Config.Poll, ABMHalt{}) // perhaps ours, whose id was lost
	}
	if err != nil {
		return a.failed(ctx, duties, err)
	}
	activity.GetLogger(ctx).Info("activity of the business api started", "server", a.server.Name, "verb", duties[0].Verb, "devices", len(duties), "activity", id)
	return DutyResult{}, told(ctx, a.Duties.NoteABMActivity(ctx, duties, id, a.Config.Poll))
}

// learnAccount asks what the Business API calls the server.
func (a *apple) learnAccount(ctx context.Context) error {
	account, err := a.dep.Account(ctx)
	if err != nil {
		return err
	}
	known := accountOf(account)
	a.server.Account = &known
	return a.Servers.NoteABMAccount(ctx, a.server.Name, known)
}

// follow looks whether an activity has ended, and what it did to each device.
func (a *apple) follow(ctx context.Context, duties []store.ABMDuty) (DutyResult, error) {
	id := duties[0].Activity
	state, err := a.business.Activity(ctx, id)
	switch {
	case fault.KindOf(err) == fault.NotFound:
		return a.conclude(ctx, duties, abm.ActivityState{ID: id, Status: verbatim(err)})
	case err != nil:
		return a.failed(ctx, duties, err)
	case !state.Ended():
		return DutyResult{}, told(ctx, a.Duties.NoteABMActivity(ctx, duties, id, a.Config.Poll))
	}
	return a.conclude(ctx, duties, state)
}

// conclude answers for each device of an activity that has ended. Where that failed, or doesn't say, the device itself is
// looked at: it may be gone already.
func (a *apple) conclude(ctx context.Context, duties []store.ABMDuty, state abm.ActivityState) (DutyResult, error) {
	answers := map[string]store.ABMAnswer{}
	answered := func(d store.ABMDuty) store.ABMAnswer { return answers[d.Serial] }
	for i, d := range duties {
		answer, err := a.concluded(ctx, d, state)
		if err != nil {
			// What is known is kept; for the rest the activity is looked at again.
			out, answerErr := a.answer(ctx, duties[:i], answered)
			if answerErr != nil {
				return out, answerErr
			}
			rest, err := a.failed(ctx, duties[i:], err)
			rest.Done += out.Done
			return rest, err
		}
		answers[d.Serial] = answer
	}
	return a.answer(ctx, duties, answered)
}

func (a *apple) concluded(ctx context.Context, d store.ABMDuty, state abm.ActivityState) (store.ABMAnswer, error) {
	said, failed := state.Failures[d.Serial]
	if state.Succeeded() || state.Failures != nil && !failed && state.Status == "COMPLETED" {
		return store.ABMAnswer{Outcome: provision.ABMDone, Result: state.SubStatus}, nil
	}
	off, err := a.isOff(ctx, d)
	switch {
	case err != nil:
		return store.ABMAnswer{}, err
	case off:
		return store.ABMAnswer{Outcome: provision.ABMDone, Result: said}, nil
	case said == "":
		said = words(state)
	}
	return a.again(d, said), nil
}

func words(state abm.ActivityState) string {
	if state.SubStatus == "" {
		return state.Status
	}
	return state.Status + ": " + state.SubStatus
}

// isOff asks whether the device is where the duty wants it: out of the organisation, or off this server.
func (a *apple) isOff(ctx context.Context, d store.ABMDuty) (bool, error) {
	device, err := a.business.OrgDevice(ctx, d.Serial)
	switch {
	case fault.KindOf(err) == fault.NotFound:
		return true, nil
	case err != nil:
		return false, err
	case d.Verb == provision.ReleaseDevice || !device.ReleasedAt.IsZero():
		return !device.ReleasedAt.IsZero(), nil
	case device.Status != abm.StatusAssigned || a.server.Account == nil:
		return device.Status != abm.StatusAssigned, nil
	}
	server, err := a.business.AssignedServer(ctx, d.Serial)
	if fault.KindOf(err) == fault.NotFound {
		return true, nil
	}
	return err == nil && server != a.server.Account.ServerUUID, err
}

// disown releases devices by the device assignment API, which Apple allows to few servers; for the others a person must.
func (a *apple) disown(ctx context.Context, duties []store.ABMDuty) (DutyResult, error) {
	results, err := a.dep.Disown(ctx, serialsOf(duties))
	if err != nil {
		return a.failed(ctx, duties, err)
	}
	out, err := a.answer(ctx, duties, func(d store.ABMDuty) store.ABMAnswer {
		switch said := results.BySerial[d.Serial]; said {
		case dep.Success:
			return store.ABMAnswer{Outcome: provision.ABMDone, Result: said}
		case dep.Failed, dep.NotAccessible:
			return store.ABMAnswer{Outcome: provision.ABMGuided, Result: said}
		case dep.Throttled:
			return a.assigned(d, "", results)
		case "":
			return a.again(d, unanswered)
		default:
			return a.again(d, said)
		}
	})
	return a.worked(ctx, out, err)
}
