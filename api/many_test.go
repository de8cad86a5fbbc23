package api_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/api"
	"github.com/muster-mdm/muster/api/intake"
	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/store"
)

func TestAssignMany(t *testing.T) {
	s := serve(t)
	s.put("/v1/groups/g", body{"items": []body{}}).ok(201)
	in := body{"serials": []string{"C07Q00000001", "c07q00000002", "C07Q00000001", "no serial!"}, "assignment": body{"user": body{"name": "A", "email": "a@z.com"}, "groups": []string{"g"}}}
	a := s.send(request{method: "POST", path: "/v1/devices:assign", body: in, role: store.Technician}).ok(202)
	o := read[api.Operation](a)
	require.Equal(t, "/v1/operations/"+o.Id, a.header.Get("Location"))
	require.Equal(t, int64(3), o.Rows.Total, "each device once")
	o = s.worked(o.Id)
	require.Equal(t, api.OperationDone, o.State)
	require.Equal(t, []int64{2, 1}, []int64{o.Progress.Changed, o.Rows.Error})
	list := read[api.OperationRowList](s.get("/v1/operations/" + o.Id + "/results").ok(200)).Rows
	require.Equal(t, []api.RowOutcome{api.OutcomeChanged, api.OutcomeChanged, api.OutcomeRefused}, []api.RowOutcome{list[0].Outcome, list[1].Outcome, list[2].Outcome})
	require.Equal(t, "serial_invalid", list[2].Problems[0].Code)
	file := s.send(request{method: "GET", path: "/v1/operations/" + o.Id + "/results", header: map[string]string{"Accept": "text/csv"}}).ok(200)
	require.Contains(t, string(file.body), "C07Q00000002,changed,")

	in["assignment"] = body{"groups": []string{"nothing"}}
	o = s.worked(read[api.Operation](s.post("/v1/devices:assign", in).ok(202)).Id)
	require.Equal(t, int64(2), o.Progress.Refused)
	refused := read[api.OperationRowList](s.get("/v1/operations/" + o.Id + "/results?outcome=refused&code=group_not_found").ok(200)).Rows
	require.Len(t, refused, 2)

	delete(in, "serials")
	require.Equal(t, []string{"serials"}, fields(s.post("/v1/devices:assign", in).fails(422, provision.Invalid)))
	in["filter"] = body{"group": "nobody"}
	s.post("/v1/devices:assign", in).fails(422, intake.NoDevices)
	s.post("/v1/devices:assign", body{"filter": body{}, "assignment": body{}}).fails(422, provision.Invalid)
	require.Len(t, read[api.OperationList](s.get("/v1/operations?kind=assign&limit=1").ok(200)).Operations, 1)
}

