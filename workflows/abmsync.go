package workflows

import (
	"fmt"
	"time"

	"go.temporal.io/sdk/workflow"

	"github.com/muster-mdm/muster/activities"
	"github.com/muster-mdm/muster/signals"
)

// Stages of a sync.
const (
	stageList         = ""
	stageSettle       = "settle"
	stageOrganisation = "organisation"
	stageDone         = "done"
)

// ABMSyncState is all that a run of [ABMSync] knows, and hands to the next. It is part of histories: fields are added,
// never renamed.
type ABMSyncState struct {
	signals.ABMStart
	Stage string `json:"stage,omitempty"`
	// Next is the input of the next page; Skip and Cursor are those of the later stages.
	Next   activities.SyncInput `json:"next,omitzero"`
	Skip   int                  `json:"skip,omitempty"`
	Cursor string               `json:"cursor,omitempty"`
	// Full: a full fetch ended, after which the organisation is read, too.
	Full bool `json:"full,omitempty"`
	// So sums up the sync over all its runs.
	So signals.ABMSyncStatus `json:"so,omitzero"`
	// MaxPages bounds the pages of a run; 0 = the default.
	MaxPages int `json:"max_pages,omitempty"`
}

// ABMSync lists the devices of one Apple Business Manager server, page by page, until nothing is left to be told; then it
// finds out what became of those that are gone. It waits exactly as long as Apple asks, and ends early when the server
// can't be used: the schedule begins it again.
func ABMSync(ctx workflow.Context, s ABMSyncState) error {
	r := &abmSync{ABMSyncState: s}
	if err := r.begin(ctx); err != nil {
		return err
	}
	limit := s.MaxPages
	if limit == 0 {
		limit = syncPages
	}
	for pages := 0; r.Stage != stageDone; pages++ {
		if pages == limit {
			return workflow.NewContinueAsNewError(ctx, ABMSync, r.ABMSyncState)
		}
		if err := r.page(ctx); err != nil {
			return err
		}
	}
	r.describe(ctx)
	return nil
}

// abmSync is a run of [ABMSync].
type abmSync struct{ ABMSyncState }

func (r *abmSync) begin(ctx workflow.Context) error {
	if r.Server == "" { // begun by hand
		r.Server = signals.ABMServerOf(workflow.GetInfo(ctx).WorkflowExecution.ID)
	}
	if r.Next.Server == "" {
		r.Next = activities.SyncInput{Server: r.Server, First: true}
	}
	r.So.Server = r.Server
	if err := showServer(ctx, r.Server); err != nil {
		return err
	}
	return answerStatus(ctx, "How far the sync is.", func() (signals.ABMSyncStatus, error) { return r.status(), nil })
}

func (r *abmSync) status() signals.ABMSyncStatus {
	so := r.So
	if so.Stage = r.Stage; so.Stage == stageList {
		so.Stage = "list"
	}
	return so
}

// page goes one page on, whatever the stage.
func (r *abmSync) page(ctx workflow.Context) error {
	r.describe(ctx)
	switch r.Stage {
	case stageSettle:
		return r.settle(ctx)
	case stageOrganisation:
		return r.organisation(ctx)
	}
	return r.list(ctx)
}

func (r *abmSync) list(ctx workflow.Context) error {
	var out activities.SyncResult
	summary := fmt.Sprintf("Page %d", r.So.Pages+1)
	if err := workflow.ExecuteActivity(workflow.WithActivityOptions(ctx, pageOptions(summary)), apple.SyncPage, r.Next).Get(ctx, &out); err != nil {
		return r.endEarly(ctx, err)
	}
	so := &r.So
	so.Pages, so.Devices, so.New, so.Gone = so.Pages+1, so.Devices+out.Devices, so.New+out.New, so.Gone+out.Gone
	so.Missing += out.Missing
	r.Full = r.Full || out.Full
	r.Next = activities.SyncInput{Server: r.Server, Same: out.Same, Restarts: out.Restarts}
	if out.Wait > 0 {
		return r.leaveAlone(ctx, out.Wait)
	}
	if !out.More {
		r.Stage, so.Notice = stageSettle, haltSentence(out.ABMHalt)
	}
	return nil
}

func (r *abmSync) settle(ctx workflow.Context) error {
	var out activities.SettleResult
	options := askOptions("What became of devices that are gone")
	in := activities.SettleInput{Server: r.Server, Skip: r.Skip}
	if err := workflow.ExecuteActivity(workflow.WithActivityOptions(ctx, options), apple.SettleGone, in).Get(ctx, &out); err != nil {
		return r.endEarly(ctx, err)
	}
	r.So.Released, r.So.Unassigned, r.Skip = r.So.Released+out.Released, r.So.Unassigned+out.Unassigned, out.Skip
	switch {
	case out.Wait > 0:
		return r.leaveAlone(ctx, out.Wait)
	case out.More:
	case r.Full:
		r.Stage = stageOrganisation
	default:
		r.Stage = stageDone
	}
	return nil
}

func (r *abmSync) organisation(ctx workflow.Context) error {
	var out activities.OrganisationResult
	options := pageOptions("How devices came into the organisation")
	in := activities.OrganisationInput{Server: r.Server, Cursor: r.Cursor}
	if err := workflow.ExecuteActivity(workflow.WithActivityOptions(ctx, options), apple.ReadOrganisation, in).Get(ctx, &out); err != nil {
		return r.endEarly(ctx, err)
	}
	r.Cursor = out.Cursor
	if out.Wait > 0 {
		return r.leaveAlone(ctx, out.Wait)
	}
	if !out.More {
		r.Stage = stageDone
	}
	return nil
}

// endEarly leaves the rest to the next sync when Apple is out of reach; what is wrong here fails the workflow, so that an
// operator sees it.
func (r *abmSync) endEarly(ctx workflow.Context, err error) error {
	if !outOfReach(err) {
		return err
	}
	workflow.GetLogger(ctx).Warn("sync ends early", "server", r.Server, "error", err)
	r.Stage, r.So.Notice = stageDone, "Apple is out of reach; the next sync goes on."
	return nil
}

// leaveAlone waits as long as Apple asked for, exactly.
func (r *abmSync) leaveAlone(ctx workflow.Context, pause time.Duration) error {
	r.So.Waits = stamp(workflow.Now(ctx).Add(pause))
	r.describe(ctx)
	err := leaveAlone(ctx, pause)
	r.So.Waits = ""
	return err
}

func (r *abmSync) describe(ctx workflow.Context) {
	so := r.status()
	text := fmt.Sprintf("**Sync of ABM server %s**: %s\n\n- %s, %s; new %d, gone %d, missing %d\n- settled: released %d, unassigned %d",
		so.Server, so.Stage, counted(so.Pages, "page"), counted(so.Devices, "device"), so.New, so.Gone, so.Missing, so.Released, so.Unassigned)
	workflow.SetCurrentDetails(ctx, withRemarks(text, so.Waits, so.Notice))
}
