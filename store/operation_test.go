package store_test

import (
	"context"
	cryptorand "crypto/rand"
	"fmt"
	"math/rand/v2"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/store"
)

func TestAKilledImportGoesOnAndDoesEachRowOnce(t *testing.T) {
	for _, seed := range []uint64{1, 2} {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			const n, before = 8000, 60
			r := rand.New(rand.NewPCG(seed, 3))
			o := newOffice(t, "drivers", "office")
			former := map[string]*provision.Assignment{}
			for i := range before {
				former[deviceAt(i*7)] = o.assign(deviceAt(i*7), "office").Assignment
			}
			op := o.upload(store.OpAssign, rows(n, "Drivers"))
			require.Equal(t, store.OpReady, op.State)
			_, err := o.ApplyImport(t.Context(), op.ID, store.ValidRows, "tok_1")
			require.NoError(t, err)
			for range 3 {
				o.killed(r, op.ID, "changed")
			}
			op = o.work(op.ID)
			require.Equal(t, store.OpDone, op.State)
			require.Equal(t, []int64{n, 0, 0}, []int64{op.Changed, op.Unchanged, op.Refused})
			require.Equal(t, n, o.count("operation_results"))
			require.Equal(t, n, o.count("device_events WHERE payload ->> 'operation' = $1 AND kind = 'assigned' AND priority = 2", op.ID))
			require.Equal(t, n, o.count("devices d JOIN device_events e USING (serial) WHERE e.payload ->> 'operation' = $1 AND d.group_names = '{drivers}'", op.ID))
			require.Equal(t, 50, o.count("people"))
			o.refolds()

			changed := o.assign(deviceAt(3), "office")
			_, err = o.UndoOperation(t.Context(), op.ID, "tok_1")
			require.NoError(t, err)
			for range 3 {
				o.killed(r, op.ID, "restored")
			}
			op = o.work(op.ID)
			require.Equal(t, store.OpUndone, op.State)
			require.Equal(t, []int64{n - 1, 1}, []int64{op.Restored, op.Conflicts})
			for i := range n {
				if want, ok := former[deviceAt(i)]; ok {
					d, err := o.Device(t.Context(), deviceAt(i))
					require.NoError(t, err)
					require.Equal(t, want, d.Assignment)
				}
			}
			require.Equal(t, before+1, o.count("devices WHERE state ? 'assignment'"))
			require.Equal(t, n-before-1, o.count("devices WHERE status = 'Withdrawn' AND cardinality(awaiting) = 0"), "only the import knew them")
			require.Equal(t, n-before-1, o.count("device_events WHERE kind = 'withdrawn' AND payload ->> 'operation' = $1", op.ID), "each once")
			d, err := o.Device(t.Context(), deviceAt(3))
			require.NoError(t, err)
			require.Equal(t, changed.AssignmentMark, d.AssignmentMark, "what changed since is left alone")
			o.refolds()
		})
	}
}

func TestAllOrNothingIsNothing(t *testing.T) {
	o := newOffice(t, "drivers", "gone")
	file := rows(2500, "drivers")
	file[2300].Groups = []string{"gone"}
	op := o.upload(store.OpAssign, file)
	o.exec(`DELETE FROM groups WHERE name = 'gone'`)
	_, err := o.ApplyImport(t.Context(), op.ID, store.AllOrNothing, "tok_1")
	require.NoError(t, err)
	op = o.work(op.ID)
	require.Equal(t, store.OpFailed, op.State)
	require.Equal(t, &store.OperationFailure{Code: "group_not_found", Detail: `Group "gone" does not exist; create it first.`, Line: 2302, Serial: deviceAt(2300)}, op.Failure)
	require.Equal(t, int64(2000), op.Restored)
	require.Zero(t, o.count("devices WHERE state ? 'assignment'"))
	require.Equal(t, 2000, o.count("devices WHERE status = 'Withdrawn'"))
	_, err = o.UndoOperation(t.Context(), op.ID, "tok_1")
	require.Equal(t, store.OperationState, provision.CodeOf(err))

	file = rows(10, "drivers")
	file[4].Verdict = store.VerdictError
	op = o.upload(store.OpAssign, file)
	_, err = o.ApplyImport(t.Context(), op.ID, store.AllOrNothing, "tok_1")
	require.Equal(t, store.RowsInError, provision.CodeOf(err))
	_, err = o.ApplyImport(t.Context(), op.ID, store.ValidRows, "tok_1")
	require.NoError(t, err)
	op = o.work(op.ID)
	require.Equal(t, []int64{9, 0}, []int64{op.Changed, op.Refused})
	require.Zero(t, o.count("devices WHERE serial = $1 AND state ? 'assignment'", deviceAt(4)))
}

