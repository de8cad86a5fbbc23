package activities

import (
	"context"

	"github.com/muster-mdm/muster/apple/dep"
	"github.com/muster-mdm/muster/apple/fault"
	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/store"
)

// assignProfile has devices set up by a content of a profile, which is defined at the server first if it isn't. A profile
// that Apple no longer knows is defined anew, once.
func (a *apple) assignProfile(ctx context.Context, duties []store.ABMDuty) (DutyResult, error) {
	wanted := duties[0]
	profile, err := a.Profiles.DeviceProfile(ctx, wanted.Profile)
	switch {
	case err != nil && provision.CodeOf(err) != provision.NotFound:
		return DutyResult{}, told(ctx, err)
	case err != nil || profile.Content != wanted.Content:
		return a.putOff(ctx, duties, movedOnPause, ABMHalt{})
	}
	uuid, err := a.Profiles.ProfileDefinition(ctx, profile.Name, profile.Content, a.server.Name)
	if err != nil {
		return DutyResult{}, told(ctx, err)
	}
	fresh := uuid == ""
	if fresh {
		if uuid, err = a.define(ctx, profile); err != nil {
			return a.undefined(ctx, duties, err)
		}
	}
	results, err := a.dep.AssignProfile(ctx, uuid, serialsOf(duties))
	if !fresh && fault.KindOf(err) == fault.NotFound {
		if uuid, err = a.define(ctx, profile); err != nil {
			return a.undefined(ctx, duties, err)
		}
		results, err = a.dep.AssignProfile(ctx, uuid, serialsOf(duties))
	}
	if err != nil {
		return a.failed(ctx, duties, err)
	}
	out, err := a.answer(ctx, duties, func(d store.ABMDuty) store.ABMAnswer { return a.assigned(d, uuid, results) })
	return a.worked(ctx, out, err)
}

// define defines a content of a profile at Apple. Whoever dies before it is noted leaves a profile there that no device
// has, which harms nobody.
func (a *apple) define(ctx context.Context, p store.DeviceProfile) (uuid string, err error) {
	fields, err := a.Config.Addresses.ForApple(p.Name, p.ActivationMode, p.Fields)
	if err != nil {
		return "", err
	}
	if uuid, err = a.dep.DefineProfile(ctx, fields); err != nil {
		return "", err
	}
	return uuid, a.Profiles.NoteProfileDefinition(ctx, store.ProfileDefinition{
		Profile: p.Name, Content: p.Content, Server: a.server.Name, UUID: uuid, Address: a.Config.Addresses.Enroll,
	})
}

// undefined tells what our own rules refuse from what went wrong at Apple or in the store.
func (a *apple) undefined(ctx context.Context, duties []store.ABMDuty, err error) (DutyResult, error) {
	if provision.CodeOf(err) == provision.Invalid {
		return a.refused(ctx, duties, err.Error())
	}
	return a.failed(ctx, duties, err)
}

func (a *apple) assigned(d store.ABMDuty, uuid string, results dep.Results) store.ABMAnswer {
	switch said := results.BySerial[d.Serial]; said {
	case dep.Success:
		return store.ABMAnswer{Outcome: provision.ABMDone, Result: said, UUID: uuid}
	case dep.Throttled:
		pause := results.RetryAfter
		if pause <= 0 {
			pause = throttlePause
		}
		return store.ABMAnswer{Outcome: provision.ABMRetrying, Result: said, Again: pause}
	case "":
		return a.again(d, unanswered)
	default:
		return a.again(d, said)
	}
}
