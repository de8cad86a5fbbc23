package store_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/store"
)

// plan is how PostgreSQL would find what is asked for, if there were much of it.
func (o *office) plan(query string) string {
	o.t.Helper()
	o.exec(`SET enable_seqscan = off; SET enable_sort = off`)
	rows, err := o.sql.Query(o.t.Context(), `EXPLAIN `+query)
	require.NoError(o.t, err)
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(o.t, err)
	return strings.Join(lines, "\n")
}

// Undo takes back that a serial number is known, unless somebody else got to know it in between.
func TestUndoWithdrawsWhatOnlyTheImportKnew(t *testing.T) {
	o := newOffice(t, "drivers")
	o.record(deviceAt(1), provision.Fact{Kind: provision.Registered})
	o.record(deviceAt(2), provision.Fact{Kind: provision.Registered}, provision.Fact{Kind: provision.Withdrawn})
	op := o.imported(8)
	o.record(deviceAt(3), provision.Fact{Kind: provision.ABMSeen, ABM: &provision.ABMFact{Server: "a", State: provision.ABMPresent}})
	o.record(deviceAt(4), provision.Fact{Kind: provision.Authenticated, Epoch: 1})
	o.record(deviceAt(5), provision.Fact{Kind: provision.HoldRequest, Reason: "waits for a case"})
	o.assign(deviceAt(6), "drivers")
	o.record(deviceAt(7), provision.Fact{Kind: provision.Withdrawn, Actor: "somebody"})
	op = o.undone(op.ID)
	require.Equal(t, store.OpUndone, op.State)
	require.Equal(t, []int64{7, 1}, []int64{op.Restored, op.Conflicts})
	for n, status := range []provision.Status{
		provision.StatusWithdrawn, provision.StatusAwaiting, provision.StatusWithdrawn, provision.StatusAwaiting, provision.StatusAwaiting,
		provision.StatusAwaiting, provision.StatusAwaiting, provision.StatusWithdrawn,
	} {
		d := o.device(deviceAt(n))
		require.Equal(t, status, d.Status(), n)
		require.Equal(t, n == 6, d.Assignment != nil, n)
	}
	require.True(t, o.device(deviceAt(5)).OnHold, "whoever holds it means a device that there is")
	o.refolds()

	list, err := o.Devices(t.Context(), store.DeviceFilter{Limit: 10})
	require.NoError(t, err)
	require.Len(t, list, 5, "withdrawn ones are listed only when they are asked for")
	list, err = o.Devices(t.Context(), store.DeviceFilter{Statuses: []string{"Withdrawn"}, Limit: 10})
	require.NoError(t, err)
	require.Len(t, list, 3)
	require.Equal(t, 1, o.count("device_events WHERE serial = $1 AND kind = 'withdrawn'", deviceAt(7)), "once is enough")
	reserved, err := o.Reservations(t.Context(), store.ReservationFilter{Limit: 10})
	require.NoError(t, err)
	require.Len(t, reserved, 1)
	facts, err := o.Timeline(t.Context(), deviceAt(0), 0, 10)
	require.NoError(t, err)
	require.Equal(t, []provision.Kind{provision.Withdrawn, provision.Assigned}, []provision.Kind{facts[0].Kind, facts[1].Kind})

	again := o.imported(1)
	require.Equal(t, int64(1), again.Changed)
	require.Equal(t, provision.StatusAwaiting, o.device(deviceAt(0)).Status())
	o.undone(again.ID)
	require.Equal(t, provision.StatusWithdrawn, o.device(deviceAt(0)).Status(), "each life of it that only an import knew")
	o.refolds()
}

