package activities

import (
	"context"

	"go.temporal.io/sdk/activity"

	"github.com/muster-mdm/muster/apple/dep"
	"github.com/muster-mdm/muster/apple/fault"
	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/store"
)

const (
	// sameLimit is how many pages in a row may come with the cursor that they were asked for with, and more to follow.
	sameLimit = 3
	// restartLimit is how often a run lists all devices anew; Apple answers no better a fourth time.
	restartLimit = 3
)

// SyncInput names a server and says how its sync went so far.
type SyncInput struct {
	Server string `json:"server"`
	// First: the run begins, and the account is looked at, too.
	First bool `json:"first,omitempty"`
	// Same and Restarts are those of the result before.
	Same     int `json:"same,omitempty"`
	Restarts int `json:"restarts,omitempty"`
}

// SyncResult is what a page led to.
type SyncResult struct {
	ABMHalt
	// More: go on at once, or after Wait.
	More  bool           `json:"more,omitempty"`
	Phase store.ABMPhase `json:"phase,omitempty"`
	// Devices counts those of the page; New, Gone, Stale and Odd see [store.ABMTaken]; Missing those that a full fetch lacked.
	Devices int `json:"devices,omitempty"`
	New     int `json:"new,omitempty"`
	Gone    int `json:"gone,omitempty"`
	Stale   int `json:"stale,omitempty"`
	Odd     int `json:"odd,omitempty"`
	Missing int `json:"missing,omitempty"`
	// Full: a full fetch ended with this.
	Full bool `json:"full,omitempty"`
	// Same counts the pages in a row that came with the cursor that they were asked for with; Restarts how often the run
	// began to list all devices anew.
	Same     int `json:"same,omitempty"`
	Restarts int `json:"restarts,omitempty"`
}

// SyncPage asks Apple for the next page of a server's list and takes it, or marks some of those that a full fetch did not
// list. Whoever dies in between loses no device and doubles none: a page, what follows from it and the cursor are written
// in one transaction, which checks under the server's lock that the page was asked for with the cursor that still stands.
// A retry asks for the same page again, or for the next when the page was written.
func (a *ABM) SyncPage(ctx context.Context, in SyncInput) (SyncResult, error) {
	defer beating(ctx)()
	out := SyncResult{Restarts: in.Restarts}
	task, err := a.List.NextABMTask(ctx, in.Server)
	switch {
	case provision.CodeOf(err) == provision.NotFound:
		out.Idle = ABMDeleted
		return out, nil
	case err != nil:
		return out, told(ctx, err)
	case task.Phase == store.PhaseConclude:
		return a.concludeFetch(ctx, task, out)
	}
	out.Phase = task.Phase
	if task.Paused {
		out.Idle = ABMPaused
		return out, nil
	}
	c, halt, err := a.reach(ctx, in.Server)
	if err == nil && !halt.set() {
		halt, err = c.usable(ctx)
	}
	if err == nil && !halt.set() && in.First {
		halt, err = c.refreshAccount(ctx)
	}
	if err != nil || halt.set() {
		out.ABMHalt, out.More = halt, halt.Wait > 0
		return out, err
	}
	return c.syncPage(ctx, in, task, out)
}

// concludeFetch needs nothing of Apple's.
func (a *ABM) concludeFetch(ctx context.Context, task store.ABMTask, out SyncResult) (SyncResult, error) {
	next, missing, err := a.List.ConcludeABMFetch(ctx, task)
	if err != nil {
		return out, told(ctx, err)
	}
	out.Phase, out.Missing, out.More, out.Full = task.Phase, missing, true, next.Phase == store.PhaseSync
	if missing > 0 {
		activity.GetLogger(ctx).Info("devices are missing in apple business manager", "server", task.Server, "devices", missing)
	}
	return out, nil
}

// refreshAccount looks at the account now and then: organisations are renamed. Only a throttle matters here; whatever
// else goes wrong goes wrong with the list, too.
func (a *apple) refreshAccount(ctx context.Context) (ABMHalt, error) {
	account, err := a.dep.Account(ctx)
	if f, ok := fault.As(err); ok && f.Kind == fault.Throttled {
		return a.throttled(ctx, f)
	}
	if err != nil {
		return ABMHalt{}, nil //nolint:nilerr // best effort
	}
	return ABMHalt{}, told(ctx, a.Servers.NoteABMAccount(ctx, a.server.Name, accountOf(account)))
}

