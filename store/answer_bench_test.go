package store_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/provision"
)

// BenchmarkAnswer is what one answer of a device costs on top of NanoMDM's own storage; RetrieveNextCommand beside it is
// what NanoMDM itself pays for one of its statements.
func BenchmarkAnswer(b *testing.B) {
	f := newFleet(b)
	var items []string
	for i := range 20 {
		name := fmt.Sprint("c", i)
		f.configuration(name, 1, name)
		items = append(items, name)
	}
	f.group("g", items...)
	b.Run("answer", func(b *testing.B) {
		var uuids []string
		for n := 0; b.Loop(); n++ {
			if len(uuids) == 0 {
				b.StopTimer()
				uuids = f.commands(fmt.Sprintf("S%09d", n), fmt.Sprint("U", b.N, "-", n))
				b.StartTimer()
			}
			uuid := uuids[0]
			uuids = uuids[1:]
			_, err := f.Answer(context.Background(), uuid, acknowledged, nil)
			require.NoError(b, err)
		}
	})
	p := f.boot("T00000000", "T0", false)
	b.Run("RetrieveNextCommand", func(b *testing.B) {
		for b.Loop() {
			_, err := p.mdm.RetrieveNextCommand(p.request(), false)
			require.NoError(b, err)
		}
	})
}

// commands plans a new device and returns the UUIDs of its installs.
func (f *fleet) commands(serial, udid string) []string {
	f.assign(serial, "g")
	f.boot(serial, udid, false)
	f.apply(serial, 0, 1)
	rows, err := f.sql.Query(f.t.Context(), `SELECT command_uuid FROM device_commands WHERE serial = $1 AND request_type = $2`, serial, provision.InstallProfile)
	require.NoError(f.t, err)
	uuids, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(f.t, err)
	return uuids
}
