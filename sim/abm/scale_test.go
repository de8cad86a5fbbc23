package abm_test

import (
	"runtime"
	"testing"

	"github.com/micromdm/nanodep/godep"
	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/sim/abm"
)

const fleet = 100_000

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// All devices come once, in order, by pages of a thousand, while requests fail; pages leave nothing behind in memory.
func TestAHundredThousandDevicesByPages(t *testing.T) {
	p := open(t, abm.Config{Seed: 11})
	serials := p.addNew(p.server.ID, fleet)
	d := p.link(p.server.ID, 10)
	d.fetch(godep.WithLimit(1))
	p.SetFaults(
		abm.Fault{Kind: abm.FaultError, Share: 0.05}, abm.Fault{Kind: abm.FaultTruncated, Share: 0.03},
		abm.Fault{Kind: abm.FaultReset, Share: 0.03}, abm.Fault{Kind: abm.FaultGarbage, Share: 0.03},
	)
	before := heap()
	var cursor string
	got, failed := 0, 0
	for more := true; more; {
		opts := []godep.DeviceRequestOption{godep.WithLimit(1000)}
		if cursor != "" {
			opts = append(opts, godep.WithCursor(cursor))
		}
		page, err := d.FetchDevices(t.Context(), name, opts...)
		if err != nil {
			failed++
			require.Less(t, failed, 100)
			continue // the same cursor again: nothing is missed, nothing comes twice
		}
		for _, one := range page.Devices {
			require.Equal(t, serials[got], one.SerialNumber)
			got++
		}
		cursor, more = page.Cursor, page.MoreToFollow
	}
	require.Equal(t, fleet, got)
	require.Positive(t, failed)
	require.Less(t, int64(heap())-int64(before), int64(8<<20), "heap after all pages")

	p.SetFaults()
	a := p.api(true)
	require.Equal(t, serials[:3000], walkSome(a, 3))
	require.NoError(t, p.Unassign(serials[:fleet-5]...))
	left, _ := d.all(1000)
	require.Equal(t, serials[fleet-5:], left, "dead entries don't fill pages")
}

func walkSome(a *axm, pages int) (ids []string) {
	path := "/v1/orgDevices?limit=1000"
	for range pages {
		var page many
		require.NoError(a.t, a.get(path, &page))
		for _, r := range page.Data {
			ids = append(ids, r.ID)
		}
		path = page.Links.Next[len(apple):]
	}
	return ids
}
