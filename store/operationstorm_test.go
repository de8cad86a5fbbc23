package store_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/store"
)

// expected are the refusals that people who get into each other's way may get.
var expected = map[provision.Code]bool{
	store.OperationState: true, store.NotUndoable: true, provision.GroupNotFound: true, provision.InUse: true,
}

// Several workers carry out two files about the same devices while people apply, pause, resume, cancel and undo them, assign devices by
// hand and delete a group and make it anew. Whoever comes first: each row is done once, and everything that is kept agrees.
func TestOperationsInAStorm(t *testing.T) {
	for range 2 {
		seed := rand.Uint64()
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) { storm(t, seed) })
	}
}

func storm(t *testing.T, seed uint64) {
	const devices, people, acts = 3000, 4, 40
	o := newOffice(t, "drivers", "office", "fleeting")
	for i := range 200 {
		o.assign(deviceAt(i*3), "office")
	}
	ids := []string{
		o.upload(store.OpAssign, rows(devices, "drivers")).ID,
		o.upload(store.OpAssign, rows(devices, "fleeting")).ID,
		o.upload(store.OpUnassign, rows(devices/2, "drivers")).ID,
	}
	ctx, done := context.WithCancel(t.Context())
	var workers, everybody sync.WaitGroup
	for range 3 {
		workers.Go(func() {
			for ctx.Err() == nil {
				if _, err := o.WorkOn(ctx); err != nil && ctx.Err() == nil {
					t.Errorf("a worker: %v", err)
				}
			}
		})
	}
	for n := range people {
		everybody.Go(func() {
			r := rand.New(rand.NewPCG(seed, uint64(n)))
			for range acts {
				if err := o.act(r, ids[r.IntN(len(ids))], devices); err != nil && !expected[provision.CodeOf(err)] {
					t.Errorf("somebody: %v", err)
				}
			}
		})
	}
	everybody.Wait()
	done()
	workers.Wait()
	for _, id := range ids {
		o.settled(id)
	}
	o.refolds()
	require.Zero(t, o.count(`devices d, unnest(d.group_names) AS g (name) WHERE NOT EXISTS (SELECT FROM groups WHERE name = g.name)`), "nobody is in a group that isn't there")
	require.Zero(t, o.count(`devices d WHERE NOT EXISTS (SELECT FROM device_events e WHERE e.serial = d.serial)`), "nothing is known of which nothing happened")
}

// act is something that a person does.
func (o *office) act(r *rand.Rand, id string, devices int) error {
	ctx := o.t.Context()
	var err error
	switch r.IntN(9) {
	case 0:
		_, err = o.ApplyImport(ctx, id, store.ValidRows, "tok_a")
	case 1:
		_, err = o.ApplyImport(ctx, id, store.AllOrNothing, "tok_b")
	case 2:
		_, err = o.PauseOperation(ctx, id, true)
	case 3, 4:
		_, err = o.PauseOperation(ctx, id, false)
	case 5:
		if r.IntN(4) == 0 {
			_, err = o.CancelOperation(ctx, id, "tok_c")
		}
	case 6:
		_, err = o.UndoOperation(ctx, id, "tok_d")
	case 7:
		if err = o.DeleteGroup(ctx, "fleeting", store.Condition{}); err == nil {
			_, _, err = o.PutGroup(ctx, store.Group{Name: "Fleeting"}, store.Edit{})
		}
	case 8:
		u := personAt(r.IntN(5))
		w := store.Wish{User: &u, Groups: []string{"office"}, OwnedBy: provision.Corporate, Requirement: provision.RequireUser}
		_, err = o.Assign(ctx, deviceAt(r.IntN(devices)), w, func(ctx context.Context, c *store.Change, a provision.Assignment) error {
			_, err := c.Record(ctx, provision.Fact{Kind: provision.Assigned, Assignment: &a, Source: provision.FromAPI})
			return err
		})
	}
	return err
}

// settled brings an operation to its end, and holds what it says of itself against what it did.
func (o *office) settled(id string) {
	o.t.Helper()
	op := o.work(id)
	if op.Paused {
		_, err := o.PauseOperation(o.t.Context(), id, false)
		require.NoError(o.t, err)
		op = o.work(id)
	}
	var number int64
	require.NoError(o.t, o.sql.QueryRow(o.t.Context(), `SELECT number FROM operations WHERE id = $1`, id).Scan(&number))
	outcomes := func(condition string) int64 {
		return int64(o.count(`operation_results WHERE operation = $1 AND `+condition, number))
	}
	says := fmt.Sprintf("%s is %s", id, op.State)
	o.t.Logf("%s: %d changed, %d unchanged, %d refused, %d restored, %d conflicts", says, op.Changed, op.Unchanged, op.Refused, op.Restored, op.Conflicts)
	require.Equal(o.t, []int64{op.Changed, op.Unchanged, op.Refused},
		[]int64{outcomes(`outcome = 'changed'`), outcomes(`outcome = 'unchanged'`), outcomes(`outcome = 'refused'`)}, says)
	require.Equal(o.t, []int64{op.Restored, op.Conflicts}, []int64{outcomes(`undo = 'restored'`), outcomes(`undo = 'conflict'`)}, says)
	switch op.State {
	case store.OpDone:
		require.Equal(o.t, op.Total, op.Changed+op.Unchanged+op.Refused, says)
	case store.OpUndone, store.OpFailed:
		require.Equal(o.t, op.Changed, op.Restored+op.Conflicts, says)
	case store.OpReady, store.OpCancelled:
	default:
		require.Fail(o.t, says)
	}
	done := `device_events e WHERE e.payload ->> 'operation' = $1 AND coalesce(e.payload ->> 'reason', '') <> 'It was undone.'`
	require.Equal(o.t, int(op.Changed), o.count(done, id), "each row that changed a device made one fact: %s", says)
	require.Equal(o.t, int(op.Changed), o.count(`(SELECT DISTINCT e.payload ->> 'line' FROM `+done+`) AS lines`, id), says)
	require.Equal(o.t, int(op.Restored), o.count(`device_events e WHERE e.payload ->> 'operation' = $1 AND e.payload ->> 'reason' = 'It was undone.'`, id), says)
}
