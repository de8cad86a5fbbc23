package intake_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/api/bulk"
	"github.com/muster-mdm/muster/api/intake"
	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/store"
)

// What a row of a file costs from the wire until it has its verdict; `muster bench --rows e` has it beside encoding/csv and
// COPY. The devices are unknown, or known and assigned to nobody, or Enrolled and assigned as the file says; "repeated" has some in
// twice.
func BenchmarkImport(b *testing.B) {
	const rows = 200_000
	for _, c := range []struct {
		name            string
		known, repeated int
		ok              int64
	}{{"unknown", 0, 0, 0}, {"known", rows, 0, rows}, {"enrolled", rows, 0, 0}, {"repeated", 0, 20, 0}} {
		b.Run(c.name, func(b *testing.B) {
			use, db, url := newIntakeAt(b, c.known)
			if c.name == "enrolled" {
				enrollAll(b, url)
			}
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
			require.Equal(b, []int64{rows, c.ok, int64(c.repeated)}, []int64{op.Total, op.OK, op.Codes["serial_repeated"]})
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

const enrolledStates = `
UPDATE devices d
SET user_id = 'usr_' || n % 1000,
    group_names = '{bench,bench-empty}',
    status = 'Enrolled',
    awaiting = '{}',
    management = 'managed',
    epoch = 1,
    state = $1::jsonb || jsonb_build_object('serial', serial, 'assignment', $1::jsonb -> 'assignment' || jsonb_build_object('user_id', 'usr_' || n % 1000))
FROM generate_series(0, 200000) AS n
WHERE d.serial = 'C' || lpad(n::text, 9, '0') || 'X'`

// enrollAll makes the devices Enrolled, each with the assignment that the file has for it.
func enrollAll(b *testing.B, url string) {
	b.Helper()
	var facts []provision.Fact
	for _, f := range []provision.Fact{
		{Kind: provision.ABMSeen, ABM: &provision.ABMFact{Server: "schools", State: provision.ABMPresent}},
		{Kind: provision.Assigned, Assignment: &provision.Assignment{Groups: []string{"bench", "bench-empty"}, OwnedBy: provision.Corporate, Requirement: provision.RequireUser}},
		{Kind: provision.Authenticated, Epoch: 1},
		{Kind: provision.Activated, Epoch: 1, AwaitingConfiguration: true},
		{Kind: provision.Provisioning, Epoch: 1, For: 4, Round: 1, Verdict: &provision.Verdict{Total: 5, RequiredLeft: 5}},
		{Kind: provision.SetupReleased, Epoch: 1},
		{Kind: provision.SetupFinished, Epoch: 1},
		{Kind: provision.Settled, Epoch: 1, Plan: 5, Verdict: &provision.Verdict{Total: 5}},
		{Kind: provision.Enrolled, Epoch: 1, Plan: 5},
	} {
		f.ID, f.At = int64(len(facts)+1), time.Date(2026, 3, 1, 12, 0, len(facts), 1000, time.UTC)
		facts = append(facts, f)
	}
	d := provision.FoldAll(provision.Device{}, facts...)
	d.Assignment.UserID = "usr_0"
	require.Equal(b, provision.StatusEnrolled, d.Status())
	state, err := json.Marshal(d)
	require.NoError(b, err)
	conn, err := pgx.Connect(b.Context(), url)
	require.NoError(b, err)
	defer func() { _ = conn.Close(context.Background()) }()
	_, err = conn.Exec(b.Context(), `INSERT INTO people (id, name, domain, email) SELECT 'usr_' || n, 'User ' || n, 'MDM', 'user' || n || '@zylker.com' FROM generate_series(0, 999) AS n`)
	require.NoError(b, err)
	_, err = conn.Exec(b.Context(), enrolledStates, state)
	require.NoError(b, err)
	_, err = conn.Exec(b.Context(), `VACUUM ANALYZE devices`)
	require.NoError(b, err)
}
