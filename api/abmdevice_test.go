package api_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/api"
	"github.com/muster-mdm/muster/api/intake"
	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/sim/abm"
	"github.com/muster-mdm/muster/store"
)

const device = "/v1/devices/" + serial

func (s *server) inABM() api.DeviceAbm {
	s.t.Helper()
	return read[api.DeviceAbm](s.get(device + "/abm").ok(200))
}

func TestDeviceProfiles(t *testing.T) {
	s := serve(t)
	at := "/v1/device-profiles/kiosk"
	in := body{"description": " Kiosks ", "activation_mode": "by_user", "fields": body{"is_supervised": true, "is_mdm_removable": false, "skip_setup_items": []string{"TOS"}}}
	made := read[api.DeviceProfile](s.put(at, in).ok(201))
	require.Equal(t, "Kiosks", made.Description)
	require.Equal(t, api.ByUser, made.ActivationMode)
	require.Equal(t, map[string]any{"is_supervised": true, "is_mdm_removable": false, "skip_setup_items": []any{"TOS"}}, made.Fields)
	require.Equal(t, 1, made.Content)
	require.Equal(t, 1, read[api.DeviceProfile](s.put(at, in).ok(200)).Content, "the same content isn't defined at Apple again")
	again := read[api.DeviceProfile](s.put(at, body{"fields": body{}}).ok(200))
	require.Equal(t, 2, again.Content)
	require.Equal(t, api.ByAdmin, again.ActivationMode)
	require.Equal(t, again, read[api.DeviceProfile](s.get(at).ok(200)))

	p := s.put(at, body{"fields": body{"is_mdm_removable": false, "nonsense": 1, "skip_setup_items": []string{"TSO"}}}).fails(422, provision.DeviceProfileBad)
	require.ElementsMatch(t, []string{"fields.nonsense", "fields.skip_setup_items[0]", "fields.is_mdm_removable"}, fields(p))
	require.Contains(t, (*p.Errors)[1].Detail, `did you mean "TOS"?`)
	require.Equal(t, []string{"activation_mode"}, fields(s.put(at, body{"activation_mode": "by_magic", "fields": body{}}).fails(422, provision.Invalid)))
	s.put("/v1/device-profiles/a%2Fb", body{"fields": body{}}).fails(422, provision.Invalid)
	s.get("/v1/device-profiles/nothing").fails(404, provision.NotFound)

	s.put("/v1/groups/lobby", body{"items": []body{}, "device_profile": "kiosk"}).ok(201)
	require.Equal(t, "kiosk", *read[api.Group](s.get("/v1/groups/lobby").ok(200)).DeviceProfile)
	require.Equal(t, []string{"device_profile"}, fields(s.put("/v1/groups/lobby", body{"items": []body{}, "device_profile": "nothing"}).fails(422, provision.NotFound)))
	s.delete(at).fails(409, provision.InUse)
	require.Nil(t, read[api.Group](s.put("/v1/groups/lobby", body{"items": []body{}}).ok(200)).DeviceProfile)
	require.Len(t, read[api.DeviceProfileList](s.get("/v1/device-profiles").ok(200)).DeviceProfiles, 1)
	s.delete(at).ok(204)
}

func TestWhichDeviceProfileADeviceShouldHave(t *testing.T) {
	s := serve(t)
	s.link(abm.Config{})
	for _, name := range []string{"standard", "kiosk", "lab"} {
		s.put("/v1/device-profiles/"+name, body{"fields": body{}}).ok(201)
	}
	s.get(device+"/abm").fails(404, provision.DeviceNotFound)
	s.put(device+"/device-profile", body{"name": "lab"}).fails(404, provision.DeviceNotFound)
	s.list(store.ABMRecord{Serial: serial})
	require.Nil(t, s.inABM().DeviceProfile)

	s.put(schools, body{"default_profile": "standard"}).ok(200)
	of := "schools"
	require.Equal(t, api.WantedProfile{Name: "standard", By: api.ByServer, Of: &of}, *s.inABM().DeviceProfile)
	s.put("/v1/groups/plain", body{"items": []body{}}).ok(201)
	s.put("/v1/groups/lobby", body{"items": []body{}, "device_profile": "kiosk"}).ok(201)
	s.put(assignment, body{"groups": []string{"plain", "lobby"}}).ok(200)
	of = "lobby"
	require.Equal(t, api.WantedProfile{Name: "kiosk", By: api.ByGroup, Of: &of}, *s.inABM().DeviceProfile)

	require.Equal(t, []string{"name"}, fields(s.put(device+"/device-profile", body{"name": "nothing"}).fails(422, provision.NotFound)))
	own := s.send(request{method: "PUT", path: device + "/device-profile", body: body{"name": "lab"}, role: store.Technician}).ok(200)
	require.Equal(t, api.WantedProfile{Name: "lab", By: api.ByDevice}, *read[api.DeviceAbm](own).DeviceProfile)
	s.delete("/v1/device-profiles/lab").fails(409, provision.InUse)
	back := read[api.DeviceAbm](s.delete(device + "/device-profile").ok(200))
	require.Equal(t, "kiosk", back.DeviceProfile.Name)
	s.delete("/v1/device-profiles/lab").ok(204)
}