// A row that is refused leaves no trace, least of all a device that nobody has.
func TestRefusedRowsMakeNoDeviceKnown(t *testing.T) {
	o := newOffice(t, "drivers", "gone")
	file := rows(4, "drivers")
	file[1].Groups, file[2].Groups = []string{"gone"}, []string{"gone", "drivers"}
	known := o.assign(deviceAt(2), "drivers")
	op := o.upload(store.OpAssign, file)
	o.exec(`DELETE FROM groups WHERE name = 'gone'`)
	_, err := o.ApplyImport(t.Context(), op.ID, store.ValidRows, "tok_1")
	require.NoError(t, err)
	op = o.work(op.ID)
	require.Equal(t, []int64{2, 2}, []int64{op.Changed, op.Refused})
	list, err := o.OperationRows(t.Context(), op, store.RowFilter{Outcome: store.RowRefused, Limit: 10})
	require.NoError(t, err)
	require.Equal(t, []string{"group_not_found", "group_not_found"}, []string{list[0].Code, list[1].Code})
	_, err = o.Device(t.Context(), deviceAt(1))
	require.Equal(t, provision.DeviceNotFound, provision.CodeOf(err))
	d, err := o.Device(t.Context(), deviceAt(2))
	require.NoError(t, err)
	require.Equal(t, known.AssignmentMark, d.AssignmentMark)
	require.Equal(t, 3, o.count("devices"))

	wish := store.Wish{Groups: []string{"nothing"}, OwnedBy: provision.Corporate}
	op, err = o.CreateOperation(t.Context(), store.NewOperation{
		Kind: store.OpAssign, Request: store.OperationRequest{Wish: &wish}, Rows: []store.ImportRow{{Line: 1, Serial: deviceAt(7), Verdict: store.VerdictOK}},
	})
	require.NoError(t, err)
	op = o.work(op.ID)
	require.Equal(t, int64(1), op.Refused)
	require.Equal(t, 3, o.count("devices"))
}

// In the locale C PostgreSQL folds the letters of English alone. There, too, a group is found by its own name.
func TestGroupsAreFoundWhateverLettersTheDatabaseFolds(t *testing.T) {
	o := newOffice(t)
	name := "c_" + strings.ToLower(cryptorand.Text())
	o.exec(`CREATE DATABASE ` + name + ` TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C'`)
	t.Cleanup(func() {
		_, err := o.sql.Exec(context.Background(), `DROP DATABASE `+name+` WITH (FORCE)`)
		require.NoError(t, err)
	})
	at, err := url.Parse(o.url)
	require.NoError(t, err)
	at.Path = name
	require.NoError(t, migrate(t.Context(), at.String()))
	db, err := store.Open(t.Context(), store.Config{URL: at.String()})
	require.NoError(t, err)
	t.Cleanup(db.Close)
	_, _, err = db.PutGroup(t.Context(), store.Group{Name: "ÄRZTE"}, store.Edit{})
	require.NoError(t, err)
	d, err := db.Assign(t.Context(), deviceAt(1), store.Wish{Groups: []string{"ÄRZTE"}, OwnedBy: provision.Corporate}, func(ctx context.Context, c *store.Change, a provision.Assignment) error {
		_, err := c.Record(ctx, provision.Fact{Kind: provision.Assigned, Assignment: &a, Source: provision.FromAPI})
		return err
	})
	require.NoError(t, err)
	require.Equal(t, []string{"ÄRZTE"}, d.Assignment.Groups)
}

// Groups are what they are called, in any letter case: one that was deleted and made anew since is in force again by its new name.
func TestUndoGivesGroupsTheNamesTheyHaveNow(t *testing.T) {
	o := newOffice(t, "drivers", "office")
	o.assign(deviceAt(0), "office")
	op := o.upload(store.OpAssign, rows(1, "drivers"))
	_, err := o.ApplyImport(t.Context(), op.ID, store.ValidRows, "tok_1")
	require.NoError(t, err)
	o.work(op.ID)
	o.exec(`UPDATE groups SET name = 'Office' WHERE name = 'office'`)
	_, err = o.UndoOperation(t.Context(), op.ID, "tok_1")
	require.NoError(t, err)
	op = o.work(op.ID)
	require.Equal(t, []int64{1, 0}, []int64{op.Restored, op.Conflicts})
	require.Equal(t, 1, o.count("devices WHERE group_names = '{Office}'"))
	o.refolds()
}

