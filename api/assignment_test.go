package api_test

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/api"
	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/store"
)

const assignment = "/v1/devices/" + serial + "/assignment"

// enroll is activate with the UDID under which commands are queued, as the MDM room leaves it.
func (s *server) enroll(serial string) {
	s.t.Helper()
	_, err := s.db.NanoMDM().ExecContext(s.t.Context(), `INSERT INTO devices (id, authenticate, authenticate_at) VALUES ($1, 'x', now())`, "udid-"+serial)
	require.NoError(s.t, err)
	_, err = s.db.NanoMDM().ExecContext(s.t.Context(), `INSERT INTO enrollments (id, device_id, type, topic, push_magic, token_hex, last_seen_at) VALUES ($1, $1, 'Device', 't', 'm', '00', now())`, "udid-"+serial)
	require.NoError(s.t, err)
	_, err = s.db.Update(s.t.Context(), serial, func(ctx context.Context, c *store.Change) error {
		return c.SetUDID(ctx, "udid-"+serial)
	})
	require.NoError(s.t, err)
	s.activate(serial, false)
}

func TestAssign(t *testing.T) {
	s := serve(t)
	s.put("/v1/groups/zylker_drivers", body{"items": []body{}}).ok(201)
	s.put("/v1/groups/all", body{"items": []body{}}).ok(201)
	andrew := body{"name": "ANDREW", "email": "andrew@zylker.com"}
	in := body{"user": andrew, "groups": []string{"zylker_drivers"}}

	a := s.put("/v1/devices/c07q853lg9rm/assignment", in).ok(200)
	out := read[api.AssignmentResult](a)
	require.True(t, out.Reservation, "R43")
	require.True(t, out.Changed)
	require.Equal(t, []string{"Awaiting Device Activation"}, out.Device.Labels, "R4")
	require.Equal(t, "MDM", out.Device.Assignment.User.Domain, "R36")
	require.Equal(t, api.Corporate, out.Device.Assignment.OwnedBy, "R37")
	require.Equal(t, "api", out.Device.Assignment.Source, "R7")
	require.Equal(t, a.header.Get("ETag"), s.get(assignment).ok(200).header.Get("ETag"))

	again := read[api.AssignmentResult](s.put(assignment, in).ok(200))
	require.False(t, again.Changed || again.Reservation)
	require.Equal(t, []string{"assigned"}, s.kinds(serial), "an equal assignment records nothing")
	moved := read[api.AssignmentResult](s.put(assignment, body{"user": body{"name": "andrew", "domain": "mdm", "email": "new@zylker.com"}, "groups": []string{"ZYLKER_DRIVERS", "zylker_drivers"}}).ok(200))
	require.False(t, moved.Changed, "the same person and group, spelled otherwise")
	require.Equal(t, "new@zylker.com", moved.Device.Assignment.User.Email)
	timeline := string(s.get("/v1/devices/" + serial + "/timeline").ok(200).body)
	require.NotContains(t, timeline, "zylker.com", "personal data in a fact")
	require.NotContains(t, timeline, "ANDREW")

	both := read[api.AssignmentResult](s.put(assignment, body{"user": andrew, "groups": []string{"all", "zylker_drivers"}, "owned_by": "Personal"}).ok(200))
	require.Equal(t, []string{"all", "zylker_drivers"}, both.Device.Assignment.Groups)
	require.Equal(t, api.Personal, both.Device.Assignment.OwnedBy)
	off := read[api.Device](s.delete(assignment).ok(200))
	require.Nil(t, off.Assignment)
	s.get(assignment).fails(404, "assignment_not_found")
	s.delete(assignment).ok(200)
	require.Equal(t, []string{"assigned", "assigned", "unassigned"}, s.kinds(serial))
}