func TestWhatAppleSaysOfADevice(t *testing.T) {
	s := serve(t)
	s.link(abm.Config{})
	s.put("/v1/device-profiles/standard", body{"fields": body{}}).ok(201)
	s.put(schools, body{"default_profile": "standard"}).ok(200)
	noon := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	s.list(store.ABMRecord{
		Serial: serial, Model: "iPad Pro", Description: "IPAD PRO", Color: "SILVER", AssetTag: "A-1", Family: "iPad", OS: "iPadOS",
		AssignedBy: "it@acme.test", AssignedAt: noon, ProfileUUID: "88fc", ProfileStatus: "empty", OpType: "added", OpDate: noon,
	})
	is := s.inABM()
	require.Equal(t, api.AbmPresent, *is.AbmState)
	require.Equal(t, "schools", *is.Server)
	require.Len(t, is.Servers, 1)
	l := is.Servers[0]
	require.False(t, l.SeenAt.IsZero())
	l.SeenAt = time.Time{}
	require.Equal(t, api.AbmListing{
		Server: "schools", Listed: true, Model: "iPad Pro", Description: "IPAD PRO", Color: "SILVER", AssetTag: "A-1", Family: "iPad",
		Os: "iPadOS", AssignedBy: "it@acme.test", AssignedAt: &noon, ProfileUuid: "88fc", ProfileStatus: "empty", OpType: "added",
		OpDate: &noon, Settled: true,
	}, l)
	require.Len(t, is.Duties, 1, "the profile is to be assigned")
	require.Equal(t, "standard", *is.Duties[0].Profile)
	require.Empty(t, is.Requests)

	duties, err := s.db.ClaimABMDuties(t.Context(), "schools", 10)
	require.NoError(t, err)
	require.NoError(t, s.db.AnswerABMDuties(t.Context(), []store.ABMAnswer{{
		Duty: duties[0], Outcome: provision.ABMRetrying, Result: "NOT_ACCESSIBLE", Again: time.Hour,
	}}))
	is = s.inABM()
	require.Equal(t, "NOT_ACCESSIBLE", is.Duties[0].Result, "word for word")
	require.Equal(t, 1, is.Duties[0].Tries)
	require.Equal(t, api.OutcomeRetrying, *is.Requests[0].Outcome)
	require.Equal(t, is.Duties[0].DueAt, *is.Requests[0].AgainAt)
	require.WithinDuration(t, time.Now().Add(time.Hour), is.Duties[0].DueAt, time.Minute)

	require.NoError(t, s.db.NoteProfileDefinition(t.Context(), store.ProfileDefinition{Profile: "standard", Content: 1, Server: "schools", UUID: "77ab"}))
	duties[0].Content = 1
	require.NoError(t, s.db.AnswerABMDuties(t.Context(), []store.ABMAnswer{{Duty: duties[0], Outcome: provision.ABMDone, Result: "SUCCESS", UUID: "77ab"}}))
	is = s.inABM()
	require.Empty(t, is.Duties)
	require.Equal(t, []string{"standard", "assigned", "77ab"}, []string{*is.Servers[0].Profile, is.Servers[0].ProfileStatus, is.Servers[0].ProfileUuid})
	require.Equal(t, api.OutcomeDone, *is.Requests[0].Outcome)
}

// R83: the window opens with the first enrollment, and a later one doesn't open it anew.
func TestProvisionalWindow(t *testing.T) {
	s := serve(t)
	s.link(abm.Config{})
	s.list(store.ABMRecord{Serial: serial})
	require.Nil(t, s.inABM().Provisional)
	s.sql(`UPDATE abm_devices SET source = 'MANUALLY_ADDED', added_at = now() - interval '1 day'`)
	require.Equal(t, api.Provisional{}, *s.inABM().Provisional, "it was not enrolled yet")

	s.activate(serial, false)
	s.record(serial, provision.Fact{Kind: provision.Authenticated, Epoch: 2}, provision.Fact{Kind: provision.Activated, Epoch: 2})
	s.sql(`UPDATE device_events SET created_at = now() - interval '12 hours' WHERE kind = 'activated' AND epoch = 1`)
	p := *s.inABM().Provisional
	require.WithinDuration(t, time.Now().Add(-12*time.Hour), *p.Since, time.Minute)
	require.Equal(t, p.Since.AddDate(0, 0, 30), *p.Until)
	s.sql(`UPDATE abm_devices SET added_at = now() - interval '1 year'`)
	s.sql(`UPDATE device_events SET created_at = now() - interval '31 days' WHERE kind = 'activated' AND epoch = 1`)
	require.Nil(t, s.inABM().Provisional, "it is over")
}

