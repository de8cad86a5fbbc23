package api

import (
	"context"
	"encoding/hex"
	"net/url"

	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/store"
)

// ListDocuments answers GET /v1/documents.
func (r *rest) ListDocuments(ctx context.Context, q ListDocumentsRequestObject) (ListDocumentsResponseObject, error) {
	after, err := parseCursor(q.Params.Cursor, "documents", 1)
	if err != nil {
		return nil, err
	}
	limit := limitOf(q.Params.Limit)
	list, err := r.DB.Documents(ctx, store.Page{After: after[0], Limit: limit + 1})
	if err != nil {
		return nil, err
	}
	list, next := page(list, limit, "documents", func(d store.Document) []string { return []string{d.Name} })
	return ListDocuments200JSONResponse{Documents: each(list, renderDocument), NextCursor: next}, nil
}

// GetDocument answers GET /v1/documents/{name}.
func (r *rest) GetDocument(ctx context.Context, q GetDocumentRequestObject) (GetDocumentResponseObject, error) {
	d, err := r.DB.Document(ctx, q.Name)
	return GetDocument200JSONResponse{documentAnswer(d)}, err
}

// PutDocument answers PUT /v1/documents/{name}.
func (r *rest) PutDocument(ctx context.Context, q PutDocumentRequestObject) (PutDocumentResponseObject, error) {
	how, err := editOf(editParams{q.Params.IfMatch, q.Params.IfNoneMatch != nil, q.Params.DryRun, nil})
	if err != nil {
		return nil, err
	}
	description, author, title := value(q.Body.Description), value(q.Body.Author), q.Name
	if q.Body.Title != nil {
		title = *q.Body.Title
	}
	d, created, err := r.Intake.PutDocument(ctx, actorOf(ctx), store.DocumentEdit{
		Name: q.Name, Description: &description, Title: &title, Author: &author, MediaURL: value(q.Body.MediaUrl),
		Format: provision.DocumentFormat(value(q.Body.Format)),
	}, how)
	if err != nil {
		return nil, err
	}
	if created {
		return PutDocument201JSONResponse{Body: renderDocument(d), Headers: PutDocument201ResponseHeaders{ETag: etag(d.Version)}}, nil
	}
	return PutDocument200JSONResponse{documentAnswer(d)}, nil
}

// DeleteDocument answers DELETE /v1/documents/{name}.
func (r *rest) DeleteDocument(ctx context.Context, q DeleteDocumentRequestObject) (DeleteDocumentResponseObject, error) {
	condition, err := conditionOf(q.Params.IfMatch, false)
	if err != nil {
		return nil, err
	}
	return DeleteDocument204Response{}, r.Intake.DeleteDocument(ctx, q.Name, condition)
}

// GetDocumentContent answers GET /v1/documents/{name}/content.
func (r *rest) GetDocumentContent(ctx context.Context, q GetDocumentContentRequestObject) (GetDocumentContentResponseObject, error) {
	f, err := r.DB.UploadedDocument(ctx, q.Name)
	if err != nil {
		return nil, err
	}
	disposition := "attachment; filename*=UTF-8''" + url.PathEscape(q.Name) + "." + string(f.Format)
	return GetDocumentContent200ApplicationoctetStreamResponse{
		Body: r.DB.OpenDocument(ctx, f), ContentLength: f.Size,
		Headers: GetDocumentContent200ResponseHeaders{ContentDisposition: &disposition},
	}, nil
}

// PutDocumentContent answers PUT /v1/documents/{name}/content.
func (r *rest) PutDocumentContent(ctx context.Context, q PutDocumentContentRequestObject) (PutDocumentContentResponseObject, error) {
	how, err := editOf(editParams{q.Params.IfMatch, q.Params.IfNoneMatch != nil, q.Params.DryRun, nil})
	if err != nil {
		return nil, err
	}
	d, created, err := r.Intake.UploadDocument(ctx, actorOf(ctx), store.DocumentEdit{
		Name: q.Name, Description: q.Params.Description, Title: q.Params.Title, Author: q.Params.Author,
	}, interruptible{q.Body}, how)
	if err != nil {
		return nil, err
	}
	if created {
		return PutDocumentContent201JSONResponse{Body: renderDocument(d), Headers: PutDocumentContent201ResponseHeaders{ETag: etag(d.Version)}}, nil
	}
	return PutDocumentContent200JSONResponse{documentAnswer(d)}, nil
}

func renderDocument(d store.Document) Document {
	return Document{
		Name: d.Name, Description: d.Description, Title: d.Title, Author: d.Author, Format: DocumentFormat(d.Format),
		MediaUrl: given(d.MediaURL), Size: given(d.Size), Sha256: given(hex.EncodeToString(d.SHA256)), Identifier: d.Identifier,
		Content: d.Content, Version: d.Version, CreatedAt: d.CreatedAt, UpdatedAt: d.UpdatedAt,
	}
}

func documentAnswer(d store.Document) DocumentJSONResponse {
	return DocumentJSONResponse{Body: renderDocument(d), Headers: DocumentResponseHeaders{ETag: etag(d.Version)}}
}
