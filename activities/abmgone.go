package activities

import (
	"context"
	"strings"

	"go.temporal.io/sdk/activity"

	"github.com/muster-mdm/muster/apple/abm"
	"github.com/muster-mdm/muster/apple/fault"
	"github.com/muster-mdm/muster/provision"
)

const (
	// settleAtOnce is how many devices the Business API is asked about in an activity: one request or two for each.
	settleAtOnce = 100
	// settleTogether is how many are settled in a transaction without asking.
	settleTogether = 1000
	// accountTrouble begins the note that the API account of a server can't be used.
	accountTrouble = "The API account of the Business API could not be asked: "
)

// SettleInput names a server and how many unsettled devices to pass over.
type SettleInput struct {
	Server string `json:"server"`
	Skip   int    `json:"skip,omitempty"`
}

// SettleResult is what became of some devices that a server no longer lists.
type SettleResult struct {
	ABMHalt
	// More: go on, passing over Skip devices, of which Apple doesn't say yet where they are.
	More       bool `json:"more,omitempty"`
	Skip       int  `json:"skip,omitempty"`
	Released   int  `json:"released,omitempty"`
	Unassigned int  `json:"unassigned,omitempty"`
}

// SettleGone finds out what it means that devices are no longer listed: that they were unassigned, or released. It asks the
// Business API; without an account, or while that can't be used, a device that stays away for long counts as unassigned.
// A retry does no harm: a device is settled once, and one that is listed again meanwhile is left alone.
func (a *ABM) SettleGone(ctx context.Context, in SettleInput) (SettleResult, error) {
	defer beating(ctx)()
	c, halt, err := a.reach(ctx, in.Server)
	if err != nil || halt.set() {
		return SettleResult{ABMHalt: halt, More: halt.Wait > 0, Skip: in.Skip}, err
	}
	if c.business == nil {
		return c.settleByTime(ctx)
	}
	out, err := c.settleByAsking(ctx, in)
	if f, ok := fault.As(err); ok && ctx.Err() == nil {
		activity.GetLogger(ctx).Warn("the business api can't be asked", "server", in.Server, "code", f.Code, "error", err)
		if err := a.Whereabouts.NoteABM(ctx, in.Server, accountTrouble+f.Error()); err != nil {
			return out, told(ctx, err)
		}
		return c.settleByTime(ctx)
	}
	return out, err
}

// settleByTime settles those that were missing for long enough.
func (a *apple) settleByTime(ctx context.Context) (SettleResult, error) {
	serials, err := a.Whereabouts.UnsettledABM(ctx, a.server.Name, a.Now().Add(-a.Config.MissingAfter), 0, settleTogether)
	if err != nil {
		return SettleResult{}, told(ctx, err)
	}
	meanings := map[string]provision.ABMState{}
	for _, serial := range serials {
		meanings[serial] = provision.ABMUnassigned
	}
	return a.settle(ctx, meanings, SettleResult{More: len(serials) == settleTogether})
}

// settleByAsking returns a fault when the Business API can't be asked, with what was learnt before.
func (a *apple) settleByAsking(ctx context.Context, in SettleInput) (SettleResult, error) {
	serials, err := a.Whereabouts.UnsettledABM(ctx, a.server.Name, a.Now(), in.Skip, settleAtOnce)
	if err != nil {
		return SettleResult{}, told(ctx, err)
	}
	meanings := map[string]provision.ABMState{}
	var trouble error
	for _, serial := range serials {
		meaning, err := a.meaning(ctx, serial)
		if trouble = err; err != nil {
			break
		}
		if meaning != provision.ABMMissing {
			meanings[serial] = meaning
		}
	}
	out, err := a.settle(ctx, meanings, SettleResult{More: len(serials) == settleAtOnce, Skip: in.Skip + len(serials) - len(meanings)})
	if err != nil {
		return out, err
	}
	if f, ok := fault.As(trouble); ok && f.Kind == fault.Throttled {
		out.More, out.Skip = true, in.Skip
		out.ABMHalt, err = a.throttled(ctx, f)
		return out, err
	}
	if trouble == nil && strings.HasPrefix(a.server.SyncNote, accountTrouble) && len(serials) > 0 {
		return out, told(ctx, a.Whereabouts.NoteABM(ctx, a.server.Name, ""))
	}
	return out, trouble
}

// meaning asks what became of a device: it was released, or unassigned, perhaps to another server, or it is still
// [provision.ABMMissing], because Apple says that this server has it after all; its list will.
func (a *apple) meaning(ctx context.Context, serial string) (provision.ABMState, error) {
	d, err := a.business.OrgDevice(ctx, serial)
	switch {
	case fault.KindOf(err) == fault.NotFound:
		return provision.ABMReleased, nil
	case err != nil:
		return "", err
	case !d.ReleasedAt.IsZero():
		return provision.ABMReleased, nil
	case d.Status != abm.StatusAssigned || a.server.Account == nil:
		return provision.ABMUnassigned, nil
	}
	server, err := a.business.AssignedServer(ctx, serial)
	switch {
	case fault.KindOf(err) == fault.NotFound:
		return provision.ABMReleased, nil
	case err != nil:
		return "", err
	case server == a.server.Account.ServerUUID:
		return provision.ABMMissing, nil
	}
	return provision.ABMUnassigned, nil
}

func (a *apple) settle(ctx context.Context, meanings map[string]provision.ABMState, out SettleResult) (SettleResult, error) {
	if len(meanings) == 0 {
		return out, nil
	}
	if err := a.Whereabouts.SettleABM(ctx, a.server.Name, meanings); err != nil {
		return out, told(ctx, err)
	}
	for _, meaning := range meanings {
		if meaning == provision.ABMReleased {
			out.Released++
		} else {
			out.Unassigned++
		}
	}
	activity.GetLogger(ctx).Info("missing devices settled", "server", a.server.Name, "released", out.Released, "unassigned", out.Unassigned)
	return out, nil
}
