package store_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/store"
)

// refuseSetup obeys everything but DeviceConfigured and says how often that came.
func (p *phone) refuseSetup(detail string) int {
	p.t.Helper()
	came := 0
	for uuid, what := p.next(false); uuid != ""; uuid, what = p.next(false) {
		if what != "DeviceConfigured setup_release" {
			p.obey()
			continue
		}
		came++
		p.report(uuid, provision.Answer{Status: provision.AnswerFormatError, Detail: detail})
	}
	return came
}

// next decides for a device as its workflow does.
func (f *fleet) next(serial string) (provision.Device, provision.Step) {
	f.t.Helper()
	d, err := f.Device(f.t.Context(), serial)
	require.NoError(f.t, err)
	return d, provision.Next(d, policy(), f.Now())
}

// poll does what is due by poll_at, when it is due.
func (f *fleet) poll(serial string) {
	f.t.Helper()
	due, err := f.DuePolls(f.t.Context(), 10)
	require.NoError(f.t, err)
	require.Equal(f.t, []string{serial}, due)
	require.NoError(f.t, f.Poll(f.t.Context(), serial))
}

func TestADeviceThatRefusesToLeaveSetupIsAskedAgainThenStuck(t *testing.T) {
	f := newFleet(t)
	f.assign(serial)
	p := f.boot(serial, "U1", true)
	f.apply(serial, 0, 1)
	_, step := f.next(serial)
	require.Equal(t, provision.LeaveSetup, step.Do)
	f.carry(serial, step)
	require.Equal(t, 1, p.refuseSetup("bad command"))
	for try := 2; try <= provision.MostSetupTries; try++ {
		d, step := f.next(serial)
		require.NotEqual(t, provision.ConcludeEnrolled, step.Do)
		require.Equal(t, provision.StatusProvisioning, d.Status())
		require.Empty(t, d.BlockedBy())
		due, err := f.DuePolls(t.Context(), 10)
		require.NoError(t, err)
		require.Empty(t, due, "there is a pause")
		f.clock.pass(store.DefaultTiming().Repush(try))
		f.poll(serial)
		require.Equal(t, 1, f.count(`devices WHERE push_at IS NOT NULL`))
		require.NoError(t, f.Poll(t.Context(), serial), "asking twice sends one")
		require.Equal(t, 1, p.refuseSetup("bad command"))
	}
	d, step := f.next(serial)
	require.Equal(t, provision.WaitForFacts, step.Do)
	require.Equal(t, "stuck", d.BlockedBy())
	require.Contains(t, d.Explain(policy(), f.Now())[0].For, "bad command")
	require.Equal(t, 1, f.count(`devices WHERE blocked_by = 'stuck' AND poll_at IS NULL AND push_at IS NULL`))
	require.Equal(t, 1, f.count(`device_events WHERE kind = 'setup_refused' AND deliver`), "the workflow hears of the last only")
	f.clock.pass(24 * time.Hour)
	require.NoError(t, f.Poll(t.Context(), serial))
	require.Zero(t, p.refuseSetup(""))

	d = f.record(serial, provision.Fact{Kind: provision.ReleaseFromSetup})
	require.True(t, d.SetupAskedFor())
	_, step = f.next(serial)
	require.Equal(t, provision.LeaveSetup, step.Do)
	d = f.carry(serial, step)
	require.Empty(t, d.BlockedBy())
	require.Equal(t, d, f.carry(serial, step), "twice is once")
	require.Equal(t, []string{"DeviceConfigured setup_release"}, p.obeyAll())
	require.Equal(t, provision.MostSetupTries+1, f.count(`device_commands WHERE request_type = 'DeviceConfigured'`))
	d, step = f.next(serial)
	require.Equal(t, provision.ConcludeEnrolled, step.Do)
	require.False(t, d.SetupLeft())
	d = f.carry(serial, step)
	require.Equal(t, provision.StatusEnrolled, d.Status())
	require.Equal(t, f.refolded(serial), d)
}

func TestAnOperatorWhoAsksWhileDeviceConfiguredIsUnderWaySendsNoSecond(t *testing.T) {
	f := newFleet(t)
	f.assign(serial)
	p := f.boot(serial, "U1", true)
	f.apply(serial, 0, 1)
	_, step := f.next(serial)
	f.carry(serial, step)
	f.record(serial, provision.Fact{Kind: provision.HoldRequest}, provision.Fact{Kind: provision.ReleaseFromSetup})
	_, step = f.next(serial)
	require.Equal(t, provision.LeaveSetup, step.Do, "also of a device on hold")
	d := f.carry(serial, step)
	require.False(t, d.SetupAskedFor())
	require.Equal(t, 1, f.count(`device_commands WHERE request_type = 'DeviceConfigured'`))
	require.Contains(t, p.obeyAll(), "DeviceConfigured setup_release")
	d = f.record(serial, provision.Fact{Kind: provision.ReleaseFromSetup})
	require.False(t, d.SetupAskedFor(), "it has left")
}

func TestADeviceThatNobodyIsAssignedToLeavesSetupInTheEnd(t *testing.T) {
	f := newFleet(t)
	p := f.boot(serial, "U1", true)
	f.clock.pass(2 * time.Hour)
	_, step := f.next(serial)
	f.carry(serial, step)
	require.Equal(t, 1, p.refuseSetup("no"))
	f.clock.pass(time.Hour)
	f.poll(serial)
	require.Equal(t, []string{"DeviceConfigured setup_release"}, p.obeyAll())
	d, err := f.Device(t.Context(), serial)
	require.NoError(t, err)
	require.False(t, d.SetupLeft())
	f.assign(serial)
	require.False(t, f.apply(serial, 0, 1).Verdict().SetupLeft)
	p.obeyAll()
	_, step = f.next(serial)
	require.Equal(t, provision.ConcludeEnrolled, step.Do)
}

func TestNothingNewIsSentToADeviceOnHold(t *testing.T) {
	for name, c := range map[string]struct{ stop, resume provision.Fact }{
		"held":     {provision.Fact{Kind: provision.HoldRequest}, provision.Fact{Kind: provision.ResumeRequest}},
		"conflict": {abmFact(provision.ABMConflict), abmFact(provision.ABMPresent)},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFleet(t)
			f.configuration("wifi", 1, "wifi")
			f.configuration("vpn", 1, "vpn")
			f.app("mail")
			f.group("g", "wifi", "vpn", "app:mail")
			f.needs("g", "vpn", "wifi")
			f.assign(serial, "g")
			p := f.boot(serial, "U1", false)
			f.apply(serial, 0, 1)
			queued := f.count("device_commands")
			f.record(serial, c.stop)
			p.obeyAll()
			require.Equal(t, queued, f.count("device_commands"), "what was sent is answered; nothing follows")
			require.Equal(t, "wifi verified", f.items(serial)[2], "the answers count")
			require.NoError(t, f.Poll(t.Context(), serial))
			require.Equal(t, queued, f.count("device_commands"))
			require.Zero(t, f.count(`devices WHERE poll_at IS NOT NULL`))

			f.record(serial, c.resume)
			f.poll(serial)
			require.Equal(t, 1, f.count(`devices WHERE push_at IS NOT NULL`))
			require.Contains(t, p.obeyAll(), "InstallProfile vpn")
			_, step := f.next(serial)
			require.Equal(t, provision.ConcludeEnrolled, step.Do)
		})
	}
}

func abmFact(state provision.ABMState) provision.Fact {
	return provision.Fact{Kind: provision.ABMSeen, ABM: &provision.ABMFact{Server: "main", State: state}}
}
