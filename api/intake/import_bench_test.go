package intake_test

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/api/bulk"
	"github.com/muster-mdm/muster/api/intake"
	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/store"
)

// What a row of a file costs from the wire until it has its verdict; `muster bench --rows e` has it beside encoding/csv and
// COPY. The devices are unknown, or known and assigned to nobody; "repeated" has some in twice.
func BenchmarkImport(b *testing.B) {
	const rows = 200_000
	for _, c := range []struct {
		name            string
		known, repeated int
	}{{"unknown", 0, 0}, {"known", rows, 0}, {"repeated", 0, 20}} {
		b.Run(c.name, func(b *testing.B) {
			use, db := newIntake(b, c.known)
			file := assignments(rows, c.repeated)
			var op store.Operation
			for b.Loop() {
				var err error
				op, err = use.Import(b.Context(), intake.Actor{ID: "tok_1", Source: provision.FromAPI}, intake.ImportWish{Format: bulk.Assignments, Force: true}, bytes.NewReader(file))
				require.NoError(b, err)
				_, err = db.WorkOn(b.Context())
				require.NoError(b, err)
			}
			op, err := db.Operation(b.Context(), op.ID)
			require.NoError(b, err)
			require.Equal(b, store.OpReady, op.State)
			require.Equal(b, []int64{rows, int64(c.known), int64(c.repeated)}, []int64{op.Total, op.OK, op.Codes["serial_repeated"]})
			b.ReportMetric(b.Elapsed().Seconds()*1e6/float64(rows*b.N), "µs/row")
		})
	}
}

// assignments is a file of so many rows, of which the last say again what the first ones say.
func assignments(rows, repeated int) []byte {
	var file bytes.Buffer
	file.WriteString("Serial Number,User Name,Domain Name,Email Address,Group Name,Owned By\n")
	for i := range rows {
		n := i % (rows - repeated)
		fmt.Fprintf(&file, "C%09dX,User %d,MDM,user%d@zylker.com,bench/bench-empty,Corporate\n", n, n%1000, n%1000)
	}
	return file.Bytes()
}
