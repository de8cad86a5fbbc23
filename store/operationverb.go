package store

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/muster-mdm/muster/provision"
)

// OperationsChannel wakes who works on operations.
const OperationsChannel = "muster_operations"

// MostDevices is how many devices one operation may name that is no import.
const MostDevices = 10_000

// NewOperation is work on a list of devices.
type NewOperation struct {
	Kind    string
	Request OperationRequest
	// Rows are the devices, each once, with what is known to be wrong with their serial numbers.
	Rows   []ImportRow
	Actor  string
	Source provision.Source
	// Confirmation is used up; nil = none is needed.
	Confirmation *Confirmation
}

const createOperation = `
INSERT INTO operations (id, kind, import, state, mode, request, actor, source, total, ok, wrong, due_at, created_at, started_at)
VALUES (@id, @kind, false, 'applying', 'valid_rows', @request, @actor, @source, @total, @ok, @wrong, @now, @now, @now)
RETURNING number`

// CreateOperation has work on many devices begun. It fails with [ConfirmationInvalid].
func (db *DB) CreateOperation(ctx context.Context, n NewOperation) (Operation, error) {
	id, wrong := newID("op"), 0
	for _, r := range n.Rows {
		if r.Verdict == VerdictError {
			wrong++
		}
	}
	err := pgx.BeginFunc(ctx, db.pool, func(tx pgx.Tx) error {
		if n.Confirmation != nil {
			if err := n.Confirmation.use(ctx, tx, db.now()); err != nil {
				return err
			}
		}
		var number int64
		err := tx.QueryRow(ctx, createOperation, pgx.NamedArgs{
			"id": id, "kind": n.Kind, "request": asJSON(n.Request), "actor": n.Actor, "source": n.Source, "total": len(n.Rows),
			"ok": len(n.Rows) - wrong, "wrong": wrong, "now": db.now(),
		}).Scan(&number)
		if err != nil {
			return fmt.Errorf("creating it: %w", err)
		}
		if err := copyRows(ctx, tx, number, n.Rows); err != nil {
			return err
		}
		return wakeOperations(ctx, tx)
	})
	if err != nil {
		return Operation{}, translate(err, "creating an operation")
	}
	return db.Operation(ctx, id)
}

func wakeOperations(ctx context.Context, tx pgx.Tx) error {
	_, err := tx.Exec(ctx, `SELECT pg_notify($1, '')`, OperationsChannel)
	return err
}

// ListenOperations is [DB.ListenFacts] for work on many devices.
func (db *DB) ListenOperations(ctx context.Context, wake func()) error {
	return db.listen(ctx, OperationsChannel, wake)
}

// change locks an operation and has it changed.
func (db *DB) changeOperation(ctx context.Context, id, doing string, change func(tx pgx.Tx, o Operation) error) (Operation, error) {
	var after Operation
	err := pgx.BeginFunc(ctx, db.pool, func(tx pgx.Tx) error {
		o, err := lockOperation(ctx, tx, id)
		if err != nil {
			return err
		}
		if err := change(tx, o); err != nil {
			return err
		}
		if err := wakeOperations(ctx, tx); err != nil {
			return err
		}
		after, err = lockOperation(ctx, tx, id)
		return err
	})
	return after, translate(err, doing)
}

func lockOperation(ctx context.Context, tx pgx.Tx, id string) (Operation, error) {
	rows, err := tx.Query(ctx, operationsWhere+`id = $1 FOR UPDATE`, id)
	if err != nil {
		return Operation{}, err
	}
	list, err := pgx.CollectRows(rows, scanOperation)
	if err != nil {
		return Operation{}, err
	}
	if len(list) == 0 {
		return Operation{}, noOperation(id)
	}
	return list[0], nil
}

func (o Operation) mustBe(asked string, states ...string) error {
	for _, s := range states {
		if o.State == s {
			return nil
		}
	}
	return provision.Errorf(OperationState, "%s is %s; one can %s only when it is %s.", o.ID, o.State, asked, strings.Join(states, " or "))
}

const startOperation = `
UPDATE operations
SET state = 'applying',
    mode = $2,
    request = request || jsonb_build_object('applied_by', $4::text),
    started_at = $3,
    due_at = $3
WHERE id = $1`

// ApplyImport has a checked file applied; by is whose doing that is. Asking twice is asking once. It fails with
// [OperationState], and with [RowsInError] when all rows shall be applied and some are in error.
func (db *DB) ApplyImport(ctx context.Context, id, mode, by string) (Operation, error) {
	return db.changeOperation(ctx, id, "applying an import", func(tx pgx.Tx, o Operation) error {
		if o.State == OpApplying && o.Mode == mode {
			return nil
		}
		if err := o.mustBe("apply it", OpReady); err != nil {
			return err
		}
		if mode == AllOrNothing && o.Wrong > 0 {
			return provision.Errorf(RowsInError, "Nothing was applied: %d of %d rows are in error. Correct the file, or apply the valid rows only.", o.Wrong, o.Total)
		}
		_, err := tx.Exec(ctx, startOperation, id, mode, db.now(), by)
		return err
	})
}

