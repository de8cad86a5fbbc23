package intake_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/api/bulk"
	"github.com/muster-mdm/muster/api/intake"
	"github.com/muster-mdm/muster/devstack/stacktest"
	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/store"
)

// newIntake is a database with two groups and so many devices.
func newIntake(t testing.TB, devices int) (*intake.Intake, *store.DB) {
	t.Helper()
	use, db, _ := newIntakeAt(t, devices)
	return use, db
}

func newIntakeAt(t testing.TB, devices int) (use *intake.Intake, db *store.DB, url string) {
	t.Helper()
	url = stacktest.Database(t, "muster", func(ctx context.Context, url string) error {
		_, err := store.Migrate(ctx, url)
		return err
	})
	db, err := store.Open(t.Context(), store.Config{URL: url})
	require.NoError(t, err)
	t.Cleanup(db.Close)
	use, err = intake.New(db, intake.Settings{})
	require.NoError(t, err)
	for _, name := range []string{"bench", "bench-empty"} {
		_, _, err = use.PutGroup(t.Context(), intake.Actor{}, store.Group{Name: name}, store.Edit{})
		require.NoError(t, err)
	}
	conn, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	defer func() { _ = conn.Close(context.Background()) }()
	for _, sql := range []string{
		fmt.Sprintf(`
INSERT INTO devices (serial, status, awaiting, management, state)
SELECT 'C' || lpad(n::text, 9, '0') || 'X', 'Awaiting', '{Awaiting User Assignment}', 'unmanaged', jsonb_build_object('serial', 'C' || lpad(n::text, 9, '0') || 'X',
    'known', jsonb_build_object('by', n + 1))
FROM generate_series(0, %d) AS n`, devices-1), `ANALYZE devices`,
	} {
		_, err = conn.Exec(t.Context(), sql)
		require.NoError(t, err)
	}
	return use, db, url
}

// mixedFile has rows of all sorts: right ones, and others with something to know about them or wrong with them.
func mixedFile(r *rand.Rand, rows int) []byte {
	var b bytes.Buffer
	b.WriteString("Serial Number,User Name,Domain Name,Email Address,Group Name,Owned By,Notes\n")
	for i := range rows {
		serial, user, group, notes := fmt.Sprintf("C%09dX", i), fmt.Sprint("User ", i), "bench/bench-empty", fmt.Sprint("note ", i)
		switch r.IntN(20) {
		case 0:
			serial = strings.ToLower(serial)
		case 1:
			serial = "C07Q"
		case 2:
			group = fmt.Sprint("bench/unknown ", i%7)
		case 3:
			user = fmt.Sprintf("\"Zoë, %d\"", i)
		case 4:
			notes = strings.Repeat("long ", r.IntN(2000))
		case 5:
			notes = fmt.Sprintf("\"two\nlines %d\"", i)
		case 6:
			b.WriteString("\n")
		case 7:
			user = ""
		}
		fmt.Fprintf(&b, "%s,%s,MDM,user%d@zylker.com,%s,Corporate,%s\n", serial, user, i, group, notes)
	}
	return b.Bytes()
}

// What is kept of each row is what stands in the file and what the reader thinks of it, however the file comes in and however
// many rows there are: memory is used again while rows are on their way.
func TestEachRowOfALargeFileIsKeptAsItIs(t *testing.T) {
	const rows, known = 45_000, 30_000
	seed := rand.Uint64()
	use, db := newIntake(t, known)
	file := mixedFile(rand.New(rand.NewPCG(seed, 14)), rows)
	op, err := use.Import(t.Context(), intake.Actor{ID: "tok_1", Source: provision.FromAPI}, intake.ImportWish{Format: bulk.Assignments}, iotest.HalfReader(bytes.NewReader(file)))
	require.NoError(t, err)
	reader, err := bulk.Open(bytes.NewReader(file), bulk.Assignments)
	require.NoError(t, err)
	codes := map[string]int64{}
	n := 0
	require.NoError(t, db.EachRow(t.Context(), op, func(got store.OperationRow) error {
		want, err := reader.Next()
		require.NoError(t, err)
		want.CheckGroups(func(name string) bool { return strings.HasPrefix(name, "bench") })
		says := fmt.Sprintf("seed %d, line %d", seed, want.Line)
		require.Equal(t, int64(want.Line), got.Line, says)
		require.True(t, slices.Equal(want.Record, got.Record), says)
		require.Equal(t, want.Assignment.Serial, got.Serial, says)
		require.Equal(t, want.Assignment.User, got.User, says)
		require.Equal(t, want.Assignment.Groups, got.Groups, says)
		standing := ""
		if device := got.Serial != "" && got.Serial < fmt.Sprintf("C%09dX", known); want.Verdict != bulk.Fault && !device {
			standing = string(intake.Reservation)
			want.Verdict = bulk.Notice
		}
		require.Equal(t, standing, got.Standing, says)
		require.Equal(t, string(want.Verdict), got.Verdict, says)
		require.Len(t, got.Problems, len(want.Problems), says)
		for i, p := range want.Problems {
			require.Equal(t, string(p.Code)+p.Detail, got.Problems[i].Code+got.Problems[i].Detail, says)
		}
		for _, code := range bulk.Codes(want.Problems) {
			codes[string(code)]++
		}
		if standing != "" {
			codes[standing]++
		}
		n++
		return nil
	}))
	_, err = reader.Next()
	require.ErrorIs(t, err, io.EOF, "no row is missing")
	require.Equal(t, rows, n)
	require.Equal(t, []int64{rows, rows}, []int64{op.Total, op.OK + op.Noticed + op.Wrong})
	require.Equal(t, codes, op.Codes)
}

// watched notes the most memory that was in use while it was read.
type watched struct {
	io.Reader
	reads int
	most  uint64
}

func (w *watched) Read(p []byte) (int, error) {
	if w.reads++; w.reads%64 == 0 {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		w.most = max(w.most, m.HeapAlloc)
	}
	return w.Reader.Read(p)
}

// A cell takes room although nothing is in it: what is in memory mustn't depend on how many there are.
func TestRowsOfNothingButCommasTakeNoMoreMemoryThanOthers(t *testing.T) {
	const rows, most = 60, 300 << 20
	use, _ := newIntake(t, 1)
	line := "C000000000X,ANDREW,,andrew@zylker.com,bench" + strings.Repeat(",", bulk.MaxRow-100) + "\n"
	parts := []io.Reader{strings.NewReader("Serial Number,User Name,Domain Name,Email Address,Group Name\n")}
	for range rows {
		parts = append(parts, strings.NewReader(line))
	}
	file := &watched{Reader: io.MultiReader(parts...)}
	op, err := use.Import(t.Context(), intake.Actor{ID: "tok_1", Source: provision.FromAPI}, intake.ImportWish{Format: bulk.Assignments}, file)
	require.NoError(t, err)
	require.Equal(t, int64(rows), op.Total)
	require.Less(t, file.most, uint64(most), "%d MiB", file.most>>20)
}
