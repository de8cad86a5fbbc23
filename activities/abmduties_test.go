package activities_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/activities"
	"github.com/muster-mdm/muster/apple/dep"
	"github.com/muster-mdm/muster/provision"
	sim "github.com/muster-mdm/muster/sim/abm"
	"github.com/muster-mdm/muster/store"
)

func TestProfilesAreDefinedOnceAndAssigned(t *testing.T) {
	w := newWorld(t, sim.Config{})
	w.server(school)
	w.profile(school, "kiosk", `{"allow_pairing": false, "is_supervised": true}`)
	all := w.addNew(school, 10)
	w.sync(school)
	done, last := w.duties(school)
	require.Equal(t, 10, done)
	require.Equal(t, activities.DutyResult{}, last)
	requests := w.org.Counts().Requests
	require.Equal(t, [2]int{1, 1}, [2]int{requests["POST /profile"], requests["PUT /profile/devices"]})
	got, ok := w.org.ProfileFor(all[9])
	require.True(t, ok)
	require.JSONEq(t, `{"allow_pairing": false, "is_supervised": true, "profile_name": "kiosk", "url": "https://muster.example/enroll"}`, string(got.Fields))
	require.Equal(t, provision.ABMDone, w.device(all[0]).ABMProfile.Outcome)
	require.Equal(t, "kiosk", w.device(all[0]).ABMProfile.Profile)
	w.sync(school) // Apple says the same now
	w.sweep(school)
	require.Zero(t, w.count(`abm_duties`))

	more := w.addNew(school, 1)
	w.sync(school)
	w.duties(school)
	require.Equal(t, 1, w.org.Counts().Requests["POST /profile"], "the same content is the same profile")
	again, ok := w.org.ProfileFor(more[0])
	require.True(t, ok)
	require.Equal(t, got.UUID, again.UUID)
	w.profile(school, "kiosk", `{"is_supervised": true}`)
	done, _ = w.duties(school)
	require.Equal(t, 11, done, "what is defined at Apple can't be changed")
	again, _ = w.org.ProfileFor(more[0])
	require.NotEqual(t, got.UUID, again.UUID)
}

// Each device's answer is its own: one that fails keeps no other waiting, and is asked for again, later each time.
func TestWhatAppleSaysOfEachDevice(t *testing.T) {
	for fault, word := range map[string]string{sim.FaultAssignFailed: "FAILED", sim.FaultAssignInaccessible: "NOT_ACCESSIBLE"} {
		w := newWorld(t, sim.Config{})
		w.server(school)
		w.profile(school, "kiosk", `{}`)
		all := w.addNew(school, 4)
		w.sync(school)
		w.org.SetFaults(sim.Fault{Kind: fault, Share: 1, Path: all[1], Times: 3})
		for try, pause := range []time.Duration{time.Minute, 5 * time.Minute, 15 * time.Minute} {
			done, last := w.duties(school)
			require.Equal(t, map[bool]int{true: 3, false: 0}[try == 0], done)
			require.WithinDuration(t, w.Now().Add(pause), last.Next, 5*time.Second)
			d := w.device(all[1])
			require.Equal(t, word, d.ABMProfile.Result)
			require.Equal(t, provision.ABMRetrying, d.ABMProfile.Outcome)
			duties, err := w.ABMDutiesOf(t.Context(), all[1])
			require.NoError(t, err)
			require.Equal(t, try+1, duties[0].Tries)
			w.pass(pause)
		}
		done, _ := w.duties(school)
		require.Equal(t, 1, done)
		require.Equal(t, provision.ABMDone, w.device(all[1]).ABMProfile.Outcome)
		w.sync(school)
		w.agrees(school)
	}
}

func TestThrottledDeviceIsLeftAloneExactly(t *testing.T) {
	w := newWorld(t, sim.Config{})
	w.server(school)
	w.profile(school, "kiosk", `{}`)
	all := w.addNew(school, 3)
	w.sync(school)
	w.org.SetFaults(sim.Fault{Kind: sim.FaultThrottled, Share: 1, Path: all[0], Times: 1, Seconds: 900})
	done, last := w.duties(school)
	require.Equal(t, 2, done)
	require.WithinDuration(t, w.Now().Add(15*time.Minute), last.Next, 5*time.Second)
	require.Equal(t, "THROTTLED", w.device(all[0]).ABMProfile.Result)
	w.pass(14 * time.Minute)
	w.org.SignTerms(false) // an outage and its end must not shorten it
	w.sync(school)
	w.org.SignTerms(true)
	w.sync(school)
	done, _ = w.duties(school)
	require.Zero(t, done)
	w.pass(time.Minute)
	done, _ = w.duties(school)
	require.Equal(t, 1, done)
	w.agrees(school)
}

func TestThrottledServerPutsDutiesOff(t *testing.T) {
	w := newWorld(t, sim.Config{})
	w.server(school)
	w.profile(school, "kiosk", `{}`)
	w.addNew(school, 3)
	w.sync(school)
	w.org.SetFaults(sim.Fault{Kind: sim.FaultTooMany, Share: 1, Path: "/profile", Times: 1, Seconds: 50})
	first := insist[activities.DutyResult](w, w.abm.RunDuties, activities.DutyInput{Server: school})
	require.Equal(t, 50*time.Second, first.Wait)
	require.True(t, first.More)
	w.pass(first.Wait)
	done, _ := w.duties(school)
	require.Equal(t, 3, done)
	w.sync(school)
	w.agrees(school)
}

