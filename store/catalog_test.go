package store_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/store"
)

var edit = store.Edit{By: provision.Fact{Actor: "tok_x", Source: provision.FromAPI}}

func put(t *testing.T, db *store.DB, group string, items ...provision.Item) {
	t.Helper()
	_, _, err := db.PutGroup(t.Context(), store.Group{Name: group, Items: items}, edit)
	require.NoError(t, err)
}

func upload(t *testing.T, db *store.DB, name, payload string) {
	t.Helper()
	_, _, err := db.PutConfiguration(t.Context(), store.ConfigurationUpload{Name: name, Identifier: "com.zylker." + name, Payload: []byte(payload)}, edit)
	require.NoError(t, err)
}

// life gives a device a random past; groups are what it may be assigned to.
func life(t *testing.T, db *store.DB, r *rand.Rand, serial string) {
	t.Helper()
	_, err := db.UpdateOrCreate(t.Context(), serial, func(ctx context.Context, c *store.Change) error {
		facts := []provision.Fact{
			{Kind: provision.Authenticated, Epoch: 1},
			{Kind: provision.Activated, Epoch: 1},
			{Kind: provision.Assigned, Assignment: &provision.Assignment{TechnicianID: tom, Groups: [][]string{{"all"}, {"some", "all"}, {"some"}, nil}[r.IntN(4)]}},
		}
		for _, f := range facts {
			if _, err := c.Record(ctx, f); err != nil {
				return err
			}
		}
		if r.IntN(3) == 0 {
			return nil
		}
		none := provision.Verdict{Total: 1}
		begun, err := c.Record(ctx, provision.Fact{Kind: provision.Provisioning, Epoch: 1, For: c.Device.Wanted(), Round: 1, Verdict: &none})
		if err != nil {
			return err
		}
		end := []provision.Kind{provision.Enrolled, provision.Stuck, provision.HoldRequest, provision.CheckedOut, provision.ReleaseRequest, provision.Released}
		_, err = c.Record(ctx, provision.Fact{Kind: end[r.IntN(len(end))], Epoch: 1, Plan: begun.ID, Reason: "by chance"})
		return err
	})
	require.NoError(t, err)
}

const tom = "per_tom"

// The row that a set-based edit leaves is the one that folding its facts one by one gives.
func TestEditOfTheCatalogFoldsAsEveryOtherFact(t *testing.T) {
	db := open(t)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	_, err := db.NanoMDM().ExecContext(t.Context(), `INSERT INTO public.people (id, name, domain, email, technician) VALUES ($1, 'TOM', 'MDM', 't@b.co', true)`, tom)
	require.NoError(t, err)
	upload(t, db, "wifi", "one")
	item := provision.Item{Key: provision.ItemKey{Kind: provision.ConfigurationItem, Name: "wifi"}, Stage: provision.Required}
	put(t, db, "all", item)
	put(t, db, "some")
	const n = 60
	for i := range n {
		life(t, db, r, fmt.Sprintf("SERIAL%04d", i))
	}
	upload(t, db, "wifi", "two") // tells those of "all"
	put(t, db, "some", item)     // tells those of "some"
	upload(t, db, "wifi", "three")
	put(t, db, "some", item) // changes nothing, tells nobody

	told := 0
	for i := range n {
		told += compareWithFacts(t, db, fmt.Sprintf("SERIAL%04d", i))
	}
	require.Positive(t, told)
}

// compareWithFacts folds a device's facts and compares the outcome with its row; it returns how many catalog changes it
// was told of.
func compareWithFacts(t *testing.T, db *store.DB, serial string) (told int) {
	t.Helper()
	events, err := db.Timeline(t.Context(), serial, 0, 500)
	require.NoError(t, err)
	model := provision.Device{Serial: serial}
	for i := len(events) - 1; i >= 0; i-- {
		var f provision.Fact
		require.NoError(t, json.Unmarshal(events[i].Payload, &f))
		f.ID = events[i].ID
		model = provision.Fold(model, f)
		if f.Kind == provision.CatalogChanged {
			told++
		}
	}
	row, err := db.DeviceRow(t.Context(), serial)
	require.NoError(t, err)
	want, err := json.Marshal(model)
	require.NoError(t, err)
	got, err := json.Marshal(row.Device)
	require.NoError(t, err)
	require.JSONEq(t, string(want), string(got))
	var status, blocked string
	var awaiting int
	err = db.NanoMDM().QueryRowContext(t.Context(), `SELECT status, blocked_by, cardinality(awaiting) FROM public.devices WHERE serial = $1`, serial).Scan(&status, &blocked, &awaiting)
	require.NoError(t, err)
	require.Equal(t, string(model.Status()), status)
	require.Equal(t, model.BlockedBy(), blocked)
	require.Len(t, model.Awaiting(), awaiting)
	require.Equal(t, expectedTold(model), told, "%s %s", serial, model.Status())
	return told
}

