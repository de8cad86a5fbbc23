package api_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/api"
	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/store"
)

func TestRegister(t *testing.T) {
	s := serve(t)
	a := s.post("/v1/devices", body{"serial": " c07q853lg9rm ", "name": "Cab 7", "model": "iPad"}).ok(201)
	require.Equal(t, "/v1/devices/"+serial, a.header.Get("Location"))
	d := read[api.Device](a)
	require.Equal(t, []string{"Awaiting Device Activation", "Awaiting User Assignment"}, d.Labels)
	require.Equal(t, api.StatusAwaiting, d.Status)
	require.Equal(t, api.Staged, d.Management)
	require.Equal(t, "Cab 7", d.Name)
	require.Equal(t, "iPad", d.Model)
	require.Len(t, *d.Waits, 2)
	require.Equal(t, []string{"registered"}, s.kinds(serial))
	s.post("/v1/devices", body{"serial": serial}).fails(409, provision.AlreadyExists)
	require.Equal(t, []string{"registered"}, s.kinds(serial))
}

func TestListFilters(t *testing.T) {
	s := serve(t)
	s.put("/v1/groups/drivers", body{"items": []body{}}).ok(201)
	s.put("/v1/devices/AAAAAAAA01/assignment", body{"user": body{"name": "ANDREW", "email": "andrew@zylker.com"}, "groups": []string{"drivers"}}).ok(200)
	s.post("/v1/devices", body{"serial": "AAAAAAAA02", "name": "100% Lobby_kiosk"}).ok(201)
	s.activate("AAAAAAAA03", false)
	s.record("AAAAAAAA04", provision.Fact{Kind: provision.ABMSeen, ABM: &provision.ABMFact{Server: "north", State: provision.ABMPresent}})
	s.post("/v1/devices/AAAAAAAA04:hold", body{"reason": "repair"}).ok(200)
	andrew := read[api.PersonList](s.get("/v1/people").ok(200)).People[0].Id
	for query, want := range map[string][]string{
		"":                {"AAAAAAAA01", "AAAAAAAA02", "AAAAAAAA03", "AAAAAAAA04"},
		"status=Awaiting": {"AAAAAAAA01", "AAAAAAAA02", "AAAAAAAA03", "AAAAAAAA04"},
		"status=Enrolled": {},
		"status=Enrolled&status=Awaiting&management=managed":        {"AAAAAAAA03"},
		"awaiting=" + url.QueryEscape("Awaiting User Assignment"):   {"AAAAAAAA02", "AAAAAAAA03", "AAAAAAAA04"},
		"awaiting=" + url.QueryEscape("Awaiting Device Activation"): {"AAAAAAAA01", "AAAAAAAA02", "AAAAAAAA04"},
		"group=drivers":          {"AAAAAAAA01"},
		"group=driver":           {},
		"user=" + andrew:         {"AAAAAAAA01"},
		"server=north":           {"AAAAAAAA04"},
		"blocked_by=on_hold":     {"AAAAAAAA04"},
		"q=andrew%40zylker":      {"AAAAAAAA01"},
		"q=aaaa02":               {"AAAAAAAA02"},
		"q=lobby_":               {"AAAAAAAA02"},
		"q=100%25":               {"AAAAAAAA02"},
		"q=_":                    {"AAAAAAAA02"},
		"q=%25%5C":               {},
		"q=%27+OR+1%3D1--":       {},
		"group=drivers&q=aaaa02": {},
	} {
		list := read[api.DeviceList](s.get("/v1/devices?" + query).ok(200))
		got := []string{}
		for _, d := range list.Devices {
			got = append(got, d.Serial)
		}
		require.Equal(t, want, got, query)
	}
}

