package api

import (
	"bytes"
	"context"

	"github.com/muster-mdm/muster/api/bulk"
	"github.com/muster-mdm/muster/store"
)

// ListUnassignImports answers GET /v1/unassign-imports.
func (r *rest) ListUnassignImports(ctx context.Context, q ListUnassignImportsRequestObject) (ListUnassignImportsResponseObject, error) {
	list, err := r.operations(ctx, store.OperationFilter{Kind: store.OpUnassign, State: string(value(q.Params.State)), Import: yes()}, q.Params.Cursor, q.Params.Limit)
	return ListUnassignImports200JSONResponse{list}, err
}

// CreateUnassignImport answers POST /v1/unassign-imports.
func (r *rest) CreateUnassignImport(ctx context.Context, q CreateUnassignImportRequestObject) (CreateUnassignImportResponseObject, error) {
	o, err := r.importFile(ctx, bulk.Unassignments, CreateAssignmentImportParams(q.Params), q.Body)
	if err != nil {
		return nil, err
	}
	at := "/v1/unassign-imports/" + o.Id
	return CreateUnassignImport201JSONResponse{Body: o, Headers: CreateUnassignImport201ResponseHeaders{Location: &at}}, nil
}

// GetUnassignImportTemplate answers GET /v1/unassign-imports/template.
func (r *rest) GetUnassignImportTemplate(context.Context, GetUnassignImportTemplateRequestObject) (GetUnassignImportTemplateResponseObject, error) {
	t := bulk.Unassignments.Template()
	return GetUnassignImportTemplate200TextcsvResponse{Body: bytes.NewReader(t), ContentLength: int64(len(t))}, nil
}

// GetUnassignImport answers GET /v1/unassign-imports/{id}.
func (r *rest) GetUnassignImport(ctx context.Context, q GetUnassignImportRequestObject) (GetUnassignImportResponseObject, error) {
	o, err := r.imported(ctx, q.Id, store.OpUnassign)
	return GetUnassignImport200JSONResponse{OperationJSONResponse(renderOperation(o))}, err
}

// ListUnassignImportRows answers GET /v1/unassign-imports/{id}/rows.
func (r *rest) ListUnassignImportRows(ctx context.Context, q ListUnassignImportRowsRequestObject) (ListUnassignImportRowsResponseObject, error) {
	o, err := r.imported(ctx, q.Id, store.OpUnassign)
	if err != nil {
		return nil, err
	}
	if wantsCSV(ctx) {
		return ListUnassignImportRows200TextcsvResponse{Body: r.result(ctx, o)}, nil
	}
	list, err := r.rows(ctx, o, ListOperationRowsParams(q.Params))
	return ListUnassignImportRows200JSONResponse(list), err
}

// GetUnassignImportResult answers GET /v1/unassign-imports/{id}/result.
func (r *rest) GetUnassignImportResult(ctx context.Context, q GetUnassignImportResultRequestObject) (GetUnassignImportResultResponseObject, error) {
	o, err := r.imported(ctx, q.Id, store.OpUnassign)
	if err != nil {
		return nil, err
	}
	return GetUnassignImportResult200TextcsvResponse{
		Body: r.result(ctx, o), Headers: GetUnassignImportResult200ResponseHeaders{ContentDisposition: attachment(o)},
	}, nil
}

// ApplyUnassignImport answers POST /v1/unassign-imports/{id}:apply.
func (r *rest) ApplyUnassignImport(ctx context.Context, q ApplyUnassignImportRequestObject) (ApplyUnassignImportResponseObject, error) {
	o, err := r.imported(ctx, q.Id, store.OpUnassign)
	if err == nil {
		o, err = r.DB.ApplyImport(ctx, o.ID, string(q.Body.Mode), actorOf(ctx).ID)
	}
	return ApplyUnassignImport202JSONResponse{OperationJSONResponse(renderOperation(o))}, err
}

// PauseUnassignImport answers POST /v1/unassign-imports/{id}:pause.
func (r *rest) PauseUnassignImport(ctx context.Context, q PauseUnassignImportRequestObject) (PauseUnassignImportResponseObject, error) {
	o, err := r.imported(ctx, q.Id, store.OpUnassign)
	if err == nil {
		o, err = r.DB.PauseOperation(ctx, o.ID, true)
	}
	return PauseUnassignImport202JSONResponse{OperationJSONResponse(renderOperation(o))}, err
}

// ResumeUnassignImport answers POST /v1/unassign-imports/{id}:resume.
func (r *rest) ResumeUnassignImport(ctx context.Context, q ResumeUnassignImportRequestObject) (ResumeUnassignImportResponseObject, error) {
	o, err := r.imported(ctx, q.Id, store.OpUnassign)
	if err == nil {
		o, err = r.DB.PauseOperation(ctx, o.ID, false)
	}
	return ResumeUnassignImport202JSONResponse{OperationJSONResponse(renderOperation(o))}, err
}

// CancelUnassignImport answers POST /v1/unassign-imports/{id}:cancel.
func (r *rest) CancelUnassignImport(ctx context.Context, q CancelUnassignImportRequestObject) (CancelUnassignImportResponseObject, error) {
	o, err := r.imported(ctx, q.Id, store.OpUnassign)
	if err == nil {
		o, err = r.DB.CancelOperation(ctx, o.ID, actorOf(ctx).ID)
	}
	return CancelUnassignImport202JSONResponse{OperationJSONResponse(renderOperation(o))}, err
}

// UndoUnassignImport answers POST /v1/unassign-imports/{id}:undo.
func (r *rest) UndoUnassignImport(ctx context.Context, q UndoUnassignImportRequestObject) (UndoUnassignImportResponseObject, error) {
	o, err := r.imported(ctx, q.Id, store.OpUnassign)
	if err == nil {
		o, err = r.DB.UndoOperation(ctx, o.ID, actorOf(ctx).ID)
	}
	return UndoUnassignImport202JSONResponse{OperationJSONResponse(renderOperation(o))}, err
}