// expectedTold: "two" and "three" change wifi, which "all" brings from the beginning and "some" from its own edit on.
func expectedTold(d provision.Device) int {
	if d.Status() == provision.StatusReleased || d.Assignment == nil {
		return 0
	}
	in := map[string]bool{}
	for _, g := range d.Assignment.Groups {
		in[g] = true
	}
	switch {
	case in["all"] && in["some"]:
		return 3
	case in["all"], in["some"]:
		return 2
	}
	return 0
}

func TestEditTellsMoreDevicesThanFitIntoOneStep(t *testing.T) {
	db := open(t)
	upload(t, db, "wifi", "one")
	put(t, db, "all")
	const n = 2100
	_, err := db.NanoMDM().ExecContext(t.Context(), `
INSERT INTO public.devices (serial, state, status, awaiting, management, group_names)
SELECT s, jsonb_build_object('serial', s, 'assignment', jsonb_build_object('groups', jsonb_build_array('all'))), 'Awaiting',
    '{Awaiting Device Activation,Awaiting User Assignment}', 'staged', '{all}'
FROM (SELECT 'SERIAL' || lpad(i::text, 6, '0') AS s FROM generate_series(1, $1) i) x`, n)
	require.NoError(t, err)
	put(t, db, "all", provision.Item{Key: provision.ItemKey{Kind: provision.ConfigurationItem, Name: "wifi"}, Stage: provision.Required})
	var told, undelivered, bulk int
	err = db.NanoMDM().QueryRowContext(t.Context(), `
SELECT count(DISTINCT e.serial) FILTER (WHERE (d.state -> 'catalog' ->> 'by')::bigint = e.id), count(*) FILTER (WHERE e.deliver), count(*) FILTER (WHERE e.priority = 2)
FROM public.device_events e JOIN public.devices d ON d.serial = e.serial`).Scan(&told, &undelivered, &bulk)
	require.NoError(t, err)
	require.Equal(t, []int{n, n, n}, []int{told, undelivered, bulk})
}

func TestEditForAFewDevicesGoesBeforeABulk(t *testing.T) {
	o := newOffice(t, "drivers")
	op := o.upload(store.OpAssign, rows(100, "drivers"))
	_, err := o.ApplyImport(t.Context(), op.ID, store.ValidRows, "tok_1")
	require.NoError(t, err)
	require.Equal(t, store.OpDone, o.work(op.ID).State)
	require.Equal(t, 100, o.count(`device_events WHERE kind = 'assigned' AND priority = 1`), "so many may be chosen by hand")
	upload(t, o.DB, "wifi", "one")
	put(t, o.DB, "drivers", provision.Item{Key: provision.ItemKey{Kind: provision.ConfigurationItem, Name: "wifi"}, Stage: provision.Required})
	require.Equal(t, 100, o.count(`device_events WHERE kind = 'catalog_changed' AND priority = 1`))
}

func TestEditThatFailsTellsNobody(t *testing.T) {
	db := open(t)
	upload(t, db, "wifi", "one")
	put(t, db, "all")
	change(t, db, serial, provision.Fact{Kind: provision.Assigned, Assignment: &provision.Assignment{Groups: []string{"all"}}})
	_, _, err := db.PutGroup(t.Context(), store.Group{Name: "all", Items: []provision.Item{{Key: provision.ItemKey{Kind: provision.AppItem, Name: "none"}}}}, edit)
	require.Equal(t, provision.ItemNotFound, provision.CodeOf(err))
	stale := edit
	stale.If = store.Condition{Given: true, Versions: []int64{7}}
	_, _, err = db.PutGroup(t.Context(), store.Group{Name: "all", Description: "x"}, stale)
	require.Equal(t, provision.VersionConflict, provision.CodeOf(err))
	_, _, err = db.PutGroup(t.Context(), store.Group{Name: "all", Description: "x"}, edit)
	require.NoError(t, err)
	events, err := db.Timeline(t.Context(), serial, 0, 10)
	require.NoError(t, err)
	require.Len(t, events, 1, "not even a new description is a matter of devices")
	require.Equal(t, provision.InUse, provision.CodeOf(db.DeleteGroup(t.Context(), "all", store.Condition{})))
}

func TestWhatIsInUseIsCounted(t *testing.T) {
	db := open(t)
	upload(t, db, "wifi", "one")
	wifi := provision.Item{Key: provision.ItemKey{Kind: provision.ConfigurationItem, Name: "wifi"}, Stage: provision.Required}
	for n, sentences := range [][2]string{
		{`configuration/wifi is in group "group 0"; take it out of it first.`, `Group "group 0" is assigned to a device; assign it otherwise first.`},
		{`configuration/wifi is in 2 groups, such as "group 0"; take it out of them first.`, `Group "group 0" is assigned to 2 devices; assign them otherwise first.`},
	} {
		put(t, db, fmt.Sprintf("group %d", n), wifi)
		change(t, db, fmt.Sprintf("C07Q853LG9R%d", n), provision.Fact{Kind: provision.Assigned, Assignment: &provision.Assignment{Groups: []string{"group 0"}}})
		require.EqualError(t, db.DeleteConfiguration(t.Context(), "wifi", store.Condition{}), sentences[0])
		require.EqualError(t, db.DeleteGroup(t.Context(), "group 0", store.Condition{}), sentences[1])
	}
}
