package store

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/muster-mdm/muster/provision"
)

// doneRow is a row that changed its device.
type doneRow struct {
	line   int64
	serial string
	fact   int64
	before formerly
}

const rowsToUndo = `
SELECT line, serial, fact_id, before
FROM operation_results
WHERE operation = $1 AND outcome = 'changed' AND undo = '' AND line <= $2
ORDER BY line DESC
LIMIT $3`

// undoing is a chunk of an operation that is taken back.
type undoing struct {
	*Many
	op     Operation
	groups map[string]string
	// inForce are the facts by which assignments for later came into force, with those that made them.
	inForce map[int64]int64
	lines   []int64
	undo    []string
	detail  []string
	counts  map[string]int64
}

// undoChunk brings the next devices back to how they were assigned; those that nobody knew before, and nobody but people knows
// since, are withdrawn. One that was assigned otherwise since, or whose former groups are gone, is left alone.
func (m *Many) undoChunk(ctx context.Context, o Operation) error {
	rows, err := m.tx.Query(ctx, rowsToUndo, o.number, o.Line, chunk)
	if err != nil {
		return err
	}
	done, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (r doneRow, err error) {
		err = row.Scan(&r.line, &r.serial, &r.fact, &r.before)
		return r, err
	})
	if err != nil {
		return fmt.Errorf("reading what was done: %w", err)
	}
	if len(done) == 0 {
		if o.Failure != nil {
			return m.finish(ctx, o, OpFailed)
		}
		return m.finish(ctx, o, OpUndone)
	}
	u := &undoing{Many: m, op: o, counts: map[string]int64{}}
	serials, groups := make([]string, len(done)), []string(nil)
	for i, r := range done {
		serials[i] = r.serial
		groups = append(groups, r.before.groups()...)
	}
	if u.groups, err = spelledGroups(ctx, m.tx, groups); err != nil {
		return err
	}
	if err := m.lock(ctx, serials, false); err != nil {
		return err
	}
	if err := u.readInForce(ctx); err != nil {
		return err
	}
	for _, r := range done {
		if err := u.restore(ctx, r); err != nil {
			return err
		}
	}
	return u.keep(ctx, done[len(done)-1].line)
}

const cameIntoForce = `
SELECT id, (payload ->> 'for')::bigint
FROM device_events
WHERE id = ANY ($1) AND kind = 'assigned' AND payload ? 'for'`

// readInForce looks which devices' newest word on their assignment is one for later that came into force by itself.
func (u *undoing) readInForce(ctx context.Context) error {
	newest := make([]int64, 0, len(u.changes))
	for _, c := range u.changes {
		newest = append(newest, c.Device.PlannedMark.By)
	}
	rows, err := u.tx.Query(ctx, cameIntoForce, newest)
	if err != nil {
		return fmt.Errorf("reading what came into force: %w", err)
	}
	u.inForce = map[int64]int64{}
	var id, of int64
	_, err = pgx.ForEachRow(rows, []any{&id, &of}, func() error {
		u.inForce[id] = of
		return nil
	})
	if err != nil {
		return fmt.Errorf("reading what came into force: %w", err)
	}
	return nil
}

func (f formerly) groups() []string {
	var all []string
	for _, a := range []*provision.Assignment{f.Assignment, f.Planned} {
		if a != nil {
			all = append(all, a.Groups...)
		}
	}
	return all
}

func (u *undoing) restore(ctx context.Context, r doneRow) error {
	c := u.Device(r.serial)
	if conflict := u.conflict(c, r); conflict != "" {
		u.note(r, "conflict", conflict)
		return nil
	}
	for _, f := range r.before.facts(c.Device) {
		f.Assignment = u.spelled(f.Assignment)
		f.Actor, f.Source, f.Operation = u.op.undoer(), u.op.Source, u.op.ID // what is restored doesn't stand in a line
		f.Reason = "It was undone."
		if _, err := c.Record(ctx, f); err != nil {
			return err
		}
	}
	u.note(r, "restored", "")
	return nil
}

// conflict says why a device isn't brought back; "" = it is.
func (u *undoing) conflict(c *Change, r doneRow) string {
	if c == nil {
		return notKnown(r.serial).Error()
	}
	if r.before.Unknown && c.Device.Unknown() {
		return "" // somebody withdrew it
	}
	if err := c.Device.CheckChange(); err != nil {
		return err.Error()
	}
	if newest := c.Device.PlannedMark.By; newest != r.fact && u.inForce[newest] != r.fact {
		return fmt.Sprintf("Device %s was assigned or unassigned since, so it was left as it is.", r.serial)
	}
	for _, g := range r.before.groups() {
		if u.groups[strings.ToLower(g)] == "" {
			return fmt.Sprintf("Device %s was in group %q, which does not exist any more, so it was left as it is.", r.serial, g)
		}
	}
	return ""
}

// spelled is an assignment with its groups as they are spelled now: one may have been deleted and made again since.
func (u *undoing) spelled(a *provision.Assignment) *provision.Assignment {
	if a == nil {
		return nil
	}
	out := *a
	out.Groups = nil
	for _, g := range a.Groups {
		out.Groups = append(out.Groups, u.groups[strings.ToLower(g)])
	}
	return &out
}

// facts assign the device as it was, or take it back if nobody knew it and it can be. One that somebody holds stays known: whoever
// did so means a device that there is.
func (f formerly) facts(is provision.Device) []provision.Fact {
	if f.Unknown && !is.OnHold {
		if facts, err := is.AskWithdraw(); err == nil {
			return facts
		}
	}
	facts := []provision.Fact{{Kind: provision.Unassigned}}
	if f.Assignment != nil {
		facts = []provision.Fact{{Kind: provision.Assigned, Assignment: f.Assignment}}
	}
	if f.Planned != nil {
		facts = append(facts, provision.Fact{Kind: provision.Assigned, Assignment: f.Planned})
	}
	return facts
}

func (u *undoing) note(r doneRow, undo, detail string) {
	u.lines, u.undo, u.detail = append(u.lines, r.line), append(u.undo, undo), append(u.detail, detail)
	u.counts[undo]++
}

const noteUndone = `
UPDATE operation_results r
SET undo = u.undo,
    undo_detail = u.detail
FROM unnest($2::bigint[], $3::text[], $4::text[]) AS u (line, undo, detail)
WHERE r.operation = $1 AND r.line = u.line`

const chunkUndone = `
UPDATE operations
SET line = $2 - 1,
    restored = restored + $3,
    conflicts = conflicts + $4,
    due_at = $5,
    tries = 0
WHERE id = $1`

func (u *undoing) keep(ctx context.Context, line int64) error {
	if _, err := u.tx.Exec(ctx, noteUndone, u.op.number, u.lines, u.undo, u.detail); err != nil {
		return fmt.Errorf("noting what was taken back: %w", err)
	}
	_, err := u.tx.Exec(ctx, chunkUndone, u.op.ID, line, u.counts["restored"], u.counts["conflict"], u.db.now())
	return err
}