func TestOutagePutsDutiesOffLongerAndLonger(t *testing.T) {
	w := newWorld(t, sim.Config{})
	w.server(school)
	w.profile(school, "kiosk", `{}`)
	all := w.addNew(school, 1)
	w.sync(school)
	w.org.SetFaults(sim.Fault{Kind: sim.FaultReset, Share: 1, Path: "/profile"})
	_, last := w.duties(school)
	require.WithinDuration(t, w.Now().Add(time.Minute), last.Next, 5*time.Second)
	require.Empty(t, w.device(all[0]).ABMProfile.Outcome, "Apple said nothing")
	w.pass(12 * time.Minute)
	_, last = w.duties(school)
	require.WithinDuration(t, w.Now().Add(5*time.Minute), last.Next, 5*time.Second)
	health, _ := w.health(school)
	require.Equal(t, string(provision.BlockedUnreachable), health)
	w.org.SetFaults()
	w.pass(5 * time.Minute)
	done, _ := w.duties(school)
	require.Equal(t, 1, done)
	health, _ = w.health(school)
	require.Equal(t, store.Healthy, health)
}

func TestProfileThatWasRemovedInThePortalIsAssignedAgain(t *testing.T) {
	w := newWorld(t, sim.Config{})
	w.server(school)
	w.profile(school, "kiosk", `{}`)
	all := w.addNew(school, 2)
	w.sync(school)
	w.duties(school)
	uuid, err := w.ProfileDefinition(t.Context(), "kiosk", 1, school)
	require.NoError(t, err)
	secrets, err := w.ABMSecrets(t.Context(), school)
	require.NoError(t, err)
	d, _, err := w.connect(secrets)
	require.NoError(t, err)
	_, err = d.(*dep.Client).RemoveProfile(t.Context(), uuid, all[:1])
	require.NoError(t, err)
	_, ok := w.org.ProfileFor(all[0])
	require.False(t, ok)
	w.sync(school)
	done, _ := w.duties(school)
	require.Equal(t, 1, done)
	_, ok = w.org.ProfileFor(all[0])
	require.True(t, ok)
}

func TestProfileThatAppleForgotIsDefinedAnew(t *testing.T) {
	w := newWorld(t, sim.Config{})
	w.server(school)
	w.profile(school, "kiosk", `{}`)
	all := w.addNew(school, 2)
	w.sync(school)
	require.NoError(t, w.NoteProfileDefinition(t.Context(), store.ProfileDefinition{Profile: "kiosk", Content: 1, Server: school, UUID: "FORGOTTEN"}))
	done, _ := w.duties(school)
	require.Equal(t, 2, done)
	got, ok := w.org.ProfileFor(all[0])
	require.True(t, ok)
	uuid, err := w.ProfileDefinition(t.Context(), "kiosk", 1, school)
	require.NoError(t, err)
	require.Equal(t, got.UUID, uuid)
}

// newer is a store in which a profile changes after its duties were claimed.
type newer struct{ *store.DB }

func (n newer) DeviceProfile(ctx context.Context, name string) (store.DeviceProfile, error) {
	p, err := n.DB.DeviceProfile(ctx, name)
	p.Content++
	return p, err
}

func TestProfileThatMovedOnIsLeftToTheSweep(t *testing.T) {
	w := newWorld(t, sim.Config{})
	w.server(school)
	w.profile(school, "kiosk", `{}`)
	w.addNew(school, 1)
	w.sync(school)
	w.abm.Profiles = newer{w.DB}
	done, last := w.duties(school)
	require.Zero(t, done)
	require.WithinDuration(t, w.Now().Add(time.Minute), last.Next, 5*time.Second)
	require.Zero(t, w.org.Counts().Requests["POST /profile"])
}

// An answer that leaves a device out is no success.
func TestDeviceThatAppleLeavesOutIsAskedForAgain(t *testing.T) {
	w := newWorld(t, sim.Config{})
	w.server(school)
	w.profile(school, "kiosk", `{}`)
	all := w.addNew(school, 2)
	w.sync(school)
	connect := w.abm.Connect
	w.abm.Connect = func(s store.ABMSecrets) (activities.DEP, activities.Business, error) {
		d, b, err := connect(s)
		return forgetful{d, all[1]}, b, err
	}
	done, _ := w.duties(school)
	require.Equal(t, 1, done)
	require.Equal(t, "Apple's answer does not name the device.", w.device(all[1]).ABMProfile.Result)
}

type forgetful struct {
	activities.DEP
	serial string
}

func (f forgetful) AssignProfile(ctx context.Context, uuid string, serials []string) (dep.Results, error) {
	out, err := f.DEP.AssignProfile(ctx, uuid, serials)
	delete(out.BySerial, f.serial)
	return out, err
}
