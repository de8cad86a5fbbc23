package intake

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"hash/maphash"
	"io"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"golang.org/x/sync/errgroup"

	"github.com/muster-mdm/muster/api/bulk"
	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/store"
)

// Codes of imports.
const (
	// ImportUnreadable: the file as a whole can't be imported.
	ImportUnreadable provision.Code = "import_unreadable"
	// Reservation: the device isn't known yet (R43).
	Reservation provision.Code = "reservation"
	// AlreadyAssigned: the device is assigned like this already.
	AlreadyAssigned provision.Code = "already_assigned"
	// Reassigned: the device is assigned otherwise now.
	Reassigned provision.Code = "reassigned"
	// NotAssigned: nobody is assigned to the device.
	NotAssigned provision.Code = "not_assigned"
)

// MaxImport is how large an uploaded file may be, in bytes.
const MaxImport = 1 << 30

// ImportWish is what an upload is for.
type ImportWish struct {
	Format   bulk.Format
	FileName string
	// ExpectedBy is the day by which devices that aren't there yet shall be.
	ExpectedBy *time.Time
	// Force takes a file that was uploaded before.
	Force bool
}

// A batch is what is in memory at a time, some three of them. A cell takes room although it is empty.
const (
	batchRows  = 4000
	batchBytes = 3 << 20
	cellBytes  = 16
)

// Import reads a file, judges each row, and keeps all for a preview; nothing is applied. It holds some thousand rows in
// memory, whatever the file's size. It fails with [ImportUnreadable] and what is wrong with the file, and with
// [store.ImportDuplicate].
func (i *Intake) Import(ctx context.Context, by Actor, w ImportWish, source io.Reader) (store.Operation, error) {
	kind := store.OpAssign
	if w.Format == bulk.Unassignments {
		kind = store.OpUnassign
	}
	request := store.OperationRequest{ExpectedBy: w.ExpectedBy, Requirement: i.settings.AssignmentRequirement}
	to, err := i.db.BeginImport(ctx, store.NewImport{Kind: kind, Request: request, Actor: by.ID, Source: by.Source, FileName: w.FileName})
	if err != nil {
		return store.Operation{}, err
	}
	u := &upload{
		intake: i, to: to, format: w.Format, digest: sha256.New(), seed: maphash.MakeSeed(), seen: newFilter(mostSeen),
	}
	op, err := u.run(ctx, w, source)
	if err != nil {
		// What is left of a process that dies here, a worker drops.
		return op, errors.Join(err, i.db.DropImport(context.WithoutCancel(ctx), to))
	}
	return op, nil
}

// upload is a file that comes in.
type upload struct {
	intake *Intake
	to     store.Upload
	format bulk.Format
	digest hash.Hash
	size   int64
	seed   maphash.Seed
	groups map[string]bool

	mu      sync.Mutex
	counted store.Counted
	// seen are the serial numbers so far, suspects those that may have been there before.
	seen     *filter
	suspects []string
	known    func() (*filter, error) // the devices that are known, once a file turns out to be large
}

const (
	// mostSeen is up to how many rows repeated serial numbers are told apart well, in 16 MiB.
	mostSeen = 8 << 20
	// mostSuspects are compared one by one; with more of them all rows are.
	mostSuspects = 10_000
	// largeFile is from how many rows on it pays to know all devices' serial numbers, in 2 bytes each, instead of looking each
	// row's up.
	largeFile = 5 * batchRows
)

// Write takes note of the file's bytes.
func (u *upload) Write(p []byte) (int, error) {
	u.size += int64(len(p))
	return u.digest.Write(p)
}

func (u *upload) run(ctx context.Context, w ImportWish, source io.Reader) (store.Operation, error) {
	names, err := u.intake.db.GroupNames(ctx)
	if err != nil {
		return store.Operation{}, err
	}
	u.groups = make(map[string]bool, len(names))
	for _, n := range names {
		u.groups[strings.ToLower(n)] = true
	}
	file := io.TeeReader(source, u)
	reader, err := bulk.Open(file, u.format)
	if err != nil {
		return store.Operation{}, unimportable(err)
	}
	if err := u.rows(ctx, reader); err != nil {
		return store.Operation{}, err
	}
	l := reader.Layout()
	return u.intake.db.EndImport(ctx, u.to, store.Uploaded{Count: u.counted, Suspects: u.repeated(), Force: w.Force, File: store.ImportFile{
		Size: u.size, SHA256: u.digest.Sum(nil), Header: tidy(reader.Header()), Delimiter: string(l.Delimiter), BOM: l.BOM,
		Notices: problems(reader.Notices(), true),
	}})
}

