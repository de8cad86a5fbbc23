package store

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/muster-mdm/muster/provision"
)

// Document is a document that groups bring, with its newest content: it was uploaded, or it is at MediaURL.
type Document struct {
	Name        string
	Description string
	// Identifier is the PersistentID of the book on devices.
	Identifier    string
	Title, Author string
	Format        provision.DocumentFormat
	MediaURL      string
	// SHA256 and Size are of what was uploaded.
	SHA256 []byte
	Size   int64
	// Content rises with every change of what devices get, title and author among it.
	Content   int
	Version   int64
	CreatedAt time.Time
	UpdatedAt time.Time

	file *int64
}

// DocumentEdit is a document as it is given. What is nil stays as it is; a new document's title is its name.
type DocumentEdit struct {
	Name                       string
	Description, Title, Author *string
	// File is what was uploaded, or MediaURL with its Format says where the document is; without either the source stays.
	File     *StagedFile
	MediaURL string
	Format   provision.DocumentFormat
}

// documentSpace is the UUID name space of documents' identifiers.
var documentSpace = uuid.NewSHA1(uuid.NameSpaceURL, []byte("https://github.com/muster-mdm/muster#document"))

// DocumentIdentifier is the persistent identifier of a document's book. It follows from the name, so that a document that
// was deleted and comes again replaces what devices have of it.
func DocumentIdentifier(name string) string {
	return "com.github.muster-mdm.document." + uuid.NewSHA1(documentSpace, []byte(name)).String()
}

const documents = `
SELECT d.name, d.description, d.identifier, c.title, c.author, c.format, coalesce(c.media_url, ''), f.sha256, coalesce(f.size, 0),
    d.content, d.version, d.created_at, d.updated_at, c.file
FROM documents d
    JOIN document_contents c ON c.name = d.name AND c.content = d.content
    LEFT JOIN document_files f ON f.id = c.file
WHERE `

func scanDocument(row pgx.CollectableRow) (Document, error) {
	var d Document
	err := row.Scan(&d.Name, &d.Description, &d.Identifier, &d.Title, &d.Author, &d.Format, &d.MediaURL, &d.SHA256, &d.Size,
		&d.Content, &d.Version, &d.CreatedAt, &d.UpdatedAt, &d.file)
	return d, err
}

// Documents lists documents by name.
func (db *DB) Documents(ctx context.Context, p Page) ([]Document, error) {
	rows, err := db.pool.Query(ctx, documents+`d.name > $1 ORDER BY d.name LIMIT $2`, p.After, p.Limit)
	if err != nil {
		return nil, translate(err, "listing documents")
	}
	list, err := pgx.CollectRows(rows, scanDocument)
	return list, translate(err, "listing documents")
}

func readDocument(ctx context.Context, q querier, name string) (Document, error) {
	rows, err := q.Query(ctx, documents+`d.name = $1`, name)
	if err != nil {
		return Document{}, err
	}
	return pgx.CollectExactlyOneRow(rows, scanDocument)
}

// Document returns a document. It fails with [provision.NotFound].
func (db *DB) Document(ctx context.Context, name string) (Document, error) {
	d, err := readDocument(ctx, db.pool, name)
	if errors.Is(err, pgx.ErrNoRows) {
		return d, noDocument(name)
	}
	return d, translate(err, "reading a document")
}

func noDocument(name string) error {
	return provision.Errorf(provision.NotFound, "Document %.100q does not exist.", name)
}

const saveDocument = `
INSERT INTO documents (name, description, identifier, content, created_at, updated_at)
VALUES ($1, $2, $3, $4, $5, $5)
ON CONFLICT (name) DO UPDATE
SET description = EXCLUDED.description,
    content = EXCLUDED.content,
    version = documents.version + 1,
    updated_at = EXCLUDED.updated_at`

const addDocumentContent = `
INSERT INTO document_contents (name, content, format, title, author, media_url, file, created_at)
VALUES (@name, @content, @format, @title, @author, nullif(@media_url, ''), @file, @now)`

