package store

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/muster-mdm/muster/provision"
)

// chunkSize is how much of a file is in memory at a time; a migration holds that no chunk is larger.
const chunkSize = 256 << 10

// StagedFile is an upload that is no document's yet.
type StagedFile struct {
	id     int64
	SHA256 []byte
	Size   int64
}

const stageFile = `
INSERT INTO document_files (created_at)
VALUES ($1)
RETURNING id`

const addChunk = `
INSERT INTO document_chunks (file, number, bytes)
VALUES ($1, $2, $3)`

const finishFile = `
UPDATE document_files
SET sha256 = $2, size = $3
WHERE id = $1`

// StageFile stores what it reads, chunk by chunk, so that neither memory nor a transaction holds all of it. What isn't made
// a document's by [DB.PutDocument] must be dropped, or goes with the next purge. Errors of reading are returned as they are.
func (db *DB) StageFile(ctx context.Context, from io.Reader) (StagedFile, error) {
	var f StagedFile
	if err := db.pool.QueryRow(ctx, stageFile, db.now()).Scan(&f.id); err != nil {
		return f, translate(err, "storing a file")
	}
	sum, buffer := sha256.New(), make([]byte, chunkSize)
	for number := 0; ; number++ {
		n, ended, err := fill(from, buffer)
		if err != nil {
			return f, err
		}
		if n > 0 {
			_, _ = sum.Write(buffer[:n])
			f.Size += int64(n)
			if _, err := db.pool.Exec(ctx, addChunk, f.id, number, buffer[:n]); err != nil {
				return f, translate(err, "storing a file")
			}
		}
		if ended {
			break
		}
	}
	f.SHA256 = sum.Sum(nil)
	_, err := db.pool.Exec(ctx, finishFile, f.id, f.SHA256, f.Size)
	return f, translate(err, "storing a file")
}

// fill reads until the buffer is full or the reader has ended. Unlike [io.ReadFull] it tells an end from a connection that
// broke off, which HTTP calls an unexpected end.
func fill(from io.Reader, buffer []byte) (n int, ended bool, err error) {
	for n < len(buffer) {
		m, err := from.Read(buffer[n:])
		n += m
		if err == io.EOF { // never wrapped
			return n, true, nil
		}
		if err != nil {
			return n, false, err //nolint:wrapcheck // the reader's own
		}
	}
	return n, false, nil
}

const dropFile = `
DELETE FROM document_files f
WHERE f.id = $1 AND NOT EXISTS (
    SELECT
    FROM document_contents c
    WHERE c.file = f.id
)`

// DropFile deletes an upload unless it became a document's.
func (db *DB) DropFile(ctx context.Context, f StagedFile) error {
	_, err := db.pool.Exec(ctx, dropFile, f.id)
	return translate(err, "deleting a file")
}

// DocumentFile is what was uploaded.
type DocumentFile struct {
	id        int64
	Size      int64
	SHA256    []byte
	Format    provision.DocumentFormat
	CreatedAt time.Time
}

// OpenDocument reads a file, one chunk in memory at a time. The context holds for all reads.
func (db *DB) OpenDocument(ctx context.Context, f DocumentFile) io.ReadSeeker {
	return &fileReader{ctx: ctx, db: db, file: f, number: -1}
}

type fileReader struct {
	ctx    context.Context //nolint:containedctx // io.Reader takes none
	db     *DB
	file   DocumentFile
	at     int64
	number int64 // of the chunk that is held; -1 = none
	chunk  []byte
}

const readChunk = `
SELECT bytes
FROM document_chunks
WHERE file = $1 AND number = $2`

// Read reads on from where the reader stands.
func (r *fileReader) Read(p []byte) (int, error) {
	if r.at >= r.file.Size {
		return 0, io.EOF
	}
	if number := r.at / chunkSize; number != r.number {
		r.number, r.chunk = -1, nil
		err := r.db.pool.QueryRow(r.ctx, readChunk, r.file.id, number).Scan(&r.chunk)
		if errors.Is(err, pgx.ErrNoRows) {
			return 0, provision.Errorf(provision.NotFound, "The document was deleted meanwhile.")
		}
		if err != nil {
			return 0, translate(err, "reading a document")
		}
		r.number = number
	}
	n := copy(p, r.chunk[r.at%chunkSize:])
	r.at += int64(n)
	return n, nil
}

// Seek says where to read on.
func (r *fileReader) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += r.at
	case io.SeekEnd:
		offset += r.file.Size
	}
	if offset < 0 {
		return 0, fmt.Errorf("seeking to %d", offset)
	}
	r.at = offset
	return offset, nil
}
