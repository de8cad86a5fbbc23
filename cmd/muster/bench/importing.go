package bench

import (
	"bufio"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/muster-mdm/muster/api/client"
)

const importHeader = "Serial Number,User Name,Domain Name,Email Address,Group Name,Owned By\n"

// mostPeak is the memory, in MiB, that validating any file may take.
const mostPeak = 256

// importing is a file and where it is imported.
type importing struct {
	stage *stage
	api   *client.Client
	path  string
	rows  int
}

func (s *stage) importing(rows int) (*importing, error) {
	api, err := client.NewClient(s.env.URL(), client.WithToken(s.env.Token()))
	if err != nil {
		return nil, fmt.Errorf("preparing the client: %w", err)
	}
	folder, err := os.MkdirTemp("", "muster-bench-")
	if err != nil {
		return nil, fmt.Errorf("making room for the file: %w", err)
	}
	i := &importing{stage: s, api: api, path: filepath.Join(folder, "assignments.csv"), rows: rows}
	return i, i.write()
}

func (i *importing) close() { _ = os.RemoveAll(filepath.Dir(i.path)) }

// write writes a file in which each row is right, about a device of its own, for a thousand people and two groups.
func (i *importing) write() error {
	file, err := os.Create(i.path)
	if err != nil {
		return fmt.Errorf("writing the file: %w", err)
	}
	w := bufio.NewWriter(file)
	_, _ = w.WriteString(importHeader)
	for n, serial := range i.stage.newSerials(i.rows) {
		_, _ = fmt.Fprintf(w, "%s,User %d,MDM,user%d@zylker.com,%s/%s,Corporate\n", serial, n%1000, n%1000, smallGroup, secondGroup)
	}
	if err := errors.Join(w.Flush(), file.Close()); err != nil {
		return fmt.Errorf("writing the file: %w", err)
	}
	return nil
}

// secondGroup has nothing in it.
const secondGroup = "bench-empty"

// measureValidating is row e.
func measureValidating(ctx context.Context, s *stage, row *Row) error {
	i, err := s.prepareImport(ctx, s.validated)
	if err != nil {
		return err
	}
	defer i.close()
	var peaks []float64
	ours, theirs, err := s.takeTurns(ctx, func(ctx context.Context, _ int) (run, error) {
		r, peak, err := i.validate(ctx)
		peaks = append(peaks, peak)
		return r, err
	}, func(ctx context.Context, _ int) (run, error) { return i.readAndCopy(ctx) })
	if err != nil {
		return err
	}
	row.pair(ours, theirs)
	row.Peak = seriesOf(peaks)
	row.Met = row.Met && row.Peak.Max < mostPeak
	return nil
}

func (s *stage) prepareImport(ctx context.Context, rows int) (*importing, error) {
	if _, err := s.pool.Exec(ctx, `INSERT INTO groups (name) VALUES ($1) ON CONFLICT DO NOTHING`, secondGroup); err != nil {
		return nil, fmt.Errorf("making a group: %w", err)
	}
	return s.importing(rows)
}

// validate uploads the file until every row has its verdict, and tells the most memory that a process of muster took.
func (i *importing) validate(ctx context.Context) (r run, peakMiB float64, err error) {
	forgetPeaks(i.pids())
	clock, err := i.stage.startClock()
	if err != nil {
		return run{}, 0, err
	}
	o, err := i.upload(ctx)
	if err != nil {
		return run{}, 0, err
	}
	if r, err = clock.stop(i.rows, time.Now()); err != nil {
		return run{}, 0, err
	}
	if o.Rows.Total != int64(i.rows) || o.Rows.Error != 0 {
		return run{}, 0, fmt.Errorf("%d rows were read and %d are in error, of %d right ones", o.Rows.Total, o.Rows.Error, i.rows)
	}
	peak := peakOf(i.pids())
	_, err = i.stage.pool.Exec(ctx, `TRUNCATE operations, operation_pages, operation_results`)
	return r, peak, err
}

// upload uploads the file and waits until it was checked.
func (i *importing) upload(ctx context.Context) (client.Operation, error) {
	file, err := os.Open(i.path)
	if err != nil {
		return client.Operation{}, fmt.Errorf("opening the file: %w", err)
	}
	defer func() { _ = file.Close() }()
	force := true
	o, err := operationOf(i.api.CreateAssignmentImportWithBody(ctx, &client.CreateAssignmentImportParams{Force: &force}, "text/csv", io.NopCloser(file))) //nolint:bodyclose // operationOf closes it
	if err != nil {
		return o, err
	}
	return i.until(ctx, o, client.OperationReady)
}

