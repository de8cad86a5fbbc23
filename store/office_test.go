package store_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/devstack/stacktest"
	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/store"
)

// deskVariable has this program work on operations of a database until it is killed.
const deskVariable = "DESK_DATABASE"

func workAtDesk(url string) int {
	db, err := store.Open(context.Background(), store.Config{URL: url})
	for err == nil {
		var id string
		if id, err = db.WorkOn(context.Background()); id == "" && err == nil {
			return 0
		}
	}
	_, _ = fmt.Fprintln(os.Stderr, err)
	return 1
}

// office is a database with people and groups in it, by the real clock.
type office struct {
	*store.DB
	t   *testing.T
	url string
	sql *pgx.Conn
	// batch is how many rows of a file come at a time.
	batch int
}

func newOffice(t *testing.T, groups ...string) *office {
	t.Helper()
	o := &office{t: t, url: stacktest.Database(t, "muster", migrate), batch: 700}
	var err error
	o.DB, err = store.Open(t.Context(), store.Config{URL: o.url})
	require.NoError(t, err)
	t.Cleanup(o.Close)
	o.sql, err = pgx.Connect(t.Context(), o.url)
	require.NoError(t, err)
	t.Cleanup(func() { _ = o.sql.Close(context.Background()) })
	for _, g := range groups {
		o.exec(`INSERT INTO groups (name) VALUES ($1)`, g)
	}
	return o
}

func (o *office) exec(sql string, args ...any) {
	o.t.Helper()
	_, err := o.sql.Exec(o.t.Context(), sql, args...)
	require.NoError(o.t, err)
}

func (o *office) count(from string, args ...any) int {
	o.t.Helper()
	var n int
	require.NoError(o.t, o.sql.QueryRow(o.t.Context(), `SELECT count(*) FROM `+from, args...).Scan(&n))
	return n
}

func deviceAt(n int) string { return fmt.Sprintf("C07Q%08d", n) }

func personAt(n int) provision.Person {
	return provision.Person{Name: fmt.Sprint("User ", n), Domain: "MDM", Email: fmt.Sprintf("user%d@zylker.com", n)}
}

// rows are n rows for as many devices; line 2 is the first.
func rows(n int, group string) []store.ImportRow {
	list := make([]store.ImportRow, n)
	for i := range list {
		list[i] = store.ImportRow{
			Line: int64(i + 2), Serial: deviceAt(i), Verdict: store.VerdictOK, User: personAt(i % 50), Groups: []string{group},
			OwnedBy: provision.Corporate, Record: []string{deviceAt(i)}, Said: int64(i),
		}
	}
	return list
}

// upload keeps rows as an import of that kind, and has them checked.
func (o *office) upload(kind string, rows []store.ImportRow) store.Operation {
	o.t.Helper()
	return o.uploadSuspecting(kind, rows, nil)
}

// uploadSuspecting says which serial numbers rows may share; nil = any.
func (o *office) uploadSuspecting(kind string, rows []store.ImportRow, suspects []string) store.Operation {
	o.t.Helper()
	ctx := o.t.Context()
	u, err := o.BeginImport(ctx, store.NewImport{Kind: kind, Request: store.OperationRequest{Requirement: provision.RequireUser}, Actor: "tok_1", Source: provision.FromAPI, FileName: "x.csv"})
	require.NoError(o.t, err)
	var counted store.Counted
	counted.Add(rows)
	for len(rows) > 0 {
		n := min(len(rows), o.batch)
		require.NoError(o.t, o.AppendRows(ctx, u, rows[:n]))
		rows = rows[n:]
	}
	id, sum := u.ID, [32]byte{}
	copy(sum[:], id)
	op, err := o.EndImport(ctx, u, store.Uploaded{File: store.ImportFile{SHA256: sum[:], Delimiter: ",", Header: []string{"Serial Number"}}, Count: counted, Suspects: suspects})
	require.NoError(o.t, err)
	require.Equal(o.t, store.OpChecking, op.State)
	return o.work(id)
}

