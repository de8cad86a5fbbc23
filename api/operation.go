package api

import (
	"context"
	"encoding/hex"
	"strconv"
	"time"

	"github.com/muster-mdm/muster/api/bulk"
	"github.com/muster-mdm/muster/api/intake"
	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/store"
)

func yes() *bool { t := true; return &t }

// ListOperations answers GET /v1/operations.
func (r *rest) ListOperations(ctx context.Context, q ListOperationsRequestObject) (ListOperationsResponseObject, error) {
	p := q.Params
	list, err := r.operations(ctx, store.OperationFilter{Kind: string(value(p.Kind)), State: string(value(p.State))}, p.Cursor, p.Limit)
	return ListOperations200JSONResponse{list}, err
}

// operations is a page of operations.
func (r *rest) operations(ctx context.Context, f store.OperationFilter, from *string, most *int) (OperationListJSONResponse, error) {
	key, err := parseCursor(from, "operations", 2)
	if err != nil {
		return OperationListJSONResponse{}, err
	}
	if f.BeforeID = key[1]; f.BeforeID != "" {
		if f.Before, err = time.Parse(time.RFC3339Nano, key[0]); err != nil {
			return OperationListJSONResponse{}, faultf(codeCursorInvalid, "The cursor is not one that this list gave; begin without one.").at("cursor")
		}
	}
	limit := limitOf(most)
	f.Limit = limit + 1
	list, err := r.DB.Operations(ctx, f)
	if err != nil {
		return OperationListJSONResponse{}, err
	}
	list, next := page(list, limit, "operations", func(o store.Operation) []string {
		return []string{o.CreatedAt.Format(time.RFC3339Nano), o.ID}
	})
	return OperationListJSONResponse{Operations: each(list, renderOperation), NextCursor: next}, nil
}

// GetOperation answers GET /v1/operations/{id}.
func (r *rest) GetOperation(ctx context.Context, q GetOperationRequestObject) (GetOperationResponseObject, error) {
	o, err := r.DB.Operation(ctx, q.Id)
	return GetOperation200JSONResponse{OperationJSONResponse(renderOperation(o))}, err
}

// ListOperationRows answers GET /v1/operations/{id}/results. The rows of an import are for those who may see its file.
func (r *rest) ListOperationRows(ctx context.Context, q ListOperationRowsRequestObject) (ListOperationRowsResponseObject, error) {
	o, err := r.DB.Operation(ctx, q.Id)
	if err != nil {
		return nil, err
	}
	if err := mayReadRows(ctx, o); err != nil {
		return nil, err
	}
	if wantsCSV(ctx) {
		return ListOperationRows200TextcsvResponse{Body: r.result(ctx, o)}, nil
	}
	list, err := r.rows(ctx, o, q.Params)
	return ListOperationRows200JSONResponse(list), err
}

func mayReadRows(ctx context.Context, o store.Operation) error {
	if who, ok := callerOf(ctx); o.Import && ok && !who.Role.Includes(store.Technician) {
		return faultf(codeForbidden, "The rows of an import ask for the role %s; the token's is %s.", store.Technician, who.Role)
	}
	return nil
}

// rows is a page of an operation's rows.
func (r *rest) rows(ctx context.Context, o store.Operation, p ListOperationRowsParams) (OperationRowList, error) {
	list := "rows/" + o.ID
	after, err := timelineKey(p.Cursor, list)
	if err != nil {
		return OperationRowList{}, err
	}
	limit := limitOf(p.Limit)
	rows, err := r.DB.OperationRows(ctx, o, store.RowFilter{
		Verdict: string(value(p.Verdict)), Outcome: string(value(p.Outcome)), Undo: string(value(p.Undo)), Code: value(p.Code),
		After: after, Limit: limit + 1,
	})
	if err != nil {
		return OperationRowList{}, err
	}
	key := func(r store.OperationRow) []string { return []string{strconv.FormatInt(r.Line, 10)} }
	rows, next := page(rows, limit, list, key)
	if next == nil && store.Heavy(rows) {
		next = given(cursor{list, key(rows[len(rows)-1])}.text())
	}
	return OperationRowList{Rows: each(rows, renderOperationRow), NextCursor: next}, nil
}