// What was said of a mistyped serial number isn't said of a device that comes under it later.
func TestWithdrawnLeavesNothingToTheNext(t *testing.T) {
	o := newOffice(t, "drivers")
	o.assign(deviceAt(0), "drivers")
	o.exec(`INSERT INTO device_profiles (name, activation_mode, fields, created_at, updated_at) VALUES ('kiosk', 'by_admin', '{}', now(), now())`)
	o.exec(`UPDATE devices SET expected_by = now(), expected_alerted = true, device_profile = 'kiosk', name = 'Lobby', model = 'iPad'`)
	d := o.record(deviceAt(0), provision.Fact{Kind: provision.Withdrawn})
	require.Equal(t, provision.StatusWithdrawn, d.Status())
	require.Equal(t, 1, o.count(`devices WHERE expected_by IS NULL AND NOT expected_alerted AND device_profile IS NULL AND name = '' AND model = ''
		AND user_id IS NULL AND group_names = '{}'`))
	_, err := o.Entrant(t.Context(), deviceAt(0))
	require.Equal(t, provision.DeviceNotFound, provision.CodeOf(err), "it is not let in")
	require.Contains(t, o.plan(`SELECT serial FROM devices d WHERE d.serial > 'A' AND d.status <> 'Withdrawn' ORDER BY d.serial LIMIT 50`), "devices_shown")
	o.exec(`DELETE FROM groups WHERE name = 'drivers'`)
}

func TestWithdrawMany(t *testing.T) {
	o := newOffice(t, "drivers")
	for n := range 3 {
		o.assign(deviceAt(n), "drivers")
	}
	o.record(deviceAt(1), provision.Fact{Kind: provision.ABMSeen, ABM: &provision.ABMFact{Server: "a", State: provision.ABMPresent}})
	o.record(deviceAt(2), provision.Fact{Kind: provision.Withdrawn})
	op, err := o.CreateOperation(t.Context(), store.NewOperation{Kind: store.OpWithdraw, Rows: rows(4, ""), Source: provision.FromAPI})
	require.NoError(t, err)
	op = o.work(op.ID)
	require.Equal(t, []int64{1, 1, 2}, []int64{op.Changed, op.Unchanged, op.Refused})
	list, err := o.OperationRows(t.Context(), op, store.RowFilter{Outcome: store.RowRefused, Limit: 10})
	require.NoError(t, err)
	require.Equal(t, []string{"device_not_withdrawable", "device_not_found"}, []string{list[0].Code, list[1].Code})
	_, err = o.UndoOperation(t.Context(), op.ID, "tok_1")
	require.Equal(t, store.NotUndoable, provision.CodeOf(err))
}

// A row that is refused makes no device known.
func TestRefusedRowsLeaveNoDevices(t *testing.T) {
	o := newOffice(t, "drivers", "gone")
	file := rows(3, "drivers")
	file[1].Groups = []string{"gone"}
	op := o.upload(store.OpAssign, file)
	o.exec(`DELETE FROM groups WHERE name = 'gone'`)
	_, err := o.ApplyImport(t.Context(), op.ID, store.ValidRows, "tok_1")
	require.NoError(t, err)
	op = o.work(op.ID)
	require.Equal(t, []int64{2, 1}, []int64{op.Changed, op.Refused})
	require.Equal(t, 2, o.count("devices"))
}

// A signal by hand to a workflow that is about to end doesn't bring a withdrawn device back; an assignment does.
func TestByHandOnAWithdrawnDevice(t *testing.T) {
	o := newOffice(t, "drivers")
	o.assign(deviceAt(0), "drivers")
	o.record(deviceAt(0), provision.Fact{Kind: provision.Withdrawn})
	_, err := o.RecordByHand(t.Context(), deviceAt(0), "k1", provision.Fact{Kind: provision.HoldRequest, Reason: "x"})
	require.Equal(t, provision.DeviceNotFound, provision.CodeOf(err))
	d, err := o.RecordByHand(t.Context(), deviceAt(0), "k2", provision.Fact{Kind: provision.Assigned, Assignment: &provision.Assignment{Groups: []string{"drivers"}}})
	require.NoError(t, err)
	require.Equal(t, provision.StatusAwaiting, d.Status())
}