// until looks after an operation until it is in a state.
func (i *importing) until(ctx context.Context, o client.Operation, state client.OperationState) (client.Operation, error) {
	err := await(ctx, "operations "+string(state), 1, func(ctx context.Context) (int, error) {
		var err error
		o, err = operationOf(i.api.GetOperation(ctx, o.Id)) //nolint:bodyclose // operationOf closes it
		if o.State == state {
			return 1, err
		}
		return 0, err
	})
	return o, err
}

func operationOf(res *http.Response, err error) (o client.Operation, _ error) {
	if err != nil {
		return o, fmt.Errorf("asking muster: %w", err)
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return o, fmt.Errorf("reading muster's answer: %w", err)
	}
	if res.StatusCode >= http.StatusBadRequest {
		return o, fmt.Errorf("muster answered %s: %s", res.Status, body)
	}
	return o, json.Unmarshal(body, &o)
}

// readAndCopy is the bare half: encoding/csv reads the file, and COPY writes it as it is.
func (i *importing) readAndCopy(ctx context.Context) (run, error) {
	file, err := os.Open(i.path)
	if err != nil {
		return run{}, fmt.Errorf("opening the file: %w", err)
	}
	defer func() { _ = file.Close() }()
	conn, err := pgx.Connect(ctx, i.stage.env.DatabaseURL())
	if err != nil {
		return run{}, fmt.Errorf("connecting to PostgreSQL: %w", err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	const create = `CREATE TABLE bench_rows (serial text, user_name text, domain text, email text, group_name text, owned_by text)`
	if _, err := conn.Exec(ctx, create); err != nil {
		return run{}, fmt.Errorf("making a table: %w", err)
	}
	clock, err := i.stage.startClock()
	if err != nil {
		return run{}, err
	}
	source := &csvRows{reader: csv.NewReader(file)}
	source.reader.ReuseRecord = true
	if _, err := source.reader.Read(); err != nil {
		return run{}, fmt.Errorf("reading the header: %w", err)
	}
	columns := []string{"serial", "user_name", "domain", "email", "group_name", "owned_by"}
	n, err := conn.CopyFrom(ctx, pgx.Identifier{"bench_rows"}, columns, source)
	if err == nil && n != int64(i.rows) {
		err = fmt.Errorf("%d rows were copied, not %d", n, i.rows)
	}
	if err != nil {
		return run{}, err
	}
	r, err := clock.stop(i.rows, time.Now())
	if err == nil {
		_, err = conn.Exec(ctx, `DROP TABLE bench_rows`)
	}
	return r, err
}

// csvRows gives a file's rows to COPY.
type csvRows struct {
	reader *csv.Reader
	values [6]any
	err    error
}

// Next implements [pgx.CopyFromSource].
func (c *csvRows) Next() bool {
	record, err := c.reader.Read()
	if err != nil {
		c.err = err
		return false
	}
	for n, cell := range record {
		c.values[n] = cell
	}
	return true
}

// Values implements [pgx.CopyFromSource].
func (c *csvRows) Values() ([]any, error) { return c.values[:], nil }

// Err implements [pgx.CopyFromSource].
func (c *csvRows) Err() error {
	if errors.Is(c.err, io.EOF) {
		return nil
	}
	return c.err
}

// pids are muster's own processes.
func (i *importing) pids() []int {
	all := i.stage.pids()
	return []int{all["api"], all["worker"]}
}

// forgetPeaks has the system begin anew with the most memory that processes took (proc(5), clear_refs). Where it can't, a
// peak is that of the process's whole life, which is no less.
func forgetPeaks(pids []int) {
	for _, pid := range pids {
		_ = os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", pid), []byte("5"), 0)
	}
}

// peakOf is the most memory in MiB that one of the processes took; 0 where the system doesn't tell.
func peakOf(pids []int) float64 {
	most := 0.0
	for _, pid := range pids {
		if text, ok := entry(fmt.Sprintf("/proc/%d/status", pid), "VmHWM"); ok {
			kilobytes, _ := strconv.ParseFloat(strings.TrimSuffix(text, " kB"), 64)
			most = max(most, kilobytes/1024)
		}
	}
	return most
}