func TestWhatCanNotBeUndoneIsConfirmed(t *testing.T) {
	s := serve(t)
	for n := range 3 {
		serial := fmt.Sprintf("C07Q0000000%d", n)
		s.put("/v1/devices/"+serial+"/assignment", body{"user": body{"name": "A", "email": "a@z.com"}}).ok(200)
		if n > 0 {
			s.activate(serial, false)
		}
	}
	in := body{"filter": body{"q": "C07Q0000000"}, "reason": "employee_left", "by": "erase"}
	p := s.post("/v1/devices:deprovision", in).fails(428, intake.ConfirmationRequired)
	c := p.Confirmation
	require.Equal(t, 3, c.Devices)
	require.WithinDuration(t, time.Now().Add(15*time.Minute), c.ExpiresAt, time.Minute)
	require.Len(t, c.Consequences, 2)
	require.Equal(t, 2, c.Consequences[0].Devices)
	require.Equal(t, "The device is erased; what is on it is lost. User and groups are taken away.", c.Consequences[0].Effect)
	require.Equal(t, "Provisioning", *c.Consequences[0].Status)
	require.Equal(t, "device_not_managed", *c.Consequences[1].Refused)
	require.Empty(t, read[api.OperationList](s.get("/v1/operations").ok(200)).Operations)

	in["confirmation"] = c.Token
	in["by"] = "remove_management"
	s.post("/v1/devices:deprovision", in).fails(409, store.ConfirmationInvalid)
	in["by"] = "erase"
	o := s.worked(read[api.Operation](s.post("/v1/devices:deprovision", in).ok(202)).Id)
	require.Equal(t, []int64{2, 1}, []int64{o.Progress.Changed, o.Progress.Refused})
	s.post("/v1/devices:deprovision", in).fails(409, store.ConfirmationInvalid)
	d := read[api.Device](s.get("/v1/devices/C07Q00000001").ok(200))
	require.Equal(t, api.StatusDeprovisioned, d.Status)
	require.Equal(t, "employee_left", d.Deprovision.Reason)
	require.Nil(t, d.Assignment)
	s.post("/v1/operations/"+o.Id+":undo", nil).fails(409, store.NotUndoable)
	s.send(request{method: "POST", path: "/v1/operations/" + o.Id + ":cancel", role: store.Technician}).fails(403, "forbidden")

	other := s.post("/v1/devices:unassign", body{"serials": []string{"C07Q00000000"}}).fails(428, intake.ConfirmationRequired)
	require.Contains(t, other.Detail, `This concerns 1 device. Look at the consequences; to go on, send the request again with the token as "confirmation" within 15 minutes.`)
	byOther := request{method: "POST", path: "/v1/devices:unassign", body: body{"serials": []string{"C07Q00000000"}, "confirmation": other.Confirmation.Token}, role: store.Technician}
	s.send(byOther).fails(409, store.ConfirmationInvalid)
	byOther.role = store.Admin
	o = s.worked(read[api.Operation](s.send(byOther).ok(202)).Id)
	require.Equal(t, int64(1), o.Progress.Changed)
	require.True(t, o.Undoable)
}

func TestReleaseManyTypesTheNumber(t *testing.T) {
	s := serve(t)
	s.record("C07Q00000001", provision.Fact{Kind: provision.Registered})
	s.record("C07Q00000002", provision.Fact{Kind: provision.Registered}, provision.Fact{Kind: provision.ABMSeen, ABM: &provision.ABMFact{State: provision.ABMPresent, Server: "a"}})
	in := body{"serials": []string{"C07Q00000001", "C07Q00000002"}, "reason": "end_of_life"}
	asked := s.post("/v1/devices:release", in).fails(428, intake.ConfirmationRequired)
	require.Contains(t, asked.Detail, `as "confirmation" and the number of devices as "count"`)
	in["confirmation"] = asked.Confirmation.Token
	require.Equal(t, []string{"count"}, fields(s.post("/v1/devices:release", in).fails(422, intake.ConfirmationCount)))
	in["count"] = 3
	s.post("/v1/devices:release", in).fails(422, intake.ConfirmationCount)
	in["count"] = 2
	s.worked(read[api.Operation](s.post("/v1/devices:release", in).ok(202)).Id)
	require.Equal(t, api.StatusReleased, read[api.Device](s.get("/v1/devices/C07Q00000001").ok(200)).Status, "no workflow would do it")
	require.NotNil(t, read[api.Device](s.get("/v1/devices/C07Q00000002").ok(200)).Release)
	in["reason"] = "boredom"
	s.post("/v1/devices:release", in).fails(422, provision.ReleaseReason)
}

func TestUnassignManyFromMDM(t *testing.T) {
	s := serve(t)
	s.record(serial, provision.Fact{Kind: provision.ABMSeen, ABM: &provision.ABMFact{State: provision.ABMPresent, Server: "a"}})
	s.record("C07Q00000001", provision.Fact{Kind: provision.Registered})
	in := body{"serials": []string{serial, "C07Q00000001"}}
	in["confirmation"] = s.post("/v1/devices:unassign-from-mdm", in).fails(428, intake.ConfirmationRequired).Confirmation.Token
	o := s.worked(read[api.Operation](s.post("/v1/devices:unassign-from-mdm", in).ok(202)).Id)
	require.Equal(t, []int64{1, 1}, []int64{o.Progress.Changed, o.Progress.Refused})
	require.NotNil(t, read[api.Device](s.get(device).ok(200)).UnassignAskedAt)
}

