package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/store"
)

// crowd is a register of many devices, and a Temporal that runs every third of them.
type crowd struct {
	rows    []store.DeviceRow
	fail    error
	asked   int
	resumed map[string]int
}

func newCrowd(n int) *crowd {
	c := &crowd{resumed: map[string]int{}}
	for i := range n {
		row := store.DeviceRow{UpdatedAt: time.Now().Add(-time.Hour)}
		row.Serial = fmt.Sprintf("F4K%07d", i)
		if i%7 != 0 { // the others are only registered
			row.AssignmentMark = provision.Mark{By: 1}
		}
		if i%5 == 0 {
			row.UpdatedAt = time.Now()
		}
		c.rows = append(c.rows, row)
	}
	return c
}

// Devices implements register.
func (c *crowd) Devices(_ context.Context, f store.DeviceFilter) ([]store.DeviceRow, error) {
	var page []store.DeviceRow
	for _, row := range c.rows {
		if row.Serial > f.After && len(page) < f.Limit {
			page = append(page, row)
		}
	}
	return page, nil
}

// Running implements resumer.
func (c *crowd) Running(_ context.Context, serials []string) (map[string]bool, error) {
	c.asked++
	running := map[string]bool{}
	for _, serial := range serials {
		running[serial] = (serial[9]-'0')%3 == 0
	}
	return running, c.fail
}

// Resume implements resumer.
func (c *crowd) Resume(_ context.Context, d provision.Device) error {
	c.resumed[d.Serial]++
	return c.fail
}

func TestReconcileInBatches(t *testing.T) {
	c := newCrowd(2*reconcileBatch + 1)
	r := newReconciler(c, c, Config{Reconcile: reconcileEvery, Log: slog.New(slog.DiscardHandler)})
	require.NoError(t, r.round(t.Context()))
	require.Equal(t, 3, c.asked)
	for i, row := range c.rows {
		want := 1
		if i%7 == 0 || i%5 == 0 || i%10%3 == 0 {
			want = 0
		}
		require.Equal(t, want, c.resumed[row.Serial], row.Serial)
	}
	c.fail = errors.New("temporal is down")
	require.Error(t, r.round(t.Context()))
	require.Equal(t, 4, c.asked, "the rest waits for the next round")
}
