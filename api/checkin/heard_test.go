package checkin_test

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/store"
)

// record records facts of a device that is known.
func (e *env) record(serial string, facts ...provision.Fact) {
	e.t.Helper()
	_, err := e.db.Update(e.t.Context(), serial, func(ctx context.Context, c *store.Change) error {
		for _, f := range facts {
			if _, err := c.Record(ctx, f); err != nil {
				return err
			}
		}
		return nil
	})
	require.NoError(e.t, err)
}

func listed(state provision.ABMState) provision.Fact {
	kind := provision.ABMGone
	if state == provision.ABMPresent {
		kind = provision.ABMSeen
	}
	return provision.Fact{Kind: kind, Source: provision.FromABM, ABM: &provision.ABMFact{Server: "school", State: state}}
}

// R55: a managed device that was taken off its server changes its status when it is heard of, not before, and once.
func TestUnassignedDeviceIsHeardOf(t *testing.T) {
	for name, talk := range map[string]func(*phone){
		"it asks for a command": func(p *phone) { require.Empty(t, p.idle()) },
		"it renews its push token": func(p *phone) {
			require.Equal(t, 200, p.tokenUpdate().status)
		},
		"it asks for its bootstrap token": func(p *phone) {
			require.Equal(t, 200, p.checkin(p.say("GetBootstrapToken", nil)).status)
		},
	} {
		t.Run(name, func(t *testing.T) {
			e := start(t, nil)
			p := e.enrolled("C07Q853LG9RM")
			e.record(p.serial, listed(provision.ABMPresent))
			p.idle()
			before := len(e.kinds(p.serial))
			e.record(p.serial, listed(provision.ABMUnassigned))
			require.Equal(t, provision.StatusUnassignPending, e.device(p.serial).Status())
			talk(p)
			require.Equal(t, provision.StatusUnassigned, e.device(p.serial).Status())
			require.Equal(t, provision.Managed, e.device(p.serial).Management(), "until it is deprovisioned")
			talk(p)
			p.idle()
			require.Equal(t, []string{"abm_gone", "checked_in"}, e.kinds(p.serial)[before:])

			e.record(p.serial, listed(provision.ABMPresent), listed(provision.ABMUnassigned))
			require.Equal(t, provision.StatusUnassignPending, e.device(p.serial).Status(), "R62: and again")
			talk(p)
			require.Equal(t, provision.StatusUnassigned, e.device(p.serial).Status())
		})
	}
}

func TestAnswerOfAnUnassignedDeviceCountsOnce(t *testing.T) {
	e := start(t, nil)
	p := e.provisioned("C07Q853LG9RM")
	first := p.idle()
	e.record(p.serial, listed(provision.ABMPresent), listed(provision.ABMUnassigned))
	a, _ := p.answer(dict{"UDID": "UDID-of-another", "Status": "Idle"})
	require.Equal(t, 400, a.status)
	require.Equal(t, provision.StatusUnassignPending, e.device(p.serial).Status(), "what is refused is no word of the device")
	p.report(first.CommandUUID, "Acknowledged")
	require.Equal(t, provision.StatusUnassigned, e.device(p.serial).Status())
}

// The device repeats what it was not thanked for.
func TestWordThatCouldNotBeRecordedIsRepeated(t *testing.T) {
	e := start(t, nil)
	p := e.enrolled("C07Q853LG9RM")
	e.record(p.serial, listed(provision.ABMPresent), listed(provision.ABMUnassigned))
	e.facts.fail(errors.New("the database is away"))
	a, _ := p.answer(dict{"UDID": p.udid, "Status": "Idle"})
	require.Equal(t, 500, a.status)
	require.Equal(t, provision.StatusUnassignPending, e.device(p.serial).Status())
	p.idle()
	require.Equal(t, provision.StatusUnassigned, e.device(p.serial).Status())
}

func TestWhoEnrollsAnewOrLeavesIsNoLongerAwaited(t *testing.T) {
	e := start(t, nil)
	p := e.enrolled("C07Q853LG9RM")
	e.record(p.serial, listed(provision.ABMPresent), listed(provision.ABMUnassigned))
	require.Equal(t, 200, p.checkOut().status)
	require.Equal(t, provision.StatusUnmanaged, e.device(p.serial).Status())
	require.NotContains(t, e.kinds(p.serial), "checked_in")
}