func TestDeprovisionOne(t *testing.T) {
	s := serve(t)
	s.put(device+"/assignment", body{"user": body{"name": "A", "email": "a@z.com"}}).ok(200)
	s.post(device+":deprovision", body{"reason": "repair", "by": "erase"}).fails(409, provision.DeviceNotManaged)
	s.activate(serial, false)
	require.Equal(t, []string{"reason"}, fields(s.post(device+":deprovision", body{"reason": "x", "by": "erase"}).fails(422, provision.DeprovisionInvalid)))
	d := read[api.Device](s.post(device+":deprovision", body{"reason": "repair", "by": "remove_management"}).ok(200))
	require.Equal(t, api.StatusDeprovisioned, d.Status)
	require.NotNil(t, d.Assignment, "it comes back to the same person")
	require.False(t, d.Deprovision.Done)
	s.post(device+":deprovision", body{"reason": "repair", "by": "remove_management"}).ok(200)
	d = read[api.Device](s.post(device+":deprovision", body{"reason": "retire", "by": "erase"}).ok(200))
	require.Nil(t, d.Assignment)
	require.Equal(t, []string{"assigned", "authenticated", "activated", "deprovision", "deprovision", "unassigned"}, s.kinds(serial))
	require.Len(t, read[api.DeviceList](s.get("/v1/devices?status=Deprovisioned").ok(200)).Devices, 1)
}

func TestLoans(t *testing.T) {
	s := serve(t)
	at := func(d time.Duration) string { return time.Now().Add(d).UTC().Format(time.RFC3339) }
	user := body{"name": "A", "email": "a@z.com"}
	for field, in := range map[string]body{
		"effective_at": {"user": user, "effective_at": at(-time.Hour)},
		"return_by":    {"user": user, "effective_at": at(2 * time.Hour), "return_by": at(time.Hour)},
	} {
		require.Equal(t, []string{field}, fields(s.put(device+"/assignment", in).fails(422, intake.AssignmentTimeInvalid)))
	}
	r := read[api.AssignmentResult](s.put(device+"/assignment", body{"user": user, "effective_at": at(time.Hour), "return_by": at(48 * time.Hour)}).ok(200))
	require.True(t, r.Changed)
	require.Nil(t, r.Device.Assignment)
	require.Equal(t, "A", r.Device.PlannedAssignment.User.Name)
	require.True(t, slices.ContainsFunc(*r.Device.Waits, func(w api.Wait) bool {
		return w.For == "An assignment for later is kept and comes into force by itself."
	}))
	require.Nil(t, read[api.Device](s.delete(device+"/assignment").ok(200)).PlannedAssignment)

	past := time.Now().Add(-time.Hour)
	p, err := s.db.CreatePerson(t.Context(), provision.Person{Name: "B", Domain: "MDM", Email: "b@z.com"})
	require.NoError(t, err)
	s.record(serial, provision.Fact{Kind: provision.Assigned, Assignment: &provision.Assignment{UserID: p.ID, OwnedBy: provision.Corporate, ReturnBy: &past}})
	d := read[api.Device](s.get(device).ok(200))
	require.True(t, *d.Overdue)
	require.WithinDuration(t, past, *d.Assignment.ReturnBy, time.Second)
}

