package worker_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/signals"
	sim "github.com/muster-mdm/muster/sim/abm"
	"github.com/muster-mdm/muster/workflows"
)

// delayed has releases carried out after a while.
func (p *portal) delayed(pause time.Duration) {
	policy := workflows.DefaultPolicy()
	policy.ReleaseDelay = pause
	p.config.Policy = &policy
}

// R57: a staged device that is taken off its server becomes Unassigned with the next sync. R55: a managed one is Unassign
// Pending until it is heard of, and stays managed. R62: both can be assigned again.
func TestUnassignFromTheCurrentMDM(t *testing.T) {
	p := newPortal(t, sim.Config{Lifetime: sim.Lifetimes{Activity: 500 * time.Millisecond}})
	p.start()
	p.server(school)
	p.business(school)
	all := p.addNew(school, 3)
	p.wish(school, false)
	p.agree(school)
	staged, managed := all[0], all[1]
	p.activate(managed, false)
	for _, s := range []string{staged, managed} {
		p.record(s, provision.Fact{Kind: provision.UnassignFromMDM})
	}
	status := func(serial string, want provision.Status) func() bool {
		return func() bool { return p.device(serial).Status() == want }
	}
	p.eventually("the staged one to be Unassigned", status(staged, provision.StatusUnassigned))
	p.eventually("the managed one to wait", status(managed, provision.StatusUnassignPending))
	p.agree(school)
	require.Equal(t, provision.Managed, p.device(managed).Management())
	for _, s := range []string{staged, managed} {
		require.Equal(t, provision.ABMDone, p.device(s).ABMUnassign.Outcome)
		got, _ := p.org.Device(s)
		require.Empty(t, got.ServerID)
		require.False(t, got.Released)
	}
	p.record(managed, provision.Fact{Kind: provision.CheckedIn, Source: provision.FromDevice})
	require.Equal(t, provision.StatusUnassigned, p.device(managed).Status())
	require.Equal(t, provision.Managed, p.device(managed).Management(), "until it is deprovisioned")
	p.eventually("their workflows to know", func() bool {
		s, err := signals.New(p.client, "").Status(t.Context(), managed)
		return err == nil && s.Status == provision.StatusUnassigned
	})
	require.NoError(t, p.org.Move(p.servers[school], staged, managed))
	p.wish(school, false)
	p.agree(school)
	require.Equal(t, provision.StatusAwaiting, p.device(staged).Status())
	p.nothingTwice()
}

func TestReleaseThroughAppleAndItsCancellation(t *testing.T) {
	p := newPortal(t, sim.Config{Quirks: sim.Quirks{SilentRelease: true}, Lifetime: sim.Lifetimes{Activity: 300 * time.Millisecond}})
	p.delayed(1500 * time.Millisecond)
	p.start()
	p.server(school)
	p.business(school)
	p.profile(school, "kiosk", `{}`)
	all := p.addNew(school, 3)
	p.wish(school, false)
	p.agree(school)
	p.profiled(all...)
	release := provision.Fact{Kind: provision.ReleaseRequest, Reason: "end_of_life"}
	p.record(all[0], release)
	p.record(all[1], release)
	p.record(all[1], provision.Fact{Kind: provision.CancelRelease})
	require.NoError(t, p.client.GetWorkflow(t.Context(), signals.WorkflowID(all[0]), "").Get(t.Context(), nil))
	require.True(t, p.device(all[0]).Over())
	got, _ := p.org.Device(all[0])
	require.True(t, got.Released)
	require.Equal(t, "0", p.text(`SELECT count(*)::text FROM abm_duties`))
	require.False(t, p.device(all[1]).ReleasePending())
	got, _ = p.org.Device(all[1])
	require.False(t, got.Released, "what was cancelled Apple never hears of")
	require.Equal(t, "0", p.text(`SELECT count(*)::text FROM device_events WHERE serial = $1 AND kind = 'abm_asked'`, all[1]))
	p.agree(school)
}

// Without an API account a person does it in the portal, and the next sync confirms it.
func TestGuidedUnassignAndRelease(t *testing.T) {
	p := newPortal(t, sim.Config{})
	p.delayed(100 * time.Millisecond)
	p.start()
	p.server(school)
	all := p.addNew(school, 2)
	p.wish(school, false)
	p.agree(school)
	p.record(all[0], provision.Fact{Kind: provision.UnassignFromMDM})
	p.record(all[1], provision.Fact{Kind: provision.ReleaseRequest, Reason: "end_of_life"})
	p.eventually("both to be guided", func() bool {
		return p.device(all[0]).ABMUnassign.Outcome == provision.ABMGuided && p.device(all[1]).ABMRelease.Outcome == provision.ABMGuided
	})
	require.NoError(t, p.org.Unassign(all[0]))
	require.NoError(t, p.org.Release(all[1]))
	p.wish(school, false)
	require.NoError(t, p.client.GetWorkflow(t.Context(), signals.WorkflowID(all[1]), "").Get(t.Context(), nil))
	require.Equal(t, provision.StatusUnassigned, p.device(all[0]).Status())
	require.Equal(t, provision.StatusReleased, p.device(all[1]).Status())
}

// What Apple does not do for a device is asked for again; a profile that is taken away in the portal is assigned again.
func TestProfilesReachEveryDevice(t *testing.T) {
	p := newPortal(t, sim.Config{})
	p.start()
	p.server(school)
	p.profile(school, "kiosk", `{}`)
	all := p.addNew(school, 20)
	p.org.SetFaults(sim.Fault{Kind: sim.FaultAssignFailed, Share: 0.3}, sim.Fault{Kind: sim.FaultAssignInaccessible, Share: 0.3},
		sim.Fault{Kind: sim.FaultThrottled, Share: 0.2, Seconds: 1, Times: 5})
	p.wish(school, false)
	p.agree(school)
	p.profiled(all...)
	p.patient()
	p.org.SetFaults()
	require.NoError(t, p.org.Unassign(all[0]))
	require.NoError(t, p.org.Move(p.servers[school], all[0])) // which empties its profile
	p.wish(school, false)
	p.profiled(all...)
	p.eventually("nothing to be owed", func() bool { return p.text(`SELECT count(*)::text FROM abm_duties`) == "0" })
	p.nothingTwice()
}