// mayChange asks for the role that beginning the operation asked for.
func (r *rest) mayChange(ctx context.Context, id string) error {
	o, err := r.DB.Operation(ctx, id)
	if err != nil {
		return err
	}
	least := leastRole[map[string]string{
		store.OpAssign: "assignDevices", store.OpUnassign: "unassignDevices", store.OpUnassignFromMDM: "unassignDevicesFromMdm",
		store.OpDeprovision: "deprovisionDevices", store.OpRelease: "releaseDevices", store.OpWithdraw: "withdrawDevices",
	}[o.Kind]]
	if who, ok := callerOf(ctx); ok && !who.Role.Includes(least) {
		return faultf(codeForbidden, "This asks for the role %s; the token's is %s.", least, who.Role)
	}
	return nil
}

// changedOperation makes a change of an operation after looking whether the caller may.
func (r *rest) changedOperation(ctx context.Context, id string, change func(context.Context, string) (store.Operation, error)) (OperationJSONResponse, error) {
	if err := r.mayChange(ctx, id); err != nil {
		return OperationJSONResponse{}, err
	}
	o, err := change(ctx, id)
	return OperationJSONResponse(renderOperation(o)), err
}

func (r *rest) paused(paused bool) func(context.Context, string) (store.Operation, error) {
	return func(ctx context.Context, id string) (store.Operation, error) {
		return r.DB.PauseOperation(ctx, id, paused)
	}
}

// byCaller is a change that is told whose doing it is.
func byCaller(change func(ctx context.Context, id, by string) (store.Operation, error)) func(context.Context, string) (store.Operation, error) {
	return func(ctx context.Context, id string) (store.Operation, error) { return change(ctx, id, actorOf(ctx).ID) }
}

// PauseOperation answers POST /v1/operations/{id}:pause.
func (r *rest) PauseOperation(ctx context.Context, q PauseOperationRequestObject) (PauseOperationResponseObject, error) {
	o, err := r.changedOperation(ctx, q.Id, r.paused(true))
	return PauseOperation202JSONResponse{o}, err
}

// ResumeOperation answers POST /v1/operations/{id}:resume.
func (r *rest) ResumeOperation(ctx context.Context, q ResumeOperationRequestObject) (ResumeOperationResponseObject, error) {
	o, err := r.changedOperation(ctx, q.Id, r.paused(false))
	return ResumeOperation202JSONResponse{o}, err
}

// CancelOperation answers POST /v1/operations/{id}:cancel.
func (r *rest) CancelOperation(ctx context.Context, q CancelOperationRequestObject) (CancelOperationResponseObject, error) {
	o, err := r.changedOperation(ctx, q.Id, byCaller(r.DB.CancelOperation))
	return CancelOperation202JSONResponse{o}, err
}

// UndoOperation answers POST /v1/operations/{id}:undo.
func (r *rest) UndoOperation(ctx context.Context, q UndoOperationRequestObject) (UndoOperationResponseObject, error) {
	o, err := r.changedOperation(ctx, q.Id, byCaller(r.DB.UndoOperation))
	return UndoOperation202JSONResponse{o}, err
}

func renderOperation(o store.Operation) Operation {
	out := Operation{
		Id: o.ID, Kind: OperationKind(o.Kind), Import: o.Import, State: OperationState(o.State), Paused: o.Paused,
		Mode: given(ApplyMode(o.Mode)), Reason: given(o.Request.Reason), By: given(o.Request.By), Actor: o.Actor,
		AppliedBy: given(o.Request.AppliedBy), UndoneBy: given(o.Request.UndoneBy), Source: string(o.Source),
		Codes: o.Codes, Undoable: o.Undoable(), CreatedAt: o.CreatedAt, StartedAt: o.StartedAt, FinishedAt: o.FinishedAt,
	}
	out.Rows.Total, out.Rows.Ok, out.Rows.Notice, out.Rows.Error = o.Total, o.OK, o.Noticed, o.Wrong
	p := &out.Progress
	p.Changed, p.Unchanged, p.Refused, p.Restored, p.Conflicts = o.Changed, o.Unchanged, o.Refused, o.Restored, o.Conflicts
	p.Done, p.Of = o.Changed+o.Unchanged+o.Refused, o.Total-o.Wrong
	p.Percent = percent(o)
	if f := o.Failure; f != nil {
		out.Failure = &struct {
			Code   string  `json:"code"`
			Detail string  `json:"detail"`
			Line   *int64  `json:"line,omitempty"`
			Serial *string `json:"serial,omitempty"`
		}{f.Code, f.Detail, given(f.Line), given(f.Serial)}
	}
	if o.Import {
		out.File = &OperationFile{
			Name: o.File.Name, Size: o.File.Size, Sha256: hex.EncodeToString(o.File.SHA256), Notices: each(o.File.Notices, renderRowProblem),
		}
	}
	return out
}