// The timeline names who had a file applied, and who had that undone, not who uploaded it.
func TestFactsAreTheDoingOfWhoAskedForThem(t *testing.T) {
	o := newOffice(t, "drivers", "gone")
	actors := func() []string {
		rows, err := o.sql.Query(t.Context(), `SELECT actor FROM device_events ORDER BY id`)
		require.NoError(t, err)
		list, err := pgx.CollectRows(rows, pgx.RowTo[string])
		require.NoError(t, err)
		return list
	}
	op := o.upload(store.OpAssign, rows(1, "drivers"))
	_, err := o.ApplyImport(t.Context(), op.ID, store.ValidRows, "tok_2")
	require.NoError(t, err)
	o.work(op.ID)
	_, err = o.UndoOperation(t.Context(), op.ID, "tok_3")
	require.NoError(t, err)
	op = o.work(op.ID)
	require.Equal(t, []string{"tok_2", "tok_3"}, actors())
	require.Equal(t, []string{"tok_1", "tok_2", "tok_3"}, []string{op.Actor, op.Request.AppliedBy, op.Request.UndoneBy})

	file := rows(1001, "drivers")
	file[1000].Groups = []string{"gone"}
	op = o.upload(store.OpAssign, file)
	o.exec(`DELETE FROM groups WHERE name = 'gone'`)
	_, err = o.ApplyImport(t.Context(), op.ID, store.AllOrNothing, "tok_4")
	require.NoError(t, err)
	require.Equal(t, store.OpFailed, o.work(op.ID).State)
	list := actors()[2:]
	require.Len(t, list, 2000)
	require.Equal(t, []string{"tok_4"}, slices.Compact(list), "what fails is taken back by who had it applied")
}

// A month later nobody can say any more what a device was before; and a preview isn't worth anything.
func TestWhatWasPurgedCanNotBeUndone(t *testing.T) {
	o := newOffice(t, "drivers")
	op := o.upload(store.OpAssign, rows(3, "drivers"))
	_, err := o.ApplyImport(t.Context(), op.ID, store.ValidRows, "tok_1")
	require.NoError(t, err)
	op = o.work(op.ID)
	require.True(t, op.Undoable())
	forgotten := o.upload(store.OpUnassign, rows(2, "drivers"))
	o.exec(`UPDATE operations SET finished_at = now() - interval '1 year' WHERE id = $1`, op.ID)
	o.exec(`UPDATE operations SET created_at = now() - interval '1 year' WHERE id = $1`, forgotten.ID)
	gone, err := o.Purge(t.Context(), op.CreatedAt)
	require.NoError(t, err)
	require.Equal(t, store.Purged{Rows: 3}, gone)
	op, err = o.Operation(t.Context(), op.ID)
	require.NoError(t, err)
	require.False(t, op.Undoable())
	_, err = o.UndoOperation(t.Context(), op.ID, "tok_1")
	require.Equal(t, store.NotUndoable, provision.CodeOf(err))
	require.ErrorContains(t, err, "was deleted since")

	forgotten, err = o.Operation(t.Context(), forgotten.ID)
	require.NoError(t, err)
	require.Equal(t, store.OpCancelled, forgotten.State)
	_, err = o.ApplyImport(t.Context(), forgotten.ID, store.ValidRows, "tok_1")
	require.Equal(t, store.OperationState, provision.CodeOf(err))
	o.exec(`UPDATE operations SET finished_at = now() - interval '1 year' WHERE id = $1`, forgotten.ID)
	gone, err = o.Purge(t.Context(), op.CreatedAt)
	require.NoError(t, err)
	require.Equal(t, store.Purged{Rows: 2}, gone)
}