// The version before knows no withdrawn devices; a way back leaves it nothing that it couldn't read.
func TestWayBackFromWithdrawing(t *testing.T) {
	const before = 13
	o := newOffice(t, "drivers")
	o.assign(deviceAt(0), "drivers")
	op, err := o.CreateOperation(t.Context(), store.NewOperation{Kind: store.OpWithdraw, Rows: rows(1, ""), Source: provision.FromAPI})
	require.NoError(t, err)
	o.work(op.ID)
	require.Equal(t, provision.StatusWithdrawn, o.device(deviceAt(0)).Status())
	require.NoError(t, store.MigrateTo(t.Context(), o.url, before))
	require.Equal(t, 1, o.count(`devices WHERE status = 'Awaiting' AND cardinality(awaiting) = 2`))
	require.Zero(t, o.count("operations")+o.count("operation_pages")+o.count("operation_results"))
	_, err = store.Migrate(t.Context(), o.url)
	require.NoError(t, err)
}

// What a row is judged by is the same as what all of the device would say.
func TestRowStandingsSayWhatTheWholeDeviceSays(t *testing.T) {
	o := newOffice(t, "drivers")
	later, back := o.Now().Add(time.Hour).UTC(), o.Now().Add(48*time.Hour).UTC()
	for n, facts := range [][]provision.Fact{
		{{Kind: provision.Registered}},
		{{Kind: provision.Registered}, {Kind: provision.ReleaseRequest, Reason: provision.EndOfLife}},
		{{Kind: provision.Registered}, {Kind: provision.ReleaseRequest, Reason: provision.EndOfLife}, {Kind: provision.CancelRelease}},
		{{Kind: provision.Registered}, {Kind: provision.Released}},
		{{Kind: provision.Registered}, {Kind: provision.Withdrawn}},
		{{Kind: provision.Assigned, Assignment: &provision.Assignment{Groups: []string{"drivers"}, OwnedBy: provision.Personal, ReturnBy: &back}}},
		{{Kind: provision.Assigned, Assignment: &provision.Assignment{Groups: []string{"drivers"}, EffectiveAt: &later}}},
		{{Kind: provision.Authenticated, Epoch: 1}, {Kind: provision.Activated, Epoch: 1}, {Kind: provision.HoldRequest, Reason: "x"}},
		{},
	} {
		o.record(deviceAt(n), facts...)
	}
	o.assign(deviceAt(20), "drivers")
	serials := []string{deviceAt(0), deviceAt(1), deviceAt(2), deviceAt(3), deviceAt(4), deviceAt(5), deviceAt(6), deviceAt(7), deviceAt(8), deviceAt(9), deviceAt(20)}
	whole, err := o.Standings(t.Context(), serials)
	require.NoError(t, err)
	require.Len(t, whole, 10)
	part, err := o.RowStandings(t.Context(), serials)
	require.NoError(t, err)
	for serial, w := range whole {
		p, found := part[serial]
		require.Equal(t, !w.Unknown(), found, serial)
		if !found {
			continue
		}
		require.Equal(t, w.CheckAssign(), p.CheckAssign(), serial)
		require.Equal(t, w.Assignment, p.Assignment, serial)
		require.Equal(t, w.Planned, p.Planned, serial)
		require.Equal(t, w.User, p.User, serial)
	}
	require.Len(t, part, 8)
	require.Equal(t, "User 0", part[deviceAt(20)].User.Name)
}

// A withdrawn serial number that Apple lists is a new device, with the model that Apple says.
func TestWithdrawnDeviceIsListedByApple(t *testing.T) {
	f := newFleet(t)
	f.linked("school")
	f.group("sales")
	f.assign(serial, "sales")
	_, err := f.Update(t.Context(), serial, func(ctx context.Context, c *store.Change) error {
		_, err := c.Record(ctx, provision.Fact{Kind: provision.Withdrawn})
		return err
	})
	require.NoError(t, err)
	f.fetched("school", serial)
	require.Equal(t, "present school", f.stands(serial))
	require.Equal(t, []string{provision.AwaitingActivation, provision.AwaitingAssignment}, f.device(serial).Labels())
	require.Equal(t, 1, f.count(`devices WHERE model = 'iPad'`))
}
