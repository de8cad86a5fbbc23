package store_test

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/store"
)

func TestContentsOfDeviceProfiles(t *testing.T) {
	f := newFleet(t)
	p := f.profile("kiosk", "IT")
	require.Equal(t, [2]int64{1, 1}, [2]int64{int64(p.Content), p.Version})
	p.Description = "for the lobby"
	p, created, err := f.PutDeviceProfile(t.Context(), p, store.Edit{If: store.Condition{Given: true, Versions: []int64{1}}})
	require.NoError(t, err)
	require.False(t, created)
	require.Equal(t, [2]int64{1, 2}, [2]int64{int64(p.Content), p.Version}, "Apple is told nothing of a description")
	p = f.profile("kiosk", "Sales")
	require.Equal(t, [2]int64{2, 3}, [2]int64{int64(p.Content), p.Version})
	p.ActivationMode = "by_user"
	p, _, err = f.PutDeviceProfile(t.Context(), p, store.Edit{})
	require.NoError(t, err)
	require.Equal(t, 3, p.Content)
	_, _, err = f.PutDeviceProfile(t.Context(), p, store.Edit{If: store.Condition{Given: true, Versions: []int64{1}}})
	require.Equal(t, provision.VersionConflict, provision.CodeOf(err))
	list, err := f.DeviceProfiles(t.Context(), store.Page{Limit: 10})
	require.NoError(t, err)
	require.Len(t, list, 1)

	f.linked(school)
	uuid, err := f.ProfileDefinition(t.Context(), "kiosk", 3, school)
	require.NoError(t, err)
	require.Empty(t, uuid)
	at := func(uuid, address string) {
		require.NoError(t, f.NoteProfileDefinition(t.Context(), store.ProfileDefinition{Profile: "kiosk", Content: 3, Server: school, UUID: uuid, Address: address}))
	}
	at("U1", "https://old.example/enroll")
	at("U2", "https://new.example/enroll")
	uuid, err = f.ProfileDefinition(t.Context(), "kiosk", 3, school)
	require.NoError(t, err)
	require.Equal(t, "U2", uuid)

	n, err := f.ForgetDefinitionsElsewhere(t.Context(), "https://new.example/enroll")
	require.NoError(t, err)
	require.Zero(t, n)
	n, err = f.ForgetDefinitionsElsewhere(t.Context(), "https://newest.example/enroll")
	require.NoError(t, err)
	require.Equal(t, int64(1), n)
	uuid, err = f.ProfileDefinition(t.Context(), "kiosk", 3, school)
	require.NoError(t, err)
	require.Empty(t, uuid, "devices would enroll where nobody is")

	f.server(school, "kiosk")
	require.Equal(t, provision.InUse, provision.CodeOf(f.DeleteDeviceProfile(t.Context(), "kiosk", store.Condition{})))
	f.server(school, "")
	require.NoError(t, f.DeleteDeviceProfile(t.Context(), "kiosk", store.Condition{}))
	require.Equal(t, provision.NotFound, provision.CodeOf(f.DeleteDeviceProfile(t.Context(), "kiosk", store.Condition{})))
	require.Equal(t, provision.DeviceNotFound, provision.CodeOf(f.SetDeviceProfile(t.Context(), "C0000000", "", provision.Fact{Actor: "tok", Source: provision.FromAPI})))
	_, err = f.DeviceProfile(t.Context(), "kiosk")
	require.Equal(t, provision.NotFound, provision.CodeOf(err))
}

// The device's own profile, its groups' in the order of its assignment, its server's default.
func TestWhichProfileADeviceGets(t *testing.T) {
	f := newFleet(t)
	f.linked(school)
	for _, name := range []string{"standard", "sales", "drivers", "own"} {
		f.profile(name, "IT")
		f.group(name)
	}
	f.exec(`UPDATE groups SET device_profile = name WHERE name IN ('sales', 'drivers')`)
	f.fetched(school, serials(4)...)
	require.Empty(t, f.owed(), "no profile is wanted")
	f.assign("C0000001", "own", "sales", "drivers")
	f.assign("C0000002", "drivers", "sales")
	f.assign("C0000003", "drivers")
	f.server(school, "standard")
	require.Equal(t, int64(4), f.sweep(school))
	require.NoError(t, f.SetDeviceProfile(t.Context(), "C0000003", "own", provision.Fact{Actor: "tok", Source: provision.FromAPI}))
	require.Equal(t, []string{
		"C0000000 assign_profile standard/1 tries 0", "C0000001 assign_profile sales/1 tries 0", "C0000002 assign_profile drivers/1 tries 0",
		"C0000003 assign_profile own/1 tries 0",
	}, f.owed(), "who chooses one for a device may have it in their hands, so that isn't left to the comparison")

	require.NoError(t, f.NoteProfileDefinition(t.Context(), store.ProfileDefinition{Profile: "standard", Content: 1, Server: school, UUID: "uuid"}))
	f.answer(school, provision.ABMDone, "SUCCESS", 0)
	require.Zero(t, f.sweep(school), "what Apple has, and what is owed, is not wished again")
	require.Len(t, f.owed(), 3)
	f.server(school, "")
	require.NoError(t, f.SetDeviceProfile(t.Context(), "C0000003", "", provision.Fact{Actor: "tok", Source: provision.FromAPI}))
	f.assign("C0000003", "own")
	f.sweep(school)
	require.Equal(t, []string{"C0000001 assign_profile sales/1 tries 0", "C0000002 assign_profile drivers/1 tries 0"}, f.owed(),
		"no profile is wanted for the last any more")
}