// percent is how far what is under way is.
func percent(o store.Operation) int {
	done, of := o.Changed+o.Unchanged+o.Refused, o.Total-o.Wrong
	switch o.State {
	case store.OpUndoing, store.OpUndone, store.OpFailed:
		done, of = o.Restored+o.Conflicts, o.Changed
	case store.OpUploading, store.OpChecking, store.OpReady:
		return 0
	}
	if of == 0 {
		return 100
	}
	return int(100 * done / of)
}

func renderRowProblem(p store.RowProblem) RowProblem {
	return RowProblem{
		Line: given(int64(p.Line)), Column: given(p.Column), Code: p.Code, Severity: RowProblemSeverity(p.Severity), Detail: p.Detail,
	}
}

// problemsOf are a row's problems with its standing.
func problemsOf(row store.OperationRow) []store.RowProblem {
	if row.Standing == "" {
		return row.Problems
	}
	return append(row.Problems, store.RowProblem{
		Column: bulk.SerialNumber, Code: row.Standing, Severity: store.VerdictNotice, Detail: intake.StandingDetail(row.Standing, row.Serial),
	})
}

func renderOperationRow(row store.OperationRow) OperationRow {
	out := OperationRow{
		Line: row.Line, Serial: row.Serial, Verdict: RowVerdict(row.Verdict), Problems: each(problemsOf(row), renderRowProblem),
		Outcome: RowOutcome(row.Outcome), Code: given(row.Code), Detail: given(row.Detail), Undo: given(RowUndo(row.Undo)),
		UndoDetail: given(row.UndoDetail),
	}
	if row.Record != nil {
		out.Record = &row.Record
	}
	switch {
	case row.Outcome != "":
	case row.Verdict == store.VerdictError:
		out.Outcome = OutcomeRefused
	default:
		out.Outcome = OutcomePending
	}
	return out
}

func renderConfirmation(e *intake.ConfirmationError) *Confirmation {
	c := &Confirmation{Token: e.Secret, ExpiresAt: e.Expires, Devices: e.Devices}
	c.Consequences = make([]struct {
		Devices int     `json:"devices"`
		Effect  string  `json:"effect"`
		Refused *string `json:"refused,omitempty"`
		Status  *string `json:"status,omitempty"`
	}, len(e.Consequences))
	for i, at := range e.Consequences {
		to := &c.Consequences[i]
		to.Devices, to.Effect, to.Refused, to.Status = at.Devices, at.Effect, given(string(at.Refused)), given(at.Status)
	}
	return c
}

// selection reads which devices are meant: by their serial numbers, or by what they have in common.
func selection(w *intake.ManyWish, serials *Serials, filter *DeviceSelection) error {
	if (serials == nil) == (filter == nil) {
		return faultf(provision.Invalid, "Give either \"serials\" or a \"filter\".").at("serials")
	}
	w.Serials = value(serials)
	if f := filter; f != nil {
		w.Filter = &store.DeviceFilter{
			Statuses: each(value(f.Status), func(s Status) string { return string(s) }), Awaiting: string(value(f.Awaiting)),
			Management: string(value(f.Management)), Group: value(f.Group), Person: value(f.User), Server: value(f.Server),
			BlockedBy: string(value(f.BlockedBy)), Query: value(f.Q),
		}
	}
	return nil
}