func TestUnassignFromMDM(t *testing.T) {
	s := serve(t)
	s.link(abm.Config{})
	s.post(device+":unassign-from-mdm", nil).fails(404, provision.DeviceNotFound)
	s.post("/v1/devices", body{"serial": serial}).ok(201)
	s.post(device+":unassign-from-mdm", nil).fails(409, intake.NotInABM)
	s.list(store.ABMRecord{Serial: serial})
	s.send(request{method: "POST", path: device + ":unassign-from-mdm", role: store.Technician}).fails(403, "forbidden")

	d := read[api.Device](s.post("/v1/devices/c07q853lg9rm:unassign-from-mdm", nil).ok(200))
	require.NotNil(t, d.UnassignAskedAt)
	require.Contains(t, (*d.Waits)[0].For, "taken off this MDM server")
	s.post(device+":unassign-from-mdm", nil).ok(200)
	require.Equal(t, []string{"registered", "abm_seen", "unassign_from_mdm"}, s.kinds(serial), "asking twice is asking once")
	_, err := s.db.Carry(t.Context(), serial, provision.Step{Do: provision.AskABM, Verb: provision.UnassignDevice})
	require.NoError(t, err)
	is := s.inABM()
	require.Equal(t, api.VerbUnassign, is.Duties[0].Verb)
	require.Nil(t, is.Requests[0].Outcome, "Apple hasn't answered")

	s.list(store.ABMRecord{Serial: serial, OpType: "deleted", OpDate: time.Now()})
	d = read[api.Device](s.get(device).ok(200))
	require.Equal(t, api.StatusUnassigned, d.Status)
	require.Equal(t, api.AbmUnassigned, *d.AbmState)
	require.Nil(t, d.UnassignAskedAt)
	s.post(device+":unassign-from-mdm", nil).fails(409, intake.NotInABM)

	s.record(serial, provision.Fact{Kind: provision.ABMSeen, ABM: &provision.ABMFact{Server: "schools", State: provision.ABMConflict, Other: "annex"}})
	require.Contains(t, s.post(device+":unassign-from-mdm", nil).fails(409, intake.InConflict).Detail, `"annex"`)
	is = s.inABM()
	require.Equal(t, api.AbmInConflict, *is.AbmState)
	require.Equal(t, "annex", *is.OtherServer)
}

func TestReleasesCanBeCancelledForAWhile(t *testing.T) {
	s := serve(t)
	s.link(abm.Config{})
	s.list(store.ABMRecord{Serial: serial})
	s.post(device+":cancel-release", nil).ok(200)
	release := body{"reason": "end_of_life", "serial": serial}
	d := read[api.Device](s.post(device+":release", release).ok(200))
	require.NotEqual(t, api.StatusReleased, d.Status, "nothing was done yet")
	require.Equal(t, "end_of_life", d.Release.Reason)
	require.Equal(t, d.Release.AskedAt.Add(15*time.Minute), d.Release.DueAt)
	require.False(t, d.Release.Begun)
	require.Equal(t, d.Release.DueAt, *(*d.Waits)[0].Until)
	for _, a := range []answer{
		s.post(device+":hold", body{"reason": "x"}), s.post(device+":unassign-from-mdm", nil), s.delete(device + "/device-profile"),
	} {
		a.fails(409, provision.ReleasePending)
	}
	s.send(request{method: "POST", path: device + ":cancel-release", role: store.Technician}).fails(403, "forbidden")
	require.Nil(t, read[api.Device](s.post(device+":cancel-release", nil).ok(200)).Release)
	require.Equal(t, []string{"abm_seen", "release", "cancel_release"}, s.kinds(serial))

	s.post(device+":release", release).ok(200)
	_, err := s.db.Carry(t.Context(), serial, provision.Step{Do: provision.AskABM, Verb: provision.ReleaseDevice})
	require.NoError(t, err)
	require.True(t, read[api.Device](s.get(device).ok(200)).Release.Begun)
	s.post(device+":cancel-release", nil).fails(409, provision.ReleaseBegun)
	duties, err := s.db.ClaimABMDuties(t.Context(), "schools", 10)
	require.NoError(t, err)
	require.NoError(t, s.db.AnswerABMDuties(t.Context(), []store.ABMAnswer{{Duty: duties[0], Outcome: provision.ABMGuided}}))
	require.Nil(t, read[api.Device](s.post(device+":cancel-release", nil).ok(200)).Release, "nobody did it in Apple's portal yet")

	s.post(device+":release", release).ok(200)
	s.list(store.ABMRecord{Serial: serial, OpType: "deleted", OpDate: time.Now()})
	_, err = s.db.Carry(t.Context(), serial, provision.Step{Do: provision.ConcludeReleased, Reason: "end_of_life"})
	require.NoError(t, err)
	s.post(device+":cancel-release", nil).fails(409, provision.DeviceReleased)
	s.put(device+"/device-profile", body{"name": "x"}).fails(409, provision.DeviceReleased)
	require.Nil(t, read[api.Device](s.get(device).ok(200)).Release)
}