const pauseOperation = `
UPDATE operations
SET paused = $2,
    due_at = $3
WHERE id = $1`

// PauseOperation stops an operation between two chunks, or has it go on.
func (db *DB) PauseOperation(ctx context.Context, id string, paused bool) (Operation, error) {
	return db.changeOperation(ctx, id, "pausing an operation", func(tx pgx.Tx, o Operation) error {
		if err := o.mustBe("pause or resume it", OpApplying, OpUndoing); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, pauseOperation, id, paused, db.now())
		return err
	})
}

const cancelOperation = `
UPDATE operations
SET state = 'cancelled',
    paused = false,
    finished_at = $2
WHERE id = $1`

// CancelOperation ends an operation; what was done stays done, and may be undone. Of one of which all or nothing was to be
// applied all is taken back, which is the doing of by.
func (db *DB) CancelOperation(ctx context.Context, id, by string) (Operation, error) {
	return db.changeOperation(ctx, id, "cancelling an operation", func(tx pgx.Tx, o Operation) error {
		if o.State == OpCancelled {
			return nil
		}
		if err := o.mustBe("cancel it", OpChecking, OpReady, OpApplying); err != nil {
			return err
		}
		if o.Mode == AllOrNothing && o.State == OpApplying {
			why := OperationFailure{Code: string(OperationState), Detail: "It was cancelled, so all of it is taken back."}
			return db.takeBack(ctx, tx, id, by, &why)
		}
		_, err := tx.Exec(ctx, cancelOperation, id, db.now())
		return err
	})
}

const undoOperation = `
UPDATE operations
SET state = 'undoing',
    paused = false,
    failure = $3,
    request = request || jsonb_build_object('undone_by', $4::text),
    finished_at = NULL,
    due_at = $2
WHERE id = $1`

// takeBack has an operation undone; why is nil when it didn't fail.
func (db *DB) takeBack(ctx context.Context, tx pgx.Tx, id, by string, why *OperationFailure) error {
	_, err := tx.Exec(ctx, undoOperation, id, db.now(), asJSON(why), by)
	return err
}

// UndoOperation brings every device back to how it was assigned before, but for those that changed since; by is whose doing
// that is. It fails with [NotUndoable].
func (db *DB) UndoOperation(ctx context.Context, id, by string) (Operation, error) {
	return db.changeOperation(ctx, id, "undoing an operation", func(tx pgx.Tx, o Operation) error {
		switch {
		case o.State == OpUndoing:
			return nil
		case o.Kind != OpAssign && o.Kind != OpUnassign:
			return provision.Errorf(NotUndoable, "What %s did can't be taken back: it was a %s.", id, strings.ReplaceAll(o.Kind, "_", " "))
		case o.Changed > 0 && !o.kept:
			return provision.Errorf(NotUndoable, "What %s did to which device was deleted since, so it can't be taken back.", id)
		case !o.Undoable() && (o.State == OpDone || o.State == OpCancelled):
			return provision.Errorf(NotUndoable, "%s changed nothing, so there is nothing to take back.", id)
		}
		if err := o.mustBe("undo it", OpDone, OpCancelled); err != nil {
			return err
		}
		return db.takeBack(ctx, tx, id, by, nil)
	})
}

// ConfirmationInvalid is the code of confirmations that are over, used, or for something else.
const ConfirmationInvalid provision.Code = "confirmation_invalid"

// Confirmation is a caller's leave to do one thing once.
type Confirmation struct {
	// Hash is that of the secret, Fingerprint that of what was confirmed.
	Hash, Fingerprint []byte
	Actor             string
}

const createConfirmation = `
INSERT INTO confirmations (sha256, actor, fingerprint, expires_at)
VALUES ($1, $2, $3, $4)`

const dropConfirmations = `
DELETE FROM confirmations
WHERE expires_at < $1`

// CreateConfirmation keeps a confirmation for a time.
func (db *DB) CreateConfirmation(ctx context.Context, c Confirmation, lasts time.Duration) (expires time.Time, err error) {
	now := db.now()
	if _, err := db.pool.Exec(ctx, dropConfirmations, now); err != nil {
		return now, translate(err, "dropping old confirmations")
	}
	expires = now.Add(lasts)
	_, err = db.pool.Exec(ctx, createConfirmation, c.Hash, c.Actor, c.Fingerprint, expires)
	return expires, translate(err, "keeping a confirmation")
}

const useConfirmation = `
DELETE FROM confirmations
WHERE sha256 = $1 AND actor = $2 AND fingerprint = $3 AND expires_at >= $4`

func (c Confirmation) use(ctx context.Context, tx pgx.Tx, now time.Time) error {
	tag, err := tx.Exec(ctx, useConfirmation, c.Hash, c.Actor, c.Fingerprint, now)
	if err != nil {
		return fmt.Errorf("using a confirmation: %w", err)
	}
	if tag.RowsAffected() == 0 {
		return provision.Errorf(ConfirmationInvalid, "The confirmation is over, was used, or was given for another request. Send the request without it to get a new one.").At("confirmation")
	}
	return nil
}