// PutDocument creates a document or edits it. Another content has the next number, and every device whose groups bring the
// document learns it in the same transaction; an edit that changes nothing makes no new version. It fails with
// [provision.DocumentBad] when the document would have no source.
func (db *DB) PutDocument(ctx context.Context, d DocumentEdit, edit Edit) (saved Document, created bool, err error) {
	err = db.editCatalog(ctx, "editing a document", edit, func(ctx context.Context, e *catalogEdit) error {
		was, err := readDocument(ctx, e.tx, d.Name)
		created = errors.Is(err, pgx.ErrNoRows)
		if err != nil && !created {
			return err
		}
		if err := e.If.Check(was.Version); err != nil {
			return err
		}
		next, err := was.edited(d)
		if err != nil {
			return err
		}
		if err := e.saveDocument(ctx, was, next); err != nil {
			return err
		}
		saved, err = readDocument(ctx, e.tx, d.Name)
		return err
	})
	return saved, created, err
}

// edited is the document after an edit; it doesn't count its contents.
func (d Document) edited(by DocumentEdit) (Document, error) {
	next := d
	if d.Version == 0 {
		next.Name, next.Identifier, next.Title = by.Name, DocumentIdentifier(by.Name), by.Name
	}
	for _, field := range []struct {
		to   *string
		from *string
	}{{&next.Description, by.Description}, {&next.Title, by.Title}, {&next.Author, by.Author}} {
		if field.from != nil {
			*field.to = *field.from
		}
	}
	switch {
	case by.File != nil:
		next.file, next.SHA256, next.Size, next.Format, next.MediaURL = &by.File.id, by.File.SHA256, by.File.Size, by.Format, ""
	case by.MediaURL != "":
		next.file, next.SHA256, next.Size, next.Format, next.MediaURL = nil, nil, 0, by.Format, by.MediaURL
	case d.file == nil:
		return next, provision.Errorf(provision.DocumentBad,
			"Give media_url, or upload the file to the address that ends in /content: the document must come from somewhere.").At("media_url")
	}
	return next, nil
}

// same reports whether devices get the same.
func (d Document) same(other Document) bool {
	return d.Title == other.Title && d.Author == other.Author && d.Format == other.Format && d.MediaURL == other.MediaURL &&
		bytes.Equal(d.SHA256, other.SHA256)
}

func (e *catalogEdit) saveDocument(ctx context.Context, was, next Document) error {
	same := was.Version != 0 && was.same(next)
	if same && was.Description == next.Description {
		return nil
	}
	if !same {
		next.Content++
	}
	if _, err := e.tx.Exec(ctx, saveDocument, next.Name, next.Description, next.Identifier, next.Content, e.now); err != nil {
		return err
	}
	if same {
		return nil
	}
	_, err := e.tx.Exec(ctx, addDocumentContent, pgx.NamedArgs{
		"name": next.Name, "content": next.Content, "format": next.Format, "title": next.Title, "author": next.Author,
		"media_url": next.MediaURL, "file": next.file, "now": e.now,
	})
	if err != nil {
		return err
	}
	return e.itemChanged(ctx, provision.ItemKey{Kind: provision.DocumentItem, Name: next.Name})
}

const filesOfDocument = `
SELECT DISTINCT file
FROM document_contents
WHERE name = $1 AND file IS NOT NULL`

// DeleteDocument deletes a document with all its contents. It fails with [provision.NotFound], and with [provision.InUse]
// while a group brings it.
func (db *DB) DeleteDocument(ctx context.Context, name string, condition Condition) error {
	return db.editCatalog(ctx, "deleting a document", Edit{If: condition}, func(ctx context.Context, e *catalogEdit) error {
		d, err := readDocument(ctx, e.tx, name)
		if errors.Is(err, pgx.ErrNoRows) {
			return noDocument(name)
		}
		if err != nil {
			return err
		}
		if err := e.checkDeletable(ctx, provision.ItemKey{Kind: provision.DocumentItem, Name: name}, d.Version); err != nil {
			return err
		}
		rows, err := e.tx.Query(ctx, filesOfDocument, name)
		if err != nil {
			return err
		}
		files, err := pgx.CollectRows(rows, pgx.RowTo[int64])
		if err != nil {
			return err
		}
		if _, err := e.tx.Exec(ctx, `DELETE FROM documents WHERE name = $1`, name); err != nil {
			return err
		}
		_, err = e.tx.Exec(ctx, `DELETE FROM document_files WHERE id = ANY ($1)`, files)
		return err
	})
}

// documentLinks are how devices reach what was uploaded.
type documentLinks struct {
	base string
	key  []byte
}

