package activities

import (
	"context"

	"go.temporal.io/sdk/activity"

	"github.com/muster-mdm/muster/apple/abm"
	"github.com/muster-mdm/muster/apple/fault"
	"github.com/muster-mdm/muster/store"
)

// OrganisationInput names a server and where in the organisation's list to go on; "" = from the beginning.
type OrganisationInput struct {
	Server string `json:"server"`
	Cursor string `json:"cursor,omitempty"`
}

// OrganisationResult is what a page of the organisation's list led to.
type OrganisationResult struct {
	ABMHalt
	// More: go on from Cursor.
	More    bool   `json:"more,omitempty"`
	Cursor  string `json:"cursor,omitempty"`
	Devices int    `json:"devices,omitempty"`
}

// ReadOrganisation reads a page of the organisation's devices and keeps how they came into it: those that were added by
// Apple Configurator may leave management for 30 days (R83). Only the Business API knows, so a server without an account
// has nothing to read. A retry reads the same page again.
func (a *ABM) ReadOrganisation(ctx context.Context, in OrganisationInput) (OrganisationResult, error) {
	defer beating(ctx)()
	c, halt, err := a.reach(ctx, in.Server)
	if err != nil || halt.set() {
		return OrganisationResult{ABMHalt: halt, More: halt.Wait > 0, Cursor: in.Cursor}, err
	}
	if c.business == nil {
		return OrganisationResult{}, nil
	}
	devices, next, err := c.business.OrgDevices(ctx, in.Cursor, abm.MaxDevices)
	if f, ok := fault.As(err); ok && ctx.Err() == nil {
		return c.unread(ctx, in, f)
	}
	if err != nil {
		return OrganisationResult{}, told(ctx, err)
	}
	origins := make([]store.ABMOrigin, 0, len(devices))
	for _, d := range devices {
		if d.ReleasedAt.IsZero() {
			origins = append(origins, store.ABMOrigin{Serial: d.Serial, Source: d.PurchaseSource, AddedAt: d.AddedAt})
		}
	}
	if err := a.Whereabouts.NoteABMOrigins(ctx, in.Server, origins); err != nil {
		return OrganisationResult{}, told(ctx, err)
	}
	return OrganisationResult{More: next != "" && next != in.Cursor, Cursor: next, Devices: len(devices)}, nil
}

// unread waits for a throttle to end, has what passes retried, and leaves the rest to the next full fetch.
func (a *apple) unread(ctx context.Context, in OrganisationInput, f *fault.Error) (OrganisationResult, error) {
	out := OrganisationResult{Cursor: in.Cursor}
	switch f.Kind {
	case fault.Throttled:
		var err error
		out.ABMHalt, err = a.throttled(ctx, f)
		out.More = true
		return out, err
	case fault.Unreachable, fault.Garbled:
		return out, passing(f)
	}
	activity.GetLogger(ctx).Warn("the organisation's devices can't be read", "server", in.Server, "code", f.Code, "error", f)
	return out, told(ctx, a.Whereabouts.NoteABM(ctx, in.Server, accountTrouble+f.Error()))
}