func TestRowsAboutOneDevice(t *testing.T) {
	o := newOffice(t, "drivers")
	file := rows(6, "drivers")
	file[1].Serial, file[1].Said = file[0].Serial, file[0].Said // says it again
	file[3].Serial, file[4].Serial = file[2].Serial, file[2].Serial
	file[4].Said = file[2].Said // one contradicts two that agree
	op := o.upload(store.OpAssign, file)
	require.Equal(t, []int64{6, 2, 1, 3}, []int64{op.Total, op.OK, op.Noticed, op.Wrong})
	require.Equal(t, map[string]int64{"serial_repeated": 1, "serial_conflict": 3}, op.Codes)
	list, err := o.OperationRows(t.Context(), op, store.RowFilter{Verdict: store.VerdictError, Limit: 10})
	require.NoError(t, err)
	var says []string
	for _, r := range list {
		says = append(says, fmt.Sprint(r.Line, " ", r.Problems[0].Detail))
	}
	require.Equal(t, []string{
		"4 Line 5 says something else of C07Q00000002; leave one of the two.",
		"5 Line 4 says something else of C07Q00000002; leave one of the two.",
		"6 Line 5 says something else of C07Q00000002; leave one of the two.",
	}, says)
	list, err = o.OperationRows(t.Context(), op, store.RowFilter{Code: "serial_repeated", Limit: 10})
	require.NoError(t, err)
	require.Len(t, list, 1)
	require.Equal(t, "Line 2 says the same of C07Q00000000.", list[0].Problems[0].Detail)
}

func TestOperationsPauseAndEnd(t *testing.T) {
	o := newOffice(t, "drivers")
	ctx := t.Context()
	op := o.upload(store.OpAssign, rows(3500, "drivers"))
	_, err := o.PauseOperation(ctx, op.ID, true)
	require.Equal(t, store.OperationState, provision.CodeOf(err))
	_, err = o.ApplyImport(ctx, op.ID, store.ValidRows, "tok_1")
	require.NoError(t, err)
	_, err = o.WorkOn(ctx)
	require.NoError(t, err)
	_, err = o.PauseOperation(ctx, op.ID, true)
	require.NoError(t, err)
	op = o.work(op.ID)
	require.True(t, op.Paused)
	require.Equal(t, int64(1000), op.Changed)
	_, err = o.PauseOperation(ctx, op.ID, false)
	require.NoError(t, err)
	_, err = o.WorkOn(ctx)
	require.NoError(t, err)
	op, err = o.CancelOperation(ctx, op.ID, "tok_1")
	require.NoError(t, err)
	require.Equal(t, store.OpCancelled, op.State)
	op = o.work(op.ID)
	require.Equal(t, int64(2000), op.Changed)
	require.Equal(t, 2000, o.count("devices"))
	_, err = o.UndoOperation(ctx, op.ID, "tok_1")
	require.NoError(t, err)
	op = o.work(op.ID)
	require.Equal(t, []any{store.OpUndone, int64(2000)}, []any{op.State, op.Restored})
}

func TestAFileIsTakenOnce(t *testing.T) {
	o := newOffice(t, "drivers")
	ctx := t.Context()
	again := func(force bool) error {
		u, err := o.BeginImport(ctx, store.NewImport{Kind: store.OpAssign, Source: provision.FromAPI})
		require.NoError(t, err)
		_, err = o.EndImport(ctx, u, store.Uploaded{File: store.ImportFile{SHA256: make([]byte, 32), Delimiter: ","}, Force: force})
		if err != nil {
			require.NoError(t, o.DropImport(ctx, u))
		}
		return err
	}
	require.NoError(t, again(false))
	err := again(false)
	require.Equal(t, store.ImportDuplicate, provision.CodeOf(err))
	require.Contains(t, err.Error(), "imp_")
	require.NoError(t, again(true))
	require.Equal(t, 2, o.count("operations"))
}

func TestAnUploadThatBrokeOffIsDropped(t *testing.T) {
	o := newOffice(t)
	u, err := o.BeginImport(t.Context(), store.NewImport{Kind: store.OpAssign, Source: provision.FromAPI})
	require.NoError(t, err)
	require.NoError(t, o.AppendRows(t.Context(), u, rows(10, "x")))
	did, err := o.WorkOn(t.Context())
	require.NoError(t, err)
	require.Empty(t, did, "it may still go on")
	o.exec(`UPDATE operations SET due_at = now() - interval '1 second'`)
	did, err = o.WorkOn(t.Context())
	require.NoError(t, err)
	require.Equal(t, u.ID, did)
	require.Zero(t, o.count("operations")+o.count("operation_rows"))
	require.Equal(t, store.OperationState, provision.CodeOf(o.AppendRows(t.Context(), u, rows(1, "x"))))
}

