package store

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/muster-mdm/muster/provision"
)

// Kinds of operations: what is done to each device.
const (
	OpAssign          = "assign"
	OpUnassign        = "unassign"
	OpUnassignFromMDM = "unassign_from_mdm"
	OpDeprovision     = "deprovision"
	OpRelease         = "release"
	OpWithdraw        = "withdraw"
)

// States of an operation:
//
//	uploading → checking → ready → applying → done → undoing → undone
//	                                   └→ cancelled ──┘
//
// A list of devices begins with applying. All or nothing goes from applying to undoing, and ends as failed, when a row
// can't be applied.
const (
	OpUploading = "uploading"
	OpChecking  = "checking"
	OpReady     = "ready"
	OpApplying  = "applying"
	OpUndoing   = "undoing"
	OpDone      = "done"
	OpCancelled = "cancelled"
	OpUndone    = "undone"
	OpFailed    = "failed"
)

// Modes of applying.
const (
	ValidRows    = "valid_rows"
	AllOrNothing = "all_or_nothing"
)

// Codes of requests that an operation doesn't fit.
const (
	// OperationState: it isn't in a state in which that can be asked of it.
	OperationState provision.Code = "operation_state"
	// RowsInError: all or nothing was asked for, and rows are in error.
	RowsInError provision.Code = "import_rows_in_error"
	// NotUndoable: what was done can't be taken back.
	NotUndoable provision.Code = "operation_not_undoable"
	// ImportDuplicate: the same file was uploaded before.
	ImportDuplicate provision.Code = "import_duplicate"
)

// OperationRequest is what shall be done to every device. Its JSON is stored.
type OperationRequest struct {
	// Reason and By are those of a deprovisioning; a release has a reason, too.
	Reason string `json:"reason,omitempty"`
	By     string `json:"by,omitempty"`
	// Wish is the assignment that all devices get, of an operation that is no import.
	Wish *Wish `json:"wish,omitempty"`
	// Requirement is that of assignments that stand in a file.
	Requirement string     `json:"requirement,omitempty"`
	ExpectedBy  *time.Time `json:"expected_by,omitempty"`
	// AppliedBy and UndoneBy are who had it applied and taken back; "" = nobody, or who made the operation.
	AppliedBy string `json:"applied_by,omitempty"`
	UndoneBy  string `json:"undone_by,omitempty"`
}

// OperationFailure says what went wrong with an operation as a whole.
type OperationFailure struct {
	Code   string `json:"code"`
	Detail string `json:"detail"`
	Line   int64  `json:"line,omitempty"`
	Serial string `json:"serial,omitempty"`
}

// RowProblem is one thing to know about a row or a file. Its JSON is stored.
type RowProblem struct {
	Line     int    `json:"line,omitempty"`
	Column   string `json:"column,omitempty"`
	Code     string `json:"code"`
	Severity string `json:"severity"`
	Detail   string `json:"detail"`
}

// Operation is work on many devices.
type Operation struct {
	ID      string
	number  int64
	Kind    string
	Import  bool
	State   string
	Paused  bool
	Mode    string
	Request OperationRequest
	Failure *OperationFailure
	Actor   string
	Source  provision.Source
	// Total counts the rows; OK, Noticed and Wrong by verdict; Codes by problem.
	Total, OK, Noticed, Wrong int64
	Codes                     map[string]int64
	// Line is the last row that was done; Changed, Unchanged and Refused count what became of rows.
	Line, Changed, Unchanged, Refused int64
	// Restored and Conflicts count rows that were taken back, and those that were not because the device changed since.
	Restored, Conflicts int64
	File                ImportFile
	CreatedAt           time.Time
	StartedAt           *time.Time
	FinishedAt          *time.Time
	// kept: what became of the rows is still there.
	kept bool
}

// ImportFile is an uploaded file.
type ImportFile struct {
	Name      string
	Size      int64
	SHA256    []byte
	Header    []string
	Delimiter string
	BOM       bool
	Notices   []RowProblem
}

