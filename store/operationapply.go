package store

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/muster-mdm/muster/provision"
)

// Outcomes of rows.
const (
	RowChanged   = "changed"
	RowUnchanged = "unchanged"
	RowRefused   = "refused"
)

const rowsToApply = `
SELECT p.last_line, r.line, coalesce(r.serial, ''), coalesce(r.wanted, '')
FROM (` + nextPages + inOrder + `) AS p
    LEFT JOIN LATERAL (
        SELECT r.line, r.serial, r.wanted
        FROM unnest(p.lines, p.serials, p.verdicts, p.wanted) AS r (line, serial, verdict, wanted)
        WHERE r.line > @after AND r.verdict <> 'e'
    ) AS r ON true
ORDER BY p.last_line, r.line
LIMIT @limit`

// applying is a chunk of an operation under way.
type applying struct {
	*Many
	op      Operation
	rows    []ImportRow
	groups  map[string]string // by lower case, as they are spelled
	people  map[accountKey]string
	wish    *provision.Assignment // of all devices
	failure error                 // of the wish
	results [][]any
	counts  map[string]int64
}

// applyChunk does the next rows. Groups are locked first, then people, then devices, as everybody does.
func (m *Many) applyChunk(ctx context.Context, o Operation) error {
	a := &applying{Many: m, op: o, counts: map[string]int64{}}
	if err := a.read(ctx); err != nil {
		return err
	}
	if len(a.rows) == 0 {
		return m.finish(ctx, o, OpDone)
	}
	if o.Kind == OpAssign {
		if err := a.resolve(ctx); err != nil {
			return err
		}
	}
	if err := a.welcome(ctx); err != nil {
		return err
	}
	if err := m.lock(ctx, a.serials(), false); err != nil {
		return err
	}
	for _, r := range a.rows {
		if err := a.apply(ctx, r); err != nil {
			return err
		}
	}
	if err := a.dropStillborn(ctx); err != nil {
		return err
	}
	return a.keep(ctx)
}

const dropDevices = `
DELETE FROM devices
WHERE serial = ANY ($1)`

// dropStillborn leaves nothing behind of devices that were made known only to be locked, and whose rows were refused.
func (a *applying) dropStillborn(ctx context.Context) error {
	var serials []string
	for _, serial := range a.made {
		if a.Device(serial).Device.Unknown() {
			serials = append(serials, serial)
			delete(a.changes, serial)
		}
	}
	if len(serials) == 0 {
		return nil
	}
	if _, err := a.tx.Exec(ctx, dropDevices, serials); err != nil {
		return fmt.Errorf("forgetting devices of which nothing is known: %w", err)
	}
	return nil
}

func (a *applying) read(ctx context.Context) error {
	w := pageWalk{query: rowsToApply, args: pgx.NamedArgs{"operation": a.op.number}, after: a.op.Line, limit: chunk}
	var err error
	a.rows, err = walkPages(ctx, a.tx, w, func(row pgx.CollectableRow) (r ImportRow, end, line *int64, err error) {
		var wanted string
		err = row.Scan(&end, &line, &r.Serial, &wanted)
		if line != nil {
			r.Line = *line
		}
		r.want(wanted)
		return r, end, line, err
	})
	if err != nil {
		return fmt.Errorf("reading the rows: %w", err)
	}
	return nil
}

func (a *applying) serials() []string {
	serials := make([]string, len(a.rows))
	for i, r := range a.rows {
		serials[i] = r.Serial
	}
	return serials
}

// resolve finds out which groups and people are meant.
func (a *applying) resolve(ctx context.Context) error {
	if w := a.op.Request.Wish; w != nil {
		wish, err := a.db.resolve(ctx, a.tx, *w)
		var known *provision.Error
		if err != nil && !errors.As(err, &known) {
			return err
		}
		a.wish, a.failure = &wish, err
		return nil
	}
	var groups []string
	var users []provision.Person
	for _, r := range a.rows {
		groups, users = append(groups, r.Groups...), append(users, r.User)
	}
	var err error
	if a.groups, err = spelledGroups(ctx, a.tx, groups); err != nil {
		return err
	}
	a.people, err = a.db.users(ctx, a.tx, users)
	return err
}

// welcome makes devices known that weren't: those that are assigned. One whose row is refused leaves no trace.
func (a *applying) welcome(ctx context.Context) error {
	if a.op.Kind != OpAssign {
		return nil
	}
	var serials []string
	for _, r := range a.rows {
		if _, err := a.assignment(r); err == nil {
			serials = append(serials, r.Serial)
		}
	}
	if len(serials) == 0 {
		return nil
	}
	return a.create(ctx, serials)
}

// assignment is what the row's device gets.
func (a *applying) assignment(r ImportRow) (provision.Assignment, error) {
	if a.wish != nil {
		return *a.wish, a.failure
	}
	out := provision.Assignment{UserID: a.people[accountOf(r.User)], OwnedBy: r.OwnedBy, Requirement: a.op.Request.Requirement}
	var missing []string
	for _, g := range r.Groups {
		name, ok := a.groups[strings.ToLower(g)]
		if !ok {
			missing = append(missing, g)
		}
		out.Groups = append(out.Groups, name)
	}
	if len(missing) > 0 {
		return out, missingGroups(missing)
	}
	return out, nil
}