func TestReservations(t *testing.T) {
	o := newOffice(t, "drivers")
	op := o.upload(store.OpAssign, rows(3, "drivers"))
	_, err := o.ApplyImport(t.Context(), op.ID, store.ValidRows, "tok_1")
	require.NoError(t, err)
	o.work(op.ID)
	o.exec(`UPDATE devices SET expected_by = now() - interval '1 hour' WHERE serial = $1`, deviceAt(1))
	list, err := o.Reservations(t.Context(), store.ReservationFilter{Limit: 10})
	require.NoError(t, err)
	require.Len(t, list, 3)
	require.Equal(t, op.ID, list[0].AssignedIn)
	require.Equal(t, int64(2), list[0].AssignedLine)
	list, err = o.Reservations(t.Context(), store.ReservationFilter{Overdue: true, Limit: 10})
	require.NoError(t, err)
	require.Len(t, list, 1)
	for _, news := range []int{1, 0} { // it is told once and counted always
		total, told, err := o.OverdueReservations(t.Context())
		require.NoError(t, err)
		require.Equal(t, int64(1), total)
		require.Len(t, told, news)
	}
	_, err = o.Update(t.Context(), deviceAt(1), func(ctx context.Context, c *store.Change) error {
		_, err := c.Record(ctx, provision.Fact{Kind: provision.Authenticated, Epoch: 1})
		return err
	})
	require.NoError(t, err)
	total, _, err := o.OverdueReservations(t.Context())
	require.NoError(t, err)
	require.Zero(t, total)
	require.True(t, strings.HasPrefix(op.ID, "imp_"))

	// A day that somebody gave ends with the reservation.
	for n, end := range []func(context.Context, *store.Change) error{
		func(ctx context.Context, c *store.Change) error {
			_, err := c.Record(ctx, provision.Fact{Kind: provision.Unassigned})
			return err
		}, nil,
	} {
		serial := deviceAt(n * 2)
		o.exec(`UPDATE devices SET expected_by = now() - interval '1 hour', expected_alerted = true WHERE serial = $1`, serial)
		if end != nil {
			_, err = o.Update(t.Context(), serial, end)
			require.NoError(t, err)
		} else {
			file := o.upload(store.OpUnassign, []store.ImportRow{{Line: 2, Serial: serial, Verdict: store.VerdictOK, Record: []string{serial}}})
			_, err = o.ApplyImport(t.Context(), file.ID, store.ValidRows, "tok_1")
			require.NoError(t, err)
			require.Equal(t, int64(1), o.work(file.ID).Changed)
		}
		o.assign(serial, "drivers")
	}
	list, err = o.Reservations(t.Context(), store.ReservationFilter{Overdue: true, Limit: 10})
	require.NoError(t, err)
	require.Empty(t, list)
}

// An assignment for later may have come into force by itself since; that is still what the operation did.
func TestUndoTakesBackWhatHasComeIntoForce(t *testing.T) {
	o := newOffice(t, "drivers", "office")
	former := o.assign(deviceAt(0), "office").Assignment
	u, soon := personAt(1), o.Now().Add(time.Hour)
	op, err := o.CreateOperation(t.Context(), store.NewOperation{Kind: store.OpAssign, Rows: rows(3, ""), Source: provision.FromAPI, Request: store.OperationRequest{
		Wish: &store.Wish{User: &u, Groups: []string{"drivers"}, OwnedBy: provision.Corporate, Requirement: provision.RequireUser, EffectiveAt: &soon},
	}})
	require.NoError(t, err)
	op = o.work(op.ID)
	require.Equal(t, int64(3), op.Changed)
	for i := range 2 { // the time of the third hasn't come
		planned := o.device(deviceAt(i)).PlannedMark.By
		d, err := o.Carry(t.Context(), deviceAt(i), provision.Step{Do: provision.ConcludePlanned, Plan: planned})
		require.NoError(t, err)
		require.Equal(t, []string{"drivers"}, d.Assignment.Groups)
		require.NotEqual(t, planned, d.PlannedMark.By)
	}
	since := o.assign(deviceAt(1), "office")

	op = o.undone(op.ID)
	require.Equal(t, []int64{2, 1}, []int64{op.Restored, op.Conflicts})
	require.Equal(t, former, o.device(deviceAt(0)).Assignment)
	require.Equal(t, since.AssignmentMark, o.device(deviceAt(1)).AssignmentMark, "somebody said otherwise since")
	require.Equal(t, provision.StatusWithdrawn, o.device(deviceAt(2)).Status())
	o.refolds()
}