func TestProfileThatWasTakenAwayIsAssignedAgain(t *testing.T) {
	f := newFleet(t)
	f.linked(school)
	f.profile("kiosk", "IT")
	f.server(school, "kiosk")
	require.NoError(t, f.NoteProfileDefinition(t.Context(), store.ProfileDefinition{Profile: "kiosk", Content: 1, Server: school, UUID: "U1"}))
	said := op("C0000000", "added", f.Now())
	f.fetched(school)
	for _, c := range []struct {
		uuid, status string
		owed         int
	}{{"U1", "assigned", 0}, {"U1", "pushed", 0}, {"", "removed", 1}, {"U1", "assigned", 1}, {"U9", "assigned", 1}, {"U1", "empty", 1}} {
		said.ProfileUUID, said.ProfileStatus, said.OpDate = c.uuid, c.status, f.Now()
		f.take(school, false, said)
		require.Len(t, f.owed(), c.owed, c)
	}
	f.take(school, false, op("C0000000", "deleted", f.Now()))
	require.Empty(t, f.owed())
}

func TestDevicesInConflictGetNoProfile(t *testing.T) {
	f := newFleet(t)
	f.linked(school, "home")
	f.profile("kiosk", "IT")
	f.server("home", "kiosk")
	f.fetched(school, "C0000000")
	f.fetched("home", "C0000000")
	require.Empty(t, f.owed())
	f.take(school, false, op("C0000000", "deleted", f.Now()))
	require.Empty(t, f.owed(), "that was the other server's page")
	f.sweep("home")
	require.Len(t, f.owed(), 1)
}

// The worker's comparison of all waits for whoever has the device, and neither falls over the other.
func TestProfilesAreComparedWhileDevicesChange(t *testing.T) {
	f := newFleet(t)
	f.linked(school)
	f.profile("standard", "IT")
	f.profile("own", "IT")
	f.fetched(school, serials(3)...)
	f.server(school, "standard")
	other := connect(t, f.sql.Config().ConnString())
	tx, err := other.Begin(t.Context())
	require.NoError(t, err)
	_, err = tx.Exec(t.Context(), `SELECT FROM devices WHERE serial = 'C0000001' FOR UPDATE`)
	require.NoError(t, err)
	compared := make(chan error, 1)
	go func() {
		_, err := f.SweepProfiles(context.WithoutCancel(t.Context()), school)
		compared <- err
	}()
	require.Eventually(t, func() bool {
		return f.count(`pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`) == 1
	}, 10*time.Second, 10*time.Millisecond)
	_, err = tx.Exec(t.Context(), `UPDATE devices SET device_profile = 'own' WHERE serial = 'C0000001'`)
	require.NoError(t, err)
	_, err = tx.Exec(t.Context(), `
INSERT INTO abm_duties (serial, verb, server, profile, content, due_at, created_at)
VALUES ('C0000001', 'assign_profile', $1, 'own', 1, now(), now())`, school)
	require.NoError(t, err, "the comparison holds nothing of a device that it waits for")
	require.NoError(t, tx.Commit(t.Context()))
	require.NoError(t, <-compared)
	require.Equal(t, []string{
		"C0000000 assign_profile standard/1 tries 0", "C0000001 assign_profile own/1 tries 0", "C0000002 assign_profile standard/1 tries 0",
	}, f.owed(), "what the device should have is read once it can't change any more")
}

func TestMoreDevicesAreComparedThanWaitForEachOther(t *testing.T) {
	f := newFleet(t)
	f.linked(school)
	f.profile("standard", "IT")
	const devices = 2*store.SweepChunk + 1
	f.fetched(school, serials(devices)...)
	f.server(school, "standard")
	require.Equal(t, int64(devices), f.sweep(school))
	require.Len(t, f.owed(), devices)
	f.server(school, "")
	require.Zero(t, f.sweep(school))
	require.Empty(t, f.owed())
}

// Who had a device set up by a profile of its own is in its timeline, once for each time that it changed.
func TestWhoChoseTheProfileOfADeviceIsRecorded(t *testing.T) {
	f := newFleet(t)
	f.linked(school)
	f.profile("own", "IT")
	f.fetched(school, serials(1)...)
	chosen := func() (all []string) {
		events, err := f.Timeline(t.Context(), "C0000000", 0, 50)
		require.NoError(t, err)
		for _, e := range events {
			if e.Kind == provision.DeviceProfileChosen {
				require.Nil(t, e.DeliveredAt)
				require.Equal(t, provision.FromAPI, e.Source)
				var f provision.Fact
				require.NoError(t, json.Unmarshal(e.Payload, &f))
				all = append(all, e.Actor+" "+f.ABM.Profile)
			}
		}
		return all
	}
	before := f.device("C0000000")
	by := func(actor string) provision.Fact { return provision.Fact{Actor: actor, Source: provision.FromAPI} }
	require.NoError(t, f.SetDeviceProfile(t.Context(), "C0000000", "", by("tok-1")))
	require.Empty(t, chosen(), "it has none")
	require.NoError(t, f.SetDeviceProfile(t.Context(), "C0000000", "own", by("tok-1")))
	require.NoError(t, f.SetDeviceProfile(t.Context(), "C0000000", "own", by("tok-2")))
	require.NoError(t, f.SetDeviceProfile(t.Context(), "C0000000", "", by("tok-3")))
	require.Equal(t, []string{"tok-3 ", "tok-1 own"}, chosen())
	require.Equal(t, provision.NotFound, provision.CodeOf(f.SetDeviceProfile(t.Context(), "C0000000", "none", by("tok-4"))))
	require.Len(t, chosen(), 2)
	require.Equal(t, before, f.device("C0000000"), "it decides nothing")
}