func TestPagesUnderInserts(t *testing.T) {
	s := serve(t)
	n := func(i int) string { return fmt.Sprintf("SERIAL%04d", i) }
	for i := 10; i < 40; i += 2 {
		s.record(n(i), provision.Fact{Kind: provision.Registered})
	}
	seen := map[string]int{}
	path := "/v1/devices?limit=4"
	for i := 0; ; i++ {
		list := read[api.DeviceList](s.get(path).ok(200))
		for _, d := range list.Devices {
			seen[d.Serial]++
		}
		if list.NextCursor == nil {
			break
		}
		require.Len(t, list.Devices, 4)
		path = "/v1/devices?limit=4&cursor=" + *list.NextCursor
		s.record(n(11+i*2), provision.Fact{Kind: provision.Registered}) // mostly before the place we are at
		s.record(n(i), provision.Fact{Kind: provision.Registered})
	}
	for i := 10; i < 40; i += 2 {
		require.Equal(t, 1, seen[n(i)], n(i))
	}
	for serial, times := range seen {
		require.Equal(t, 1, times, serial)
	}
	s.get("/v1/groups?cursor="+*read[api.DeviceList](s.get("/v1/devices?limit=1")).NextCursor).fails(400, "cursor_invalid")
}

func TestTimelineNamesWhoActed(t *testing.T) {
	s := serve(t)
	s.post("/v1/devices", body{"serial": serial}).ok(201)
	for domain, name := range map[string]string{"ZYLKER": `ZYLKER\bella`, "MDM": "bella"} {
		p, err := s.db.CreatePerson(t.Context(), provision.Person{Name: "bella", Domain: domain, Email: "bella@zylker.com"})
		require.NoError(t, err)
		s.record(serial, provision.Fact{
			Kind: provision.Assigned, Actor: p.ID, Source: provision.FromSignIn,
			Assignment: &provision.Assignment{UserID: p.ID, OwnedBy: provision.Corporate},
		})
		fact := read[api.Timeline](s.get("/v1/devices/" + serial + "/timeline?limit=1").ok(200)).Facts[0]
		require.Equal(t, p.ID, fact.Actor)
		require.Equal(t, name, *fact.ActorName)
	}
}

func TestTimelinePages(t *testing.T) {
	s := serve(t)
	s.post("/v1/devices", body{"serial": serial}).ok(201)
	for i := range 9 {
		s.post("/v1/devices/"+serial+":hold", body{"reason": fmt.Sprint("reason ", i)}).ok(200)
	}
	base := "/v1/devices/" + serial + "/timeline?limit=3"
	path, ids := base, []int64{}
	for {
		page := read[api.Timeline](s.get(path).ok(200))
		for _, f := range page.Facts {
			ids = append(ids, f.Id)
			require.Equal(t, "admin", *f.ActorName)
			require.Equal(t, "api", f.Source)
		}
		if page.NextCursor == nil {
			break
		}
		path = base + "&cursor=" + *page.NextCursor
		s.post("/v1/devices/"+serial+":resume", nil).ok(200)
	}
	require.Len(t, ids, 10, "the facts that were there when reading began")
	for i := 1; i < len(ids); i++ {
		require.Less(t, ids[i], ids[i-1])
	}
	s.record("AAAAAAAA01", provision.Fact{Kind: provision.Registered})
	first := read[api.Timeline](s.get(base).ok(200))
	s.get("/v1/devices/AAAAAAAA01/timeline?cursor="+*first.NextCursor).fails(400, "cursor_invalid")
	require.Equal(t, "reason 8", *read[api.Timeline](s.get("/v1/devices/" + serial + "/timeline?limit=500").ok(200)).Facts[1].Reason)
}

func TestOperatorsRequests(t *testing.T) {
	s := serve(t)
	at := "/v1/devices/" + serial
	s.post("/v1/devices", body{"serial": serial}).ok(201)
	s.post(at+":retry", nil).fails(409, provision.DeviceNotManaged)
	s.post(at+":release-from-setup", nil).fails(409, "device_not_in_setup")
	s.post(at+":extend-hold", body{"until": time.Now().Add(time.Hour)}).fails(409, "device_not_in_setup")

	s.activate(serial, true)
	s.post(at+":release", body{"reason": "end_of_life", "serial": serial}).fails(409, "device_in_setup")
	require.Equal(t, []string{"reason"}, fields(s.post(at+":hold", body{"reason": strings.Repeat("x", 201)}).fails(422, provision.Invalid)))
	for _, until := range []time.Time{time.Now().Add(-time.Minute), time.Now().Add(31 * 24 * time.Hour)} {
		require.Equal(t, []string{"until"}, fields(s.post(at+":extend-hold", body{"until": until}).fails(422, provision.Invalid)))
	}
	s.post(at+":extend-hold", body{"until": time.Now().Add(2 * time.Hour)}).ok(200)
	s.post(at+":release-from-setup", nil).ok(200)
	s.post(at+":release-from-setup", nil).ok(200)
	s.post(at+":retry", nil).ok(200)
	held := read[api.Device](s.post(at+":hold", body{"reason": "repair"}).ok(200))
	require.Equal(t, api.OnHold, *held.BlockedBy)
	s.post(at+":hold", body{"reason": " repair "}).ok(200)
	why := read[api.Explanation](s.get(at + "/explain").ok(200))
	require.Contains(t, why.Waits[0].For, "repair")
	require.Nil(t, read[api.Device](s.post(at+":resume", nil).ok(200)).BlockedBy)
	s.post(at+":resume", nil).ok(200)
	require.Equal(t, []string{
		"registered", "authenticated", "activated", "extend_hold", "release_from_setup", "retry_item", "hold", "resume",
	}, s.kinds(serial), "nothing is recorded twice")
}