// LinkDocuments sets under which address devices fetch what was uploaded, and the key that proves that an address is ours.
// Without it documents that were uploaded can't be sent. It must not be called while the store is in use.
func (db *DB) LinkDocuments(base string, key []byte) { db.links = documentLinks{base, key} }

const documentSources = `
SELECT c.name, c.content, c.format, c.title, c.author, coalesce(c.media_url, '')
FROM unnest($1::text[], $2::integer[]) AS wanted (name, content)
    JOIN document_contents c USING (name, content)`

func (c *Change) collectDocuments(rows pgx.Rows, into map[itemContent]provision.DocumentSource) error {
	var i itemContent
	var s provision.DocumentSource
	_, err := pgx.ForEachRow(rows, []any{&i.name, &i.content, &s.Format, &s.Title, &s.Author, &s.URL}, func() error {
		if s.URL == "" {
			s.URL = c.documentURL(i, s.Format)
		}
		into[i] = s
		return nil
	})
	return err
}

// documentURL is where this device fetches a content in this enrollment. It ends in the book's identifier and format, as
// devices may name a download by its address; the secret is in the query, which nobody logs.
func (c *Change) documentURL(i itemContent, format provision.DocumentFormat) string {
	links := c.db.links
	if links.base == "" {
		return ""
	}
	link := provision.DocumentLink{
		Serial: c.Device.Serial, Epoch: c.Device.Activation.Epoch, Document: i.name, Content: i.content, Until: c.now.Add(provision.DocumentLinkLife),
	}
	return fmt.Sprintf("%s/%s.%s?token=%s", links.base, DocumentIdentifier(i.name), format, link.Token(links.key))
}

// A device gets what its plan in its present enrollment says, and nothing once that has changed.
const linkedFile = `
SELECT f.id, f.size, f.sha256, c.format, f.created_at
FROM devices d
    JOIN plan_items p ON p.serial = d.serial AND p.epoch = d.epoch AND p.kind = 'document' AND p.name = $3 AND p.version = $4
        AND p.state NOT IN ('remove_pending', 'removing', 'removed')
    JOIN document_contents c ON c.name = p.name AND c.content = p.version
    JOIN document_files f ON f.id = c.file
WHERE d.serial = $1 AND d.epoch = $2 AND d.management = 'managed'`

// LinkedDocument returns the file that the token of an address leads to. It fails with [provision.DocumentLinkRefused] when
// the token isn't ours or is over, and when the device isn't to have the document any more.
func (db *DB) LinkedDocument(ctx context.Context, token string) (DocumentFile, error) {
	if len(db.links.key) == 0 {
		return DocumentFile{}, provision.Errorf(provision.DocumentLinkRefused, "This server gives no addresses of documents.")
	}
	link, err := provision.ParseDocumentLink(token, db.links.key, db.now())
	if err != nil {
		return DocumentFile{}, err
	}
	var f DocumentFile
	err = db.pool.QueryRow(ctx, linkedFile, link.Serial, link.Epoch, link.Document, link.Content).Scan(&f.id, &f.Size, &f.SHA256, &f.Format, &f.CreatedAt)
	if errors.Is(err, pgx.ErrNoRows) {
		return f, provision.Errorf(provision.DocumentLinkRefused, "The device isn't to have this document any more.")
	}
	return f, translate(err, "finding a document")
}

const newestFile = `
SELECT f.id, f.size, f.sha256, c.format, f.created_at
FROM documents d
    JOIN document_contents c ON c.name = d.name AND c.content = d.content
    JOIN document_files f ON f.id = c.file
WHERE d.name = $1`

// UploadedDocument returns the newest file of a document. It fails with [provision.NotFound] when nothing was uploaded.
func (db *DB) UploadedDocument(ctx context.Context, name string) (DocumentFile, error) {
	var f DocumentFile
	err := db.pool.QueryRow(ctx, newestFile, name).Scan(&f.id, &f.Size, &f.SHA256, &f.Format, &f.CreatedAt)
	if !errors.Is(err, pgx.ErrNoRows) {
		return f, translate(err, "finding a document")
	}
	if _, err := db.Document(ctx, name); err != nil {
		return f, err
	}
	return f, provision.Errorf(provision.NotFound, "Document %.100q was not uploaded: it is at an address of its own, which media_url says.", name)
}

// ETag names the content of the file.
func (f DocumentFile) ETag() string { return `"` + hex.EncodeToString(f.SHA256) + `"` }