// work does what is due of an operation. A worker that was killed holds it until PostgreSQL notices.
func (o *office) work(id string) store.Operation {
	o.t.Helper()
	var op store.Operation
	require.Eventually(o.t, func() bool {
		for did := id; did != ""; {
			var err error
			did, err = o.WorkOn(o.t.Context())
			require.NoError(o.t, err)
		}
		var err error
		op, err = o.Operation(o.t.Context(), id)
		require.NoError(o.t, err)
		return op.Over() || op.State == store.OpReady || op.Paused
	}, time.Minute, 5*time.Millisecond)
	return op
}

func (o *office) assign(serial, group string) provision.Device {
	o.t.Helper()
	u := personAt(0)
	w := store.Wish{User: &u, Groups: []string{group}, OwnedBy: provision.Corporate, Requirement: provision.RequireUser}
	d, err := o.Assign(o.t.Context(), serial, w, func(ctx context.Context, c *store.Change, a provision.Assignment) error {
		_, err := c.Record(ctx, provision.Fact{Kind: provision.Assigned, Assignment: &a, Source: provision.FromAPI})
		return err
	})
	require.NoError(o.t, err)
	return d
}

// killed lets another process work on the operation and kills it when it has done a random number of rows.
func (o *office) killed(r *rand.Rand, id, progress string) {
	o.t.Helper()
	self, err := os.Executable()
	require.NoError(o.t, err)
	child := exec.CommandContext(o.t.Context(), self)
	child.Env = append(os.Environ(), deskVariable+"="+o.url)
	child.Stderr = os.Stderr
	require.NoError(o.t, child.Start())
	var at int64
	read := func() int64 {
		var n int64
		require.NoError(o.t, o.sql.QueryRow(o.t.Context(), `SELECT `+progress+` FROM operations WHERE id = $1`, id).Scan(&n))
		return n
	}
	at = read() + 1 + r.Int64N(2500)
	ended := make(chan error, 1)
	go func() { ended <- child.Wait() }()
	require.Eventually(o.t, func() bool {
		select {
		case err := <-ended:
			ended <- err
			return true
		default:
			return read() >= at
		}
	}, time.Minute, time.Duration(1+r.IntN(7))*time.Millisecond)
	_ = child.Process.Kill()
	if err := <-ended; err != nil {
		var exit *exec.ExitError
		require.ErrorAs(o.t, err, &exit)
	}
}

// refolds holds every row against its facts.
func (o *office) refolds() {
	o.t.Helper()
	rows, err := o.sql.Query(o.t.Context(), `
SELECT d.serial, d.state, array_agg(e.payload || jsonb_build_object('id', e.id) ORDER BY e.id)
FROM devices d
    JOIN device_events e USING (serial)
GROUP BY d.serial`)
	require.NoError(o.t, err)
	var serial string
	var is provision.Device
	var facts []provision.Fact
	_, err = pgx.ForEachRow(rows, []any{&serial, &is, &facts}, func() error {
		require.Equal(o.t, provision.FoldAll(provision.Device{Serial: serial}, facts...), is)
		is, facts = provision.Device{}, nil
		return nil
	})
	require.NoError(o.t, err)
}

// record records facts of a device, which it makes known.
func (o *office) record(serial string, facts ...provision.Fact) provision.Device {
	o.t.Helper()
	d, err := o.UpdateOrCreate(o.t.Context(), serial, func(ctx context.Context, c *store.Change) error {
		for _, f := range facts {
			if _, err := c.Record(ctx, f); err != nil {
				return err
			}
		}
		return nil
	})
	require.NoError(o.t, err)
	return d
}

func (o *office) device(serial string) provision.Device {
	o.t.Helper()
	d, err := o.Device(o.t.Context(), serial)
	require.NoError(o.t, err)
	return d
}

// imported applies a file of n devices, the first of which has these serial numbers.
func (o *office) imported(n int) store.Operation {
	o.t.Helper()
	op := o.upload(store.OpAssign, rows(n, "drivers"))
	_, err := o.ApplyImport(o.t.Context(), op.ID, store.ValidRows, "tok_1")
	require.NoError(o.t, err)
	return o.work(op.ID)
}

func (o *office) undone(id string) store.Operation {
	o.t.Helper()
	_, err := o.UndoOperation(o.t.Context(), id, "tok_1")
	require.NoError(o.t, err)
	return o.work(id)
}