// applier and undoer are whose doing the facts are that applying and taking back record.
func (o Operation) applier() string { return cmp.Or(o.Request.AppliedBy, o.Actor) }

func (o Operation) undoer() string { return cmp.Or(o.Request.UndoneBy, o.Actor) }

// Over reports whether nothing more happens by itself.
func (o Operation) Over() bool { return o.FinishedAt != nil }

// Undoable reports whether what was done can be taken back.
func (o Operation) Undoable() bool {
	return (o.Kind == OpAssign || o.Kind == OpUnassign) && (o.State == OpDone || o.State == OpCancelled) && o.Changed > 0 && o.kept
}

const operationColumns = `id, number, kind, import, state, paused, mode, request, failure, actor, source, total, ok, noticed, wrong, codes,
    line, changed, unchanged, refused, restored, conflicts, file_name, file_size, file_sha256, header, delimiter, bom,
    notices, created_at, started_at, finished_at, EXISTS (SELECT FROM operation_results r WHERE r.operation = operations.number)`

const operationsWhere = `
SELECT ` + operationColumns + `
FROM operations
WHERE `

func scanOperation(row pgx.CollectableRow) (Operation, error) {
	var o Operation
	err := row.Scan(&o.ID, &o.number, &o.Kind, &o.Import, &o.State, &o.Paused, &o.Mode, &o.Request, &o.Failure, &o.Actor, &o.Source, &o.Total, &o.OK,
		&o.Noticed, &o.Wrong, &o.Codes, &o.Line, &o.Changed, &o.Unchanged, &o.Refused, &o.Restored, &o.Conflicts, &o.File.Name,
		&o.File.Size, &o.File.SHA256, &o.File.Header, &o.File.Delimiter, &o.File.BOM, &o.File.Notices, &o.CreatedAt, &o.StartedAt,
		&o.FinishedAt, &o.kept)
	return o, err
}

// Operation returns an operation. It fails with [provision.NotFound].
func (db *DB) Operation(ctx context.Context, id string) (Operation, error) {
	rows, err := db.pool.Query(ctx, operationsWhere+`id = $1`, id)
	if err != nil {
		return Operation{}, translate(err, "reading an operation")
	}
	o, err := pgx.CollectExactlyOneRow(rows, scanOperation)
	if errors.Is(err, pgx.ErrNoRows) {
		return o, noOperation(id)
	}
	return o, translate(err, "reading an operation")
}

func noOperation(id string) error {
	return provision.Errorf(provision.NotFound, "No operation or import has the id %.80q.", id)
}

// OperationFilter narrows a list of operations; zero fields don't.
type OperationFilter struct {
	Kind   string
	State  string
	Import *bool
	// Before and BeforeID are those of the last operation of the page before.
	Before   time.Time
	BeforeID string
	Limit    int
}

const listOperations = operationsWhere + `(@kind = '' OR kind = @kind)
    AND (@state = '' OR state = @state)
    AND (@import::boolean IS NULL OR import = @import)
    AND (@before_id = '' OR (created_at, id) < (@before, @before_id))
ORDER BY created_at DESC, id DESC
LIMIT @limit`

// Operations lists operations, the newest first.
func (db *DB) Operations(ctx context.Context, f OperationFilter) ([]Operation, error) {
	rows, err := db.pool.Query(ctx, listOperations, pgx.NamedArgs{
		"kind": f.Kind, "state": f.State, "import": f.Import, "before": f.Before, "before_id": f.BeforeID, "limit": f.Limit,
	})
	if err != nil {
		return nil, translate(err, "listing operations")
	}
	list, err := pgx.CollectRows(rows, scanOperation)
	return list, translate(err, "listing operations")
}

// asJSON marshals what can always be marshalled; nil stays NULL.
func asJSON(v any) []byte {
	raw, err := json.Marshal(v)
	if err != nil || string(raw) == "null" {
		return nil
	}
	return raw
}
