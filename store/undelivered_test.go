package store_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/provision"
)

// A fact of one device waits behind those of an import; what is urgent for a device takes its others along.
func TestUndeliveredOfADevice(t *testing.T) {
	o := newOffice(t, "drivers")
	u, err := o.UndeliveredOf(t.Context(), deviceAt(0))
	require.NoError(t, err)
	require.Zero(t, u)
	o.imported(150)
	u, err = o.UndeliveredOf(t.Context(), deviceAt(149))
	require.NoError(t, err)
	require.False(t, u.Since.IsZero())
	require.Zero(t, u.Ahead, "not counted before anybody would be told")

	o.exec(`UPDATE device_events SET created_at = created_at - interval '1 minute'`)
	ahead := func(n, want int) {
		t.Helper()
		u, err := o.UndeliveredOf(t.Context(), deviceAt(n))
		require.NoError(t, err)
		require.Equal(t, want, u.Ahead)
		require.False(t, u.Refused || u.Failed)
		require.Len(t, u.Explain(o.Now()), 1)
	}
	ahead(149, 149)
	ahead(0, 0)
	o.record(deviceAt(149), provision.Fact{Kind: provision.HoldRequest, Reason: "now"})
	ahead(149, 0)
	ahead(148, 149)

	_, err = o.ClaimFacts(t.Context(), 1, func(_ context.Context, devices [][]provision.Delivery) provision.Receipt {
		return provision.Receipt{Refused: map[int64]string{devices[0][0].Fact.ID: "no"}}
	})
	require.NoError(t, err)
	u, err = o.UndeliveredOf(t.Context(), deviceAt(149))
	require.NoError(t, err)
	require.True(t, u.Refused)
	require.False(t, u.Failed)
	_, err = o.ClaimFacts(t.Context(), 500, func(_ context.Context, devices [][]provision.Delivery) provision.Receipt {
		var r provision.Receipt
		for _, facts := range devices {
			if facts[0].Serial == deviceAt(0) {
				r.Later = append(r.Later, facts[0].Fact.ID)
				continue
			}
			for _, f := range facts {
				r.Delivered = append(r.Delivered, f.Fact.ID)
			}
		}
		return r
	})
	require.NoError(t, err)
	u, err = o.UndeliveredOf(t.Context(), deviceAt(0))
	require.NoError(t, err)
	require.True(t, u.Failed)
	u, err = o.UndeliveredOf(t.Context(), deviceAt(1))
	require.NoError(t, err)
	require.Zero(t, u)
}