func accountOf(a dep.Account) store.ABMAccount {
	return store.ABMAccount{
		ServerName: a.ServerName, ServerUUID: a.ServerUUID, AdminID: a.AdminID, FacilitatorID: a.FacilitatorID, OrgName: a.OrgName,
		OrgEmail: a.OrgEmail, OrgPhone: a.OrgPhone, OrgAddress: a.OrgAddress, OrgID: a.OrgID, OrgIDHash: a.OrgIDHash,
		OrgType: a.OrgType, OrgVersion: a.OrgVersion,
	}
}

func (a *apple) syncPage(ctx context.Context, in SyncInput, task store.ABMTask, out SyncResult) (SyncResult, error) {
	list := a.dep.Sync
	if task.Phase == store.PhaseFetch {
		list = a.dep.Fetch
	}
	page, err := list(ctx, task.Cursor, a.Config.PageSize)
	switch kind := fault.KindOf(err); {
	case kind == fault.CursorExhausted:
		// Of a fetch: all is listed, and the sync goes on from this cursor. Of a sync: some of Apple's servers say so when
		// nothing is new.
		page = dep.Page{Cursor: task.Cursor}
	case kind == fault.CursorExpired || kind == fault.CursorInvalid:
		return a.restart(ctx, task, out, err.Error())
	case err != nil:
		out.ABMHalt, err = a.noted(ctx, err)
		out.More = out.Wait > 0
		return out, err
	}
	taken, err := a.List.TakeABMPage(ctx, store.ABMPage{Task: task, Next: page.Cursor, More: page.More, Records: recordsOf(page.Devices)})
	if provision.CodeOf(err) == provision.NotFound {
		out.Idle = ABMDeleted // meanwhile
		return out, nil
	}
	if err != nil {
		return out, told(ctx, err)
	}
	if err := a.Servers.ABMWorked(ctx, task.Server); err != nil {
		return out, told(ctx, err)
	}
	out.count(len(page.Devices), taken)
	out.More = taken.Outdated || page.More || taken.Next.Phase == store.PhaseConclude
	logTaken(ctx, task.Server, taken)
	if !page.More || page.Cursor != task.Cursor {
		return out, nil
	}
	if out.Same = in.Same + 1; out.Same < sameLimit {
		return out, nil
	}
	return a.restart(ctx, taken.Next, out, "Apple gave the same place in its list again and again, so all devices were listed anew.")
}

func (out *SyncResult) count(devices int, taken store.ABMTaken) {
	out.Devices, out.New, out.Gone, out.Stale, out.Odd = devices, taken.New, taken.Gone, taken.Stale, len(taken.Odd)
}

func logTaken(ctx context.Context, server string, taken store.ABMTaken) {
	log := activity.GetLogger(ctx)
	if taken.New > 0 || taken.Gone > 0 {
		log.Info("devices came and went in apple business manager", "server", server, "new", taken.New, "gone", taken.Gone)
	}
	if len(taken.Odd) > 0 {
		log.Warn("serial numbers in apple business manager that no device has", "server", server, "serials", taken.Odd)
	}
}

// restart lists all devices anew, some times in a run.
func (a *apple) restart(ctx context.Context, task store.ABMTask, out SyncResult, why string) (SyncResult, error) {
	if err := a.List.RestartABMFetch(ctx, task, why); err != nil {
		return out, told(ctx, err)
	}
	out.Same, out.Restarts = 0, out.Restarts+1
	out.More = out.Restarts < restartLimit
	activity.GetLogger(ctx).Warn("all devices are listed anew", "server", task.Server, "reason", why)
	return out, nil
}

func recordsOf(devices []dep.Device) []store.ABMRecord {
	records := make([]store.ABMRecord, len(devices))
	for i, d := range devices {
		records[i] = store.ABMRecord{
			Serial: d.Serial, Model: d.Model, Description: d.Description, Color: d.Color, AssetTag: d.AssetTag, Family: d.Family, OS: d.OS,
			AssignedBy: d.AssignedBy, ProfileUUID: d.ProfileUUID, ProfileStatus: d.ProfileStatus,
			AssignedAt: d.AssignedAt, ProfileAssignedAt: d.ProfileAssignedAt, ProfilePushedAt: d.ProfilePushedAt,
			OpType: d.OpType, OpDate: d.OpDate,
		}
	}
	return records
}
