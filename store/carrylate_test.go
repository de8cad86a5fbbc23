package store_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/store"
)

func TestDeprovisionEndsTheEnrollment(t *testing.T) {
	f := newFleet(t)
	f.configuration("wifi", 1, "wifi")
	f.group("g", "wifi")
	f.assign(serial, "g")
	p := f.boot(serial, "U1", false)
	f.apply(serial, 0, 1)
	f.exec(`INSERT INTO identities (sha256, serial, serial_number, certificate, issued_at, not_after) VALUES ($1, $2, 7, 'x', now(), now())`,
		"00000000000000000000000000000000000000000000000000000000000000ab", serial)
	d := f.record(serial, provision.Fact{Kind: provision.Deprovision, Reason: provision.Retire, Choice: provision.Erase})
	require.Equal(t, 1, f.count(`devices WHERE status = 'Deprovisioned' AND management = 'unmanaged'`))
	step := provision.Next(d, policy(), f.Now())
	require.Equal(t, provision.SendDeprovision, step.Do)
	d = f.carry(serial, step)
	require.Equal(t, d, f.carry(serial, step), "it is sent once")

	pushes, _, err := f.DuePushes(t.Context(), 10)
	require.NoError(t, err)
	require.Len(t, pushes, 1, "the device is woken although it counts as unmanaged")
	known, err := f.Identity(t.Context(), "00000000000000000000000000000000000000000000000000000000000000ab")
	require.NoError(t, err)
	require.Equal(t, provision.Managed, known.Management, "it is talked to until it knows")

	uuid, kind := p.next(false)
	require.Equal(t, "EraseDevice deprovision", kind, "what was queued before is taken back")
	out, err := f.Answer(t.Context(), uuid, acknowledged, nil)
	require.NoError(t, err)
	require.Equal(t, provision.Ended, out.Device.Activation.State)
	require.Equal(t, provision.StatusDeprovisioned, out.Device.Status())
	require.Zero(t, f.count(`identities WHERE revoked_at IS NULL`))
	require.Zero(t, f.count(`devices WHERE push_at IS NOT NULL OR poll_at IS NOT NULL`))
	require.Equal(t, f.refolded(serial), out.Device)
}

// What was meant earlier may name groups that were deleted since.
func TestDeletedGroupsComeNotIntoForce(t *testing.T) {
	f := newFleet(t)
	f.group("kept")
	f.group("gone")
	soon := f.Now().Add(time.Hour)
	both := provision.Assignment{UserID: "u2", Groups: []string{"gone", "kept"}}
	later := both
	later.EffectiveAt = &soon
	f.assign(serial, "kept")
	f.record(serial, provision.Fact{Kind: provision.Assigned, Assignment: &later})
	const other = "C07Q853LG9RN"
	f.assign(other, "kept")
	f.record(other, provision.Fact{Kind: provision.SignInHeld, Assignment: &both, Until: &soon, Choice: string(provision.TakeSignedIn)})
	require.NoError(t, f.DeleteGroup(t.Context(), "gone", store.Condition{}))
	f.clock.pass(time.Hour)
	for _, serial := range []string{serial, other} {
		d, err := f.Device(t.Context(), serial)
		require.NoError(t, err)
		d = f.carry(serial, provision.Next(d, policy(), f.Now()))
		require.Equal(t, "u2", d.Assignment.UserID)
		require.Equal(t, []string{"kept"}, d.Assignment.Groups)
		require.Equal(t, f.refolded(serial), d)
	}
}

func TestWhatTimeDecides(t *testing.T) {
	f := newFleet(t)
	f.group("g")
	soon, late := f.Now().Add(time.Hour), f.Now().Add(2*time.Hour)
	f.assign(serial, "g")
	policy := policy()
	policy.RemindBefore = []time.Duration{time.Minute}

	d := f.record(serial, provision.Fact{Kind: provision.Assigned, Assignment: &provision.Assignment{UserID: "u2", EffectiveAt: &soon, ReturnBy: &late}})
	f.clock.pass(time.Hour)
	step := provision.Next(d, policy, f.Now())
	require.Equal(t, provision.ConcludePlanned, step.Do)
	d = f.carry(serial, step)
	require.Equal(t, "u2", d.Assignment.UserID)
	require.Equal(t, d, f.carry(serial, step))
	require.Equal(t, 1, f.count(`devices WHERE user_id = 'u2'`))

	f.clock.pass(time.Hour)
	for round := 1; round <= 2; round++ {
		step = provision.Next(d, policy, f.Now())
		require.Equal(t, provision.Remind, step.Do)
		require.Equal(t, round, step.Round)
		d = f.carry(serial, step)
		require.Equal(t, d, f.carry(serial, step))
	}
	require.True(t, d.Overdue(f.Now()))

	again := f.Now().Add(time.Minute)
	f.record(serial, provision.Fact{Kind: provision.SignInHeld, Assignment: &provision.Assignment{UserID: "u1"}, Until: &again, Choice: string(provision.TakeSignedIn)})
	require.Equal(t, 1, f.count(`devices WHERE blocked_by = 'sign_in_review'`))
	f.boot(serial, "U1", false)
	f.clock.pass(time.Minute)
	d, err := f.Device(t.Context(), serial)
	require.NoError(t, err)
	step = provision.Next(d, policy, f.Now())
	require.Equal(t, provision.ConcludeReview, step.Do)
	d = f.carry(serial, step)
	require.Equal(t, "u1", d.Assignment.UserID)
	require.Equal(t, d, f.carry(serial, step))
	require.Equal(t, f.refolded(serial), d)
}