// unimportable says what is wrong with a file as a whole.
func unimportable(err error) error {
	var bad *bulk.FileError
	if !errors.As(err, &bad) {
		return err
	}
	out := provision.Errorf(ImportUnreadable, "The file can't be imported. %s", bad.Error())
	for _, p := range bad.Problems {
		if p.Severity == bulk.Fault {
			out.Others = append(out.Others, provision.Errorf(p.Code, "%s", p.Detail).At(fmt.Sprintf("line %d", p.Line)))
		}
	}
	return out
}

// keepers is how many goroutines keep rows: PostgreSQL is busy with one while the other waits for it, or is judging.
const keepers = 2

// rows reads in one goroutine and keeps in others: the processor and the database are busy at the same time.
func (u *upload) rows(ctx context.Context, reader *bulk.Reader) error {
	group, ctx := errgroup.WithContext(ctx)
	batches, used := make(chan []bulk.Row), make(chan []bulk.Row, keepers+1) // there are no more batches than that
	group.Go(func() error {
		defer close(batches)
		return readBatches(ctx, reader, batches, used)
	})
	u.known = sync.OnceValues(func() (*filter, error) { return u.allKnown(ctx) })
	for range keepers {
		k := &keeper{upload: u}
		group.Go(func() error {
			for batch := range batches {
				if err := k.keep(ctx, batch); err != nil {
					return err
				}
				used <- batch
			}
			return nil
		})
	}
	return group.Wait()
}