func TestReviewOfASignIn(t *testing.T) {
	s := serve(t)
	s.put(device+"/assignment", body{"user": body{"name": "A", "email": "a@z.com"}}).ok(200)
	s.post(device+":review", body{"choice": "keep_reserved"}).fails(409, provision.NotInReview)
	p, err := s.db.CreatePerson(t.Context(), provision.Person{Name: "B", Domain: "MDM", Email: "b@z.com"})
	require.NoError(t, err)
	s.activate(serial, false)
	hold := func() api.Device {
		s.record(serial, provision.Fact{Kind: provision.SignInHeld, Assignment: &provision.Assignment{UserID: p.ID, OwnedBy: provision.Corporate}})
		return read[api.Device](s.get(device).ok(200))
	}
	d := hold()
	require.Equal(t, api.SignInUnderReview, *d.BlockedBy)
	require.Equal(t, "A", d.Review.Reserved.Name)
	require.Equal(t, "B", d.Review.SignedIn.Name)
	require.Equal(t, []string{"choice"}, fields(s.post(device+":review", body{"choice": "x"}).fails(422, provision.ReviewInvalid)))
	d = read[api.Device](s.post(device+":review", body{"choice": "keep_reserved"}).ok(200))
	require.Nil(t, d.Review)
	require.Equal(t, "A", d.Assignment.User.Name)
	s.put("/v1/groups/kept", body{"items": []any{}}).ok(201)
	s.put("/v1/groups/gone", body{"items": []any{}}).ok(201)
	s.record(serial, provision.Fact{Kind: provision.SignInHeld, Assignment: &provision.Assignment{UserID: p.ID, OwnedBy: provision.Corporate, Groups: []string{"gone", "kept"}}})
	s.delete("/v1/groups/gone").ok(204)
	d = read[api.Device](s.post(device+":review", body{"choice": "take_signed_in"}).ok(200))
	require.Equal(t, "B", d.Assignment.User.Name)
	require.Equal(t, []string{"kept"}, d.Assignment.Groups, "not one that was deleted since")
	require.Equal(t, "enrollment_sign_in", d.Assignment.Source)
}

func TestWithdraw(t *testing.T) {
	s := serve(t)
	user := body{"name": "A", "email": "a@z.com"}
	s.put(device+"/assignment", body{"user": user}).ok(200)
	d := read[api.Device](s.send(request{method: "POST", path: device + ":withdraw", role: store.Technician}).ok(200))
	require.Equal(t, api.StatusWithdrawn, d.Status)
	require.Nil(t, d.Assignment)
	require.Empty(t, *d.Waits)
	s.post(device+":withdraw", nil).ok(200)
	require.Equal(t, []string{"assigned", "withdrawn"}, s.kinds(serial), "twice is once")
	require.Empty(t, read[api.DeviceList](s.get("/v1/devices").ok(200)).Devices)
	require.Len(t, read[api.DeviceList](s.get("/v1/devices?status=Withdrawn").ok(200)).Devices, 1)
	s.post(device+":hold", body{"reason": "x"}).fails(404, provision.DeviceNotFound)
	s.post(device+":release", body{"reason": "end_of_life", "serial": serial}).fails(404, provision.DeviceNotFound)
	s.post("/v1/devices/C07Q00000009:withdraw", nil).fails(404, provision.DeviceNotFound)

	r := read[api.AssignmentResult](s.put(device+"/assignment", body{"user": user}).ok(200))
	require.True(t, r.Reservation && r.Changed)
	require.Equal(t, []string{"Awaiting Device Activation"}, r.Device.Labels)
	s.post(device+":withdraw", nil).ok(200)
	s.post("/v1/devices", body{"serial": serial}).ok(201)
	s.activate(serial, false)
	p := s.post(device+":withdraw", nil).fails(409, provision.NotWithdrawable)
	require.Contains(t, p.Detail, "it enrolled")
}

func TestWithdrawMany(t *testing.T) {
	s := serve(t)
	s.record("C07Q00000001", provision.Fact{Kind: provision.Registered})
	s.record("C07Q00000002", provision.Fact{Kind: provision.ABMSeen, ABM: &provision.ABMFact{State: provision.ABMPresent, Server: "a"}})
	in := body{"serials": []string{"C07Q00000001", "C07Q00000002", "C07Q00000003"}}
	c := s.post("/v1/devices:withdraw", in).fails(428, intake.ConfirmationRequired).Confirmation
	var says []string
	for _, at := range c.Consequences {
		refused := ""
		if at.Refused != nil {
			refused = *at.Refused
		}
		says = append(says, refused)
	}
	require.ElementsMatch(t, []string{"", "device_not_withdrawable", "device_not_found"}, says)
	in["confirmation"] = c.Token
	o := s.worked(read[api.Operation](s.post("/v1/devices:withdraw", in).ok(202)).Id)
	require.Equal(t, api.KindWithdraw, o.Kind)
	require.Equal(t, []int64{1, 2}, []int64{o.Progress.Changed, o.Progress.Refused})
	require.False(t, o.Undoable)
	s.send(request{method: "POST", path: "/v1/operations/" + o.Id + ":cancel", role: store.Viewer}).fails(403, "forbidden")
}
