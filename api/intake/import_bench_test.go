package intake_test

import (
	"bytes"
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/api/bulk"
	"github.com/muster-mdm/muster/api/intake"
	"github.com/muster-mdm/muster/devstack/stacktest"
	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/store"
)

// What a row of a file costs from the wire to its place in the database; `muster bench --rows e` has it beside encoding/csv
// and COPY.
func BenchmarkImport(b *testing.B) {
	const rows = 100_000
	db, err := store.Open(b.Context(), store.Config{URL: stacktest.Database(b, "muster", func(ctx context.Context, url string) error {
		_, err := store.Migrate(ctx, url)
		return err
	})})
	require.NoError(b, err)
	b.Cleanup(db.Close)
	use, err := intake.New(db, intake.Settings{})
	require.NoError(b, err)
	_, _, err = use.PutGroup(b.Context(), intake.Actor{}, store.Group{Name: "bench"}, store.Condition{})
	require.NoError(b, err)
	var file bytes.Buffer
	file.WriteString("Serial Number,User Name,Domain Name,Email Address,Group Name,Owned By\n")
	for i := range rows {
		fmt.Fprintf(&file, "C%09dX,User %d,MDM,user%d@zylker.com,bench,Corporate\n", i, i%1000, i%1000)
	}
	for b.Loop() {
		o, err := use.Import(b.Context(), intake.Actor{ID: "tok_1", Source: provision.FromAPI}, intake.ImportWish{Format: bulk.Assignments, Force: true}, bytes.NewReader(file.Bytes()))
		require.NoError(b, err)
		require.Equal(b, int64(rows), o.Total)
	}
	b.ReportMetric(float64(rows*b.N)/b.Elapsed().Seconds(), "rows/s")
}