func TestAssignmentsThatCanNotBe(t *testing.T) {
	s := serve(t)
	s.put("/v1/groups/all", body{"items": []body{}}).ok(201)
	user := body{"name": "ANDREW", "email": "andrew@zylker.com"}
	p := s.put(assignment, body{"user": user, "groups": []string{"all", "drivers", "pilots"}}).fails(422, provision.GroupNotFound)
	require.Contains(t, p.Detail, `"drivers", "pilots"`)
	require.NotContains(t, p.Detail, `"all"`)
	require.Equal(t, []string{"groups"}, fields(p))
	require.Equal(t, []string{"groups[1]"}, fields(s.put(assignment, body{"user": user, "groups": []string{"all", "a/b"}}).fails(422, provision.GroupNameInvalid)))
	s.put(assignment, body{}).fails(422, provision.AssignmentEmpty)
	s.put(assignment, body{"groups": []string{}}).fails(422, provision.AssignmentEmpty)
	s.put(assignment, body{"technician": body{"name": "TOM"}}).fails(422, provision.TechnicianNotFound)
	tom := read[api.Person](s.post("/v1/people", body{"name": "TOM", "email": "tom@zylker.com"}).ok(201))
	require.Contains(t, s.put(assignment, body{"technician": body{"name": "TOM"}}).fails(422, provision.TechnicianNotFound).Detail, "no technician")
	s.put("/v1/devices/SHORT/assignment", body{"user": user}).fails(422, provision.SerialInvalid)
	s.get("/v1/devices/"+serial).fails(404, provision.DeviceNotFound)
	require.Len(t, read[api.PersonList](s.get("/v1/people").ok(200)).People, 1, "nothing half done: ANDREW is not known")

	s.put("/v1/people/"+tom.Id, body{"name": "TOM", "email": "tom@zylker.com", "technician": true}).ok(200)
	out := read[api.AssignmentResult](s.put(assignment, body{"technician": body{"name": "tom"}, "groups": []string{"all"}}).ok(200))
	require.Equal(t, tom.Id, out.Device.Assignment.Technician.Id, "R21")
	require.True(t, out.Device.Assignment.Complete)
	kept := read[api.AssignmentResult](s.put("/v1/devices/AAAAAAAA01/assignment", body{"groups": []string{"all"}}).ok(200))
	require.False(t, kept.Device.Assignment.Complete, "groups wait for a user")
	require.Len(t, kept.Device.Labels, 2)
}

func TestManyAssignmentsAndAnEditAtOnce(t *testing.T) {
	s := serve(t)
	s.upload("/v1/configurations/wifi", wifi).ok(201)
	s.put("/v1/groups/all", body{"items": []body{}}).ok(201)
	const n = 24
	var wg sync.WaitGroup
	for i := range n {
		wg.Add(1)
		go func() {
			defer wg.Done()
			a := s.put(fmt.Sprintf("/v1/devices/AAAAAAAA%02d/assignment", i), body{"user": body{"name": "SAME", "email": fmt.Sprintf("%d@b.co", i)}, "groups": []string{"all"}})
			if a.status != 200 {
				t.Errorf("assigning: %s", a.body)
			}
		}()
	}
	wg.Add(1)
	go func() {
		defer wg.Done()
		a := s.put("/v1/groups/all", body{"items": []body{{"kind": "configuration", "name": "wifi"}}})
		if a.status != 200 {
			t.Errorf("editing: %s", a.body)
		}
	}()
	wg.Wait()
	require.Len(t, read[api.PersonList](s.get("/v1/people").ok(200)).People, 1)
	require.Len(t, read[api.DeviceList](s.get("/v1/devices?group=all").ok(200)).Devices, n)
	for i := range n {
		at := fmt.Sprintf("/v1/devices/AAAAAAAA%02d/timeline", i)
		facts := read[api.Timeline](s.get(at).ok(200)).Facts
		told := facts[0].Kind == "catalog_changed"
		require.True(t, told || facts[0].Kind == "assigned" && len(facts) == 1)
	}
}