// readBatches hands over the rows, in memory that was used before where there is some.
func readBatches(ctx context.Context, reader *bulk.Reader, batches chan<- []bulk.Row, used <-chan []bulk.Row) error {
	for {
		var room []bulk.Row
		select {
		case room = <-used:
		default:
			room = make([]bulk.Row, 0, batchRows)
		}
		batch, err := readBatch(reader, room[:0])
		if len(batch) > 0 {
			select {
			case batches <- batch:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func readBatch(reader *bulk.Reader, batch []bulk.Row) ([]bulk.Row, error) {
	for size := 0; len(batch) < batchRows && size < batchBytes; {
		batch = batch[:len(batch)+1]
		row := &batch[len(batch)-1]
		if err := reader.Read(row); err != nil {
			return batch[:len(batch)-1], err
		}
		size += cellBytes * len(row.Record)
		for _, cell := range row.Record {
			size += len(cell)
		}
	}
	return batch, nil
}

// keeper keeps rows, batch by batch, in memory that it uses again and again.
type keeper struct {
	*upload
	rows []store.ImportRow
	sums []uint64 // of the rows' serial numbers
	said []byte
}

// keep judges rows by what is known here, and keeps them.
func (k *keeper) keep(ctx context.Context, batch []bulk.Row) error {
	known, err := k.standings(ctx, batch)
	if err != nil {
		return err
	}
	k.rows, k.sums = k.rows[:0], k.sums[:0]
	for n := range batch {
		row := &batch[n]
		standing := k.judge(row, known)
		k.rows = append(k.rows, k.row(row, standing))
		k.sums = append(k.sums, k.seen.sum(row.Assignment.Serial))
	}
	k.count()
	return k.intake.db.AppendRows(ctx, k.to, k.rows)
}

func (k *keeper) count() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.counted.Add(k.rows)
	for n, sum := range k.sums {
		if serial := k.rows[n].Serial; serial != "" && k.seen.addSum(sum) && len(k.suspects) <= mostSuspects {
			k.suspects = append(k.suspects, strings.Clone(serial))
		}
	}
}

// repeated are the serial numbers that may be there more than once; nil = any may.
func (u *upload) repeated() []string {
	if len(u.suspects) > mostSuspects {
		return nil
	}
	return append([]string{}, u.suspects...)
}

// standings looks up what is known of a batch's devices.
func (u *upload) standings(ctx context.Context, batch []bulk.Row) (map[string]store.Standing, error) {
	u.mu.Lock()
	large := u.counted.Total >= largeFile
	u.mu.Unlock()
	var known *filter
	if large {
		var err error
		if known, err = u.known(); err != nil {
			return nil, err
		}
	}
	serials := make([]string, 0, len(batch))
	for n := range batch {
		if s := batch[n].Assignment.Serial; s != "" && (known == nil || known.has(s)) {
			serials = append(serials, s)
		}
	}
	if len(serials) == 0 {
		return nil, nil
	}
	return u.intake.db.RowStandings(ctx, serials)
}

// allKnown reads the serial numbers of all devices. One that comes a moment later is taken for unknown here; applying looks
// again.
func (u *upload) allKnown(ctx context.Context) (*filter, error) {
	var f *filter
	err := u.intake.db.EachSerial(ctx, func(about int64) { f = newFilter(about + about/4) }, func(serial string) { f.add(serial) })
	return f, err
}

// judge adds what is known here about the row's groups and device; standing is a notice that says all by its code.
func (u *upload) judge(row *bulk.Row, known map[string]store.Standing) (standing provision.Code) {
	if u.format == bulk.Assignments {
		row.CheckGroups(func(name string) bool { return u.groups[strings.ToLower(name)] })
	}
	if row.Assignment.Serial == "" {
		return ""
	}
	s, found := known[row.Assignment.Serial]
	if !found {
		if u.format == bulk.Unassignments {
			row.Add(serialProblem(row, bulk.Fault, provision.DeviceNotFound, "Device %s is not known here.", row.Assignment.Serial))
		} else if row.Verdict != bulk.Fault {
			standing = Reservation
		}
		return standing
	}
	if err := s.CheckAssign(); err != nil {
		row.Add(serialProblem(row, bulk.Fault, provision.CodeOf(err), "%s", err.Error()))
		return ""
	}
	if row.Verdict != bulk.Fault {
		return u.compare(row, s)
	}
	return ""
}

// compare says what the row changes. What thousands of rows may have in common is returned as their standing.
func (u *upload) compare(row *bulk.Row, s store.Standing) (standing provision.Code) {
	assigned := s.Assignment != nil || s.Planned != nil
	switch {
	case u.format == bulk.Unassignments && !assigned:
		return NotAssigned
	case u.format == bulk.Unassignments, !assigned:
	case u.same(row.Assignment, s):
		return AlreadyAssigned
	case s.User != nil:
		row.Add(serialProblem(row, bulk.Notice, Reassigned, "Device %s is assigned to %s of %s now; it is assigned anew.", s.Serial, s.User.Name, s.User.Domain))
	default:
		row.Add(serialProblem(row, bulk.Notice, Reassigned, "Device %s is assigned otherwise now; it is assigned anew.", s.Serial))
	}
	return ""
}

func (u *upload) same(a bulk.Assignment, s store.Standing) bool {
	is := s.Assignment
	return s.Planned == nil && is != nil && is.TechnicianID == "" && is.ReturnBy == nil && s.User != nil && is.OwnedBy == a.OwnedBy &&
		strings.EqualFold(s.User.Name, a.User.Name) && strings.EqualFold(s.User.Domain, a.User.Domain) && s.User.Email == a.User.Email &&
		slices.EqualFunc(is.Groups, a.Groups, strings.EqualFold)
}

// StandingDetail is the sentence of a row's standing.
func StandingDetail(standing, serial string) string {
	switch provision.Code(standing) {
	case Reservation:
		return fmt.Sprintf("Device %s is not known yet; it is reserved, and assigned when it enrolls.", serial)
	case NotAssigned:
		return fmt.Sprintf("Nobody is assigned to device %s; nothing changes.", serial)
	case AlreadyAssigned:
		return fmt.Sprintf("Device %s is assigned like this already; nothing changes.", serial)
	}
	return ""
}

func serialProblem(row *bulk.Row, severity bulk.Verdict, code provision.Code, format string, args ...any) bulk.Problem {
	return bulk.Problem{Line: row.Line, Column: bulk.SerialNumber, Code: code, Severity: severity, Detail: fmt.Sprintf(format, args...)}
}

func (k *keeper) row(r *bulk.Row, standing provision.Code) store.ImportRow {
	a := &r.Assignment
	if standing != "" && r.Verdict == bulk.OK {
		r.Verdict = bulk.Notice
	}
	return store.ImportRow{
		Line: int64(r.Line), Serial: a.Serial, Verdict: string(r.Verdict), Standing: string(standing), Problems: problems(r.Problems, false), Record: tidy(r.Record),
		User: a.User, Groups: a.Groups, OwnedBy: a.OwnedBy, Reason: r.Reason,
		Said: k.hash(a),
	}
}

// hash is the same for rows that say the same.
func (k *keeper) hash(a *bulk.Assignment) int64 {
	k.said = a.AppendSaid(k.said[:0])
	return int64(maphash.Bytes(k.seed, k.said))
}

func problems(list []bulk.Problem, withLines bool) []store.RowProblem {
	var out []store.RowProblem
	for _, p := range list {
		q := store.RowProblem{Column: p.Column, Code: string(p.Code), Severity: string(p.Severity), Detail: plain(p.Detail)}
		if withLines {
			q.Line = p.Line
		}
		out = append(out, q)
	}
	return out
}

// tidy makes cells text that PostgreSQL can hold.
func tidy(cells []string) []string {
	for i, c := range cells {
		cells[i] = plain(c)
	}
	return cells
}

func plain(text string) string {
	if strings.IndexByte(text, 0) >= 0 {
		text = strings.ReplaceAll(text, "\x00", "\uFFFD")
	}
	if utf8.ValidString(text) {
		return text
	}
	return strings.ToValidUTF8(text, "\uFFFD")
}