func TestRelease(t *testing.T) {
	s := serve(t)
	at := "/v1/devices/" + serial
	in := func(reason, typed string) body { return body{"reason": reason, "serial": typed} }
	s.put("/v1/groups/drivers", body{"items": []body{}}).ok(201)
	s.put(at+"/assignment", body{"groups": []string{"drivers"}}).ok(200)
	s.post(at+":release", in("sold", serial)).fails(422, provision.ReleaseReason)
	s.post(at+":release", in("end_of_life", "C07Q853LG9RX")).fails(422, provision.ReleaseSerial)
	s.post(at+":release", in("end_of_life", "")).fails(422, provision.ReleaseSerial)
	s.send(request{method: "POST", path: at + ":release", body: in("end_of_life", serial), role: store.Technician}).fails(403, "forbidden")
	require.Equal(t, []string{"assigned"}, s.kinds(serial), "nothing half done")

	s.post(at+":release", in("end_of_life", "c07q853lg9rm")).ok(200)
	s.post(at+":release", in("permanently_damaged", serial)).ok(200)
	require.Equal(t, []string{"assigned", "release"}, s.kinds(serial), "its workflow carries it out")
	for _, a := range []answer{
		s.put(at+"/assignment", body{"groups": []string{"drivers"}}), s.delete(at + "/assignment"),
		s.post(at+":hold", body{"reason": "x"}), s.post(at+":retry", nil), s.post("/v1/devices", body{"serial": serial}),
	} {
		a.fails(409, provision.ReleasePending)
	}
}

func TestReleaseOfADeviceThatNoWorkflowKnows(t *testing.T) {
	s := serve(t)
	s.post("/v1/devices", body{"serial": serial}).ok(201)
	d := read[api.Device](s.post("/v1/devices/"+serial+":release", body{"reason": "permanently_damaged", "serial": serial}).ok(200))
	require.Equal(t, api.StatusReleased, d.Status)
	require.NotNil(t, d.ReleasedAt)
	require.Empty(t, *d.Waits)
	require.Equal(t, []string{"registered", "release", "released"}, s.kinds(serial))
}

func TestPlan(t *testing.T) {
	s := serve(t)
	at := "/v1/devices/" + serial
	s.post("/v1/devices", body{"serial": serial}).ok(201)
	p := read[api.Plan](s.get(at + "/plan").ok(200))
	require.False(t, p.Current)
	require.Empty(t, p.Items)

	s.upload("/v1/configurations/wifi", wifi).ok(201)
	s.put("/v1/apps/routes", body{"bundle_id": "com.zylker.routes", "store_id": 361309726}).ok(201)
	s.put("/v1/groups/drivers", body{"items": []body{
		{"kind": "configuration", "name": "wifi"},
		{"kind": "app", "name": "routes", "depends_on": []body{{"kind": "configuration", "name": "wifi"}}},
	}}).ok(201)
	s.put(at+"/assignment", body{"user": body{"name": "A", "email": "a@b.co"}, "groups": []string{"drivers"}}).ok(200)
	s.enroll(serial)
	d, err := s.db.Apply(t.Context(), serial, 0, 1, "com.muster.mdm")
	require.NoError(t, err)
	require.True(t, d.PlanCurrent())
	p = read[api.Plan](s.get(at + "/plan").ok(200))
	require.True(t, p.Current)
	require.Len(t, p.Items, 4)
	require.Equal(t, "wifi", p.Items[2].Name)
	require.Equal(t, "com.zylker.wifi", p.Items[2].Identifier)
	require.Equal(t, []string{"drivers"}, p.Items[2].Groups)
	require.Empty(t, p.Items[2].DependsOn)
	require.Equal(t, []api.ItemRef{{Kind: api.ConfigurationItem, Name: "wifi"}}, p.Items[3].DependsOn, "as in the group")
	require.Equal(t, api.StatusProvisioning, read[api.Device](s.get(at).ok(200)).Status)
}