// facts are what the operation amounts to for a device.
func (a *applying) facts(d provision.Device, r ImportRow) ([]provision.Fact, error) {
	switch q := a.op.Request; a.op.Kind {
	case OpAssign:
		wanted, err := a.assignment(r)
		if err != nil {
			return nil, err
		}
		return d.AskAssign(wanted)
	case OpUnassign:
		facts, err := d.AskUnassign()
		for i := range facts {
			facts[i].Reason = r.Reason
		}
		return facts, err
	case OpUnassignFromMDM:
		return d.AskUnassignFromMDM()
	case OpDeprovision:
		return d.AskDeprovision(q.Reason, q.By)
	case OpRelease:
		return d.AskRelease(q.Reason)
	case OpWithdraw:
		return d.AskWithdraw()
	}
	return nil, fmt.Errorf("operation of kind %q", a.op.Kind)
}

// refusal says why nothing is done about a device that isn't known.
func (a *applying) refusal(r ImportRow) error {
	if a.op.Kind == OpAssign {
		if _, err := a.assignment(r); err != nil {
			return err
		}
	}
	return notKnown(r.Serial)
}

// formerly is how a device was assigned before. Its JSON is stored.
type formerly struct {
	// Unknown: nobody knew the device.
	Unknown    bool                  `json:"unknown,omitempty"`
	Assignment *provision.Assignment `json:"assignment,omitempty"`
	Planned    *provision.Assignment `json:"planned,omitempty"`
}

func (a *applying) apply(ctx context.Context, r ImportRow) error {
	c := a.Device(r.Serial)
	if c == nil {
		return a.note(r, nil, nil, a.refusal(r))
	}
	before := formerly{Unknown: c.Device.Unknown(), Assignment: c.Device.Assignment, Planned: c.Device.Planned}
	facts, err := a.facts(c.Device, r)
	if err != nil {
		return a.note(r, nil, nil, err)
	}
	var last int64
	for _, f := range facts {
		f.Actor, f.Source, f.Operation, f.Line = a.op.applier(), a.op.Source, a.op.ID, r.Line
		recorded, err := c.Record(ctx, f)
		if err != nil {
			return err
		}
		last = recorded.ID
	}
	if by := a.op.Request.ExpectedBy; by != nil {
		c.Expect(*by)
	}
	if a.op.Kind == OpRelease && len(facts) > 0 && !c.Device.Began() {
		// No fact ever began a workflow for this device, so nobody else would carry the release out.
		if err := c.released(ctx, provision.Step{Do: provision.ConcludeReleased, Reason: a.op.Request.Reason}); err != nil {
			return err
		}
	}
	if last == 0 {
		return a.note(r, nil, nil, nil)
	}
	return a.note(r, &last, asJSON(before), nil)
}

// note keeps what became of a row. With all or nothing, a row that is refused ends it.
func (a *applying) note(r ImportRow, fact *int64, before []byte, refusal error) error {
	outcome, code, detail := RowUnchanged, "", ""
	var known *provision.Error
	switch {
	case refusal != nil && !errors.As(refusal, &known):
		return refusal
	case refusal != nil && a.op.Mode == AllOrNothing:
		return &rowError{OperationFailure{Code: string(known.Code), Detail: known.Message, Line: r.Line, Serial: r.Serial}}
	case refusal != nil:
		outcome, code, detail = RowRefused, string(known.Code), known.Message
	case fact != nil:
		outcome = RowChanged
	}
	a.counts[outcome]++
	a.results = append(a.results, []any{a.op.number, r.Line, r.Serial, outcome, code, detail, fact, before})
	return nil
}

var resultColumns = []string{"operation", "line", "serial", "outcome", "code", "detail", "fact_id", "before"}

const chunkApplied = `
UPDATE operations
SET line = $2,
    changed = changed + $3,
    unchanged = unchanged + $4,
    refused = refused + $5,
    due_at = $6,
    tries = 0
WHERE id = $1`

func (a *applying) keep(ctx context.Context) error {
	if _, err := a.tx.CopyFrom(ctx, pgx.Identifier{"operation_results"}, resultColumns, pgx.CopyFromRows(a.results)); err != nil {
		return fmt.Errorf("writing the results: %w", err)
	}
	_, err := a.tx.Exec(ctx, chunkApplied, a.op.ID, a.rows[len(a.rows)-1].Line, a.counts[RowChanged], a.counts[RowUnchanged],
		a.counts[RowRefused], a.db.now())
	return err
}

const finishOperation = `
UPDATE operations
SET state = $2,
    finished_at = $3,
    tries = 0
WHERE id = $1`

func (m *Many) finish(ctx context.Context, o Operation, state string) error {
	_, err := m.tx.Exec(ctx, finishOperation, o.ID, state, m.db.now())
	return err
}
