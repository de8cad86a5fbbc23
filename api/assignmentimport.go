package api

import (
	"bytes"
	"context"

	"github.com/muster-mdm/muster/api/bulk"
	"github.com/muster-mdm/muster/store"
)

// ListAssignmentImports answers GET /v1/assignment-imports.
func (r *rest) ListAssignmentImports(ctx context.Context, q ListAssignmentImportsRequestObject) (ListAssignmentImportsResponseObject, error) {
	list, err := r.operations(ctx, store.OperationFilter{Kind: store.OpAssign, State: string(value(q.Params.State)), Import: yes()}, q.Params.Cursor, q.Params.Limit)
	return ListAssignmentImports200JSONResponse{list}, err
}

// CreateAssignmentImport answers POST /v1/assignment-imports.
func (r *rest) CreateAssignmentImport(ctx context.Context, q CreateAssignmentImportRequestObject) (CreateAssignmentImportResponseObject, error) {
	o, err := r.importFile(ctx, bulk.Assignments, q.Params, q.Body)
	if err != nil {
		return nil, err
	}
	at := "/v1/assignment-imports/" + o.Id
	return CreateAssignmentImport201JSONResponse{Body: o, Headers: CreateAssignmentImport201ResponseHeaders{Location: &at}}, nil
}

// GetAssignmentImportTemplate answers GET /v1/assignment-imports/template.
func (r *rest) GetAssignmentImportTemplate(context.Context, GetAssignmentImportTemplateRequestObject) (GetAssignmentImportTemplateResponseObject, error) {
	t := bulk.Assignments.Template()
	return GetAssignmentImportTemplate200TextcsvResponse{Body: bytes.NewReader(t), ContentLength: int64(len(t))}, nil
}

// GetAssignmentImport answers GET /v1/assignment-imports/{id}.
func (r *rest) GetAssignmentImport(ctx context.Context, q GetAssignmentImportRequestObject) (GetAssignmentImportResponseObject, error) {
	o, err := r.imported(ctx, q.Id, store.OpAssign)
	return GetAssignmentImport200JSONResponse{OperationJSONResponse(renderOperation(o))}, err
}

// ListAssignmentImportRows answers GET /v1/assignment-imports/{id}/rows.
func (r *rest) ListAssignmentImportRows(ctx context.Context, q ListAssignmentImportRowsRequestObject) (ListAssignmentImportRowsResponseObject, error) {
	o, err := r.imported(ctx, q.Id, store.OpAssign)
	if err != nil {
		return nil, err
	}
	if wantsCSV(ctx) {
		return ListAssignmentImportRows200TextcsvResponse{Body: r.result(ctx, o)}, nil
	}
	list, err := r.rows(ctx, o, ListOperationRowsParams(q.Params))
	return ListAssignmentImportRows200JSONResponse(list), err
}

// GetAssignmentImportResult answers GET /v1/assignment-imports/{id}/result.
func (r *rest) GetAssignmentImportResult(ctx context.Context, q GetAssignmentImportResultRequestObject) (GetAssignmentImportResultResponseObject, error) {
	o, err := r.imported(ctx, q.Id, store.OpAssign)
	if err != nil {
		return nil, err
	}
	return GetAssignmentImportResult200TextcsvResponse{
		Body: r.result(ctx, o), Headers: GetAssignmentImportResult200ResponseHeaders{ContentDisposition: attachment(o)},
	}, nil
}

// ApplyAssignmentImport answers POST /v1/assignment-imports/{id}:apply.
func (r *rest) ApplyAssignmentImport(ctx context.Context, q ApplyAssignmentImportRequestObject) (ApplyAssignmentImportResponseObject, error) {
	o, err := r.imported(ctx, q.Id, store.OpAssign)
	if err == nil {
		o, err = r.DB.ApplyImport(ctx, o.ID, string(q.Body.Mode), actorOf(ctx).ID)
	}
	return ApplyAssignmentImport202JSONResponse{OperationJSONResponse(renderOperation(o))}, err
}

// PauseAssignmentImport answers POST /v1/assignment-imports/{id}:pause.
func (r *rest) PauseAssignmentImport(ctx context.Context, q PauseAssignmentImportRequestObject) (PauseAssignmentImportResponseObject, error) {
	o, err := r.imported(ctx, q.Id, store.OpAssign)
	if err == nil {
		o, err = r.DB.PauseOperation(ctx, o.ID, true)
	}
	return PauseAssignmentImport202JSONResponse{OperationJSONResponse(renderOperation(o))}, err
}

// ResumeAssignmentImport answers POST /v1/assignment-imports/{id}:resume.
func (r *rest) ResumeAssignmentImport(ctx context.Context, q ResumeAssignmentImportRequestObject) (ResumeAssignmentImportResponseObject, error) {
	o, err := r.imported(ctx, q.Id, store.OpAssign)
	if err == nil {
		o, err = r.DB.PauseOperation(ctx, o.ID, false)
	}
	return ResumeAssignmentImport202JSONResponse{OperationJSONResponse(renderOperation(o))}, err
}

// CancelAssignmentImport answers POST /v1/assignment-imports/{id}:cancel.
func (r *rest) CancelAssignmentImport(ctx context.Context, q CancelAssignmentImportRequestObject) (CancelAssignmentImportResponseObject, error) {
	o, err := r.imported(ctx, q.Id, store.OpAssign)
	if err == nil {
		o, err = r.DB.CancelOperation(ctx, o.ID, actorOf(ctx).ID)
	}
	return CancelAssignmentImport202JSONResponse{OperationJSONResponse(renderOperation(o))}, err
}

// UndoAssignmentImport answers POST /v1/assignment-imports/{id}:undo.
func (r *rest) UndoAssignmentImport(ctx context.Context, q UndoAssignmentImportRequestObject) (UndoAssignmentImportResponseObject, error) {
	o, err := r.imported(ctx, q.Id, store.OpAssign)
	if err == nil {
		o, err = r.DB.UndoOperation(ctx, o.ID, actorOf(ctx).ID)
	}
	return UndoAssignmentImport202JSONResponse{OperationJSONResponse(renderOperation(o))}, err
}