func TestPlanSaysWhenWhatNothingWaitsForIsTriedAgain(t *testing.T) {
	s := serve(t)
	at := "/v1/devices/" + serial
	s.upload("/v1/configurations/wifi", wifi).ok(201)
	s.put("/v1/groups/drivers", body{"items": []body{{"kind": "configuration", "name": "wifi", "stage": "best_effort"}}}).ok(201)
	s.put(at+"/assignment", body{"user": body{"name": "A", "email": "a@b.co"}, "groups": []string{"drivers"}}).ok(200)
	s.enroll(serial)
	_, err := s.db.Apply(t.Context(), serial, 0, 1, "com.muster.mdm")
	require.NoError(t, err)
	install := provision.Command{Type: provision.InstallProfile, Item: provision.ItemKey{Kind: provision.ConfigurationItem, Name: "wifi"}, Version: 1, Attempt: 1}
	_, err = s.db.Answer(t.Context(), store.CommandUUID(serial, 1, install), provision.Answer{Status: provision.AnswerError, Detail: "no space left"}, nil)
	require.NoError(t, err)

	items := read[api.Plan](s.get(at + "/plan").ok(200)).Items
	require.Len(t, items, 3)
	require.Nil(t, items[0].RetryAt)
	require.Equal(t, api.PlanItemState(provision.Failed), items[2].State)
	require.Equal(t, "no space left", items[2].Detail)
	require.Equal(t, items[2].UpdatedAt.Add(store.DefaultTiming().RetryAfter[0]), *items[2].RetryAt)
}

func TestEnrollmentProfile(t *testing.T) {
	s := serve(t)
	a := s.get("/v1/devices/c07q853lg9rm/enrollment-profile").ok(200)
	require.Equal(t, aspenConfig, a.header.Get("Content-Type"))
	require.Equal(t, `attachment; filename="C07Q853LG9RM.mobileconfig"`, a.header.Get("Content-Disposition"))
	require.Equal(t, "profile of "+serial, string(a.body))
}

// A client may escape the colon of a verb; it is the same address (RFC 3986, 6.2.2).
func TestVerbWithAnEscapedColon(t *testing.T) {
	s := serve(t)
	s.post("/v1/devices", body{"serial": serial}).ok(201)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.http.URL+"/v1/devices/"+serial+"%3Ahold", strings.NewReader(`{"reason": "repair"}`))
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+s.secret[store.Technician])
	res, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	require.Equal(t, http.StatusOK, res.StatusCode)
	require.Equal(t, []string{"registered", "hold"}, s.kinds(serial))
}

// A device says that what happened to it is still on its way to the workflow, once that takes longer than it should.
func TestExplainSaysWhatIsUndelivered(t *testing.T) {
	s := serve(t)
	s.record(serial, provision.Fact{Kind: provision.Registered}, provision.Fact{Kind: provision.HoldRequest, Reason: "x"})
	explained := func() []api.Wait {
		return read[api.Explanation](s.get("/v1/devices/" + serial + "/explain").ok(200)).Waits
	}
	before := explained()
	require.NotContains(t, before[0].For, "has not reached its workflow")
	s.sql(`UPDATE device_events SET created_at = created_at - interval '1 minute'`)
	after := explained()
	require.Equal(t, "What happened to the device has not reached its workflow yet, although nothing goes before.", after[0].For)
	require.Equal(t, before, after[1:])

	s.post("/v1/devices/"+serial+":resume", nil).ok(200)
	s.post("/v1/devices/"+serial+":withdraw", nil).ok(200)
	s.sql(`UPDATE device_events SET created_at = created_at - interval '1 minute'`)
	require.Empty(t, explained(), "a serial number that was taken back waits for nothing")
}
