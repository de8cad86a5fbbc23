package store

import (
	"context"
	"time"
)

// Purged counts what [DB.Purge] deleted.
type Purged struct {
	// Queries are answered questions after a device's profiles, apps and documents.
	Queries int64
	// Commands are those that NanoMDM will never hand out.
	Commands int64
	// Challenges are enrollment challenges, used or expired.
	Challenges int64
	// Keys are idempotency keys.
	Keys int64
	// Rows are those of imports and operations that are over, with what became of them.
	Rows int64
	// SignIns are web views of devices, and tries to sign in, that are over.
	SignIns int64
	// Files are documents that no device needs any more, and uploads that ended early.
	Files int64
}

// The newest of an enrollment stays: the next question is numbered by it.
const purgeQueries = `
DELETE FROM device_commands
WHERE command_uuid IN (
    SELECT c.command_uuid
    FROM device_commands c
    WHERE c.request_type IN ('ProfileList', 'ManagedApplicationList', 'ManagedMediaList') AND c.answered_at < $1
        AND c.status NOT IN ('', 'NotNow') AND EXISTS (
            SELECT
            FROM device_commands n
            WHERE n.serial = c.serial AND n.epoch = c.epoch AND n.request_type = c.request_type AND n.kind = c.kind
                AND n.name = c.name AND n.version = c.version AND n.attempt > c.attempt
        )
    LIMIT $2
    FOR UPDATE SKIP LOCKED)`

// What was superseded, or queued for an enrollment that is over, isn't active. An answer that comes to it all the same
// is taken down in device_commands, where it stays.
const purgeCommands = `
DELETE FROM nanomdm.commands
WHERE command_uuid IN (
    SELECT c.command_uuid
    FROM nanomdm.commands c
    WHERE c.created_at < $1 AND NOT EXISTS (
        SELECT
        FROM nanomdm.enrollment_queue q
        WHERE q.command_uuid = c.command_uuid AND q.active
    )
    LIMIT $2
    FOR UPDATE SKIP LOCKED)`

const purgeChallenges = `
DELETE FROM enrollment_challenges
WHERE sha256 IN (
    SELECT sha256
    FROM enrollment_challenges
    WHERE coalesce(used_at, expires_at) < $1
    LIMIT $2
    FOR UPDATE SKIP LOCKED)`

const purgeKeys = `
DELETE FROM idempotency_keys
WHERE (token_id, key) IN (
    SELECT token_id, key
    FROM idempotency_keys
    WHERE created_at < $1
    LIMIT $2
    FOR UPDATE SKIP LOCKED)`

// What nobody applied by then shows devices as they were long ago, and each may have gigabytes of rows.
const giveUpImports = `
UPDATE operations
SET state = 'cancelled',
    finished_at = $2
WHERE state = 'ready' AND created_at < $1`

// The operation stays, and what it did stands in the devices' timelines.
const purgePages = `
WITH gone AS (
    DELETE FROM operation_pages
    WHERE (operation, last_line) IN (
        SELECT p.operation, p.last_line
        FROM operations o
            JOIN operation_pages p ON p.operation = o.number
        WHERE o.finished_at < $1
        LIMIT $2)
    RETURNING cardinality(lines) AS rows
)
SELECT coalesce(sum(rows), 0)
FROM gone`

const purgeResults = `
DELETE FROM operation_results
WHERE (operation, line) IN (
    SELECT r.operation, r.line
    FROM operations o
        JOIN operation_results r ON r.operation = o.number
    WHERE o.finished_at < $1
    LIMIT $2)`

const purgeSessions = `
DELETE FROM sign_in_sessions
WHERE sha256 IN (
    SELECT sha256
    FROM sign_in_sessions
    WHERE expires_at < $1
    LIMIT $2
    FOR UPDATE SKIP LOCKED)`

const purgeTries = `
DELETE FROM sign_in_tries
WHERE subject IN (
    SELECT subject
    FROM sign_in_tries
    WHERE until < $1
    LIMIT $2
    FOR UPDATE SKIP LOCKED)`

// A content that isn't the newest goes once no device is to have it in its present enrollment.
const purgeContents = `
DELETE FROM document_contents
WHERE (name, content) IN (
    SELECT c.name, c.content
    FROM document_contents c
        JOIN documents d ON d.name = c.name AND d.content > c.content
    WHERE c.created_at < $1 AND NOT EXISTS (
        SELECT
        FROM plan_items p
            JOIN devices v ON v.serial = p.serial AND v.epoch = p.epoch
        WHERE p.kind = 'document' AND p.name = c.name AND p.version = c.content AND p.state <> 'removed'
    )
    LIMIT $2
    FOR UPDATE OF c SKIP LOCKED)`

// longestUpload is after which an upload that nothing came of is over; the API ends them within the hour.
const longestUpload = 24 * time.Hour

const purgeFiles = `
DELETE FROM document_files
WHERE id IN (
    SELECT f.id
    FROM document_files f
    WHERE f.created_at < $1 AND NOT EXISTS (
        SELECT
        FROM document_contents c
        WHERE c.file = f.id
    )
    LIMIT $2
    FOR UPDATE SKIP LOCKED)`

// purgeBatch bounds a transaction, so that nobody waits long for a row that is being deleted.
const purgeBatch = 1000

// Purge deletes what ended before a time and nothing refers to any more; idempotency keys are kept as long as their
// answers ([KeepAnswers]), sign-ins until they are over. Imports that nobody applied since are cancelled. Several may purge at once, and what an interrupted one left the next takes. Facts, plans and
// installations are kept: they are the audit trail.
func (db *DB) Purge(ctx context.Context, before time.Time) (Purged, error) {
	var p Purged
	for _, part := range []struct {
		sql    string
		before time.Time
		count  *int64
	}{
		{purgeQueries, before, &p.Queries},
		{purgeCommands, before, &p.Commands},
		{purgeChallenges, before, &p.Challenges},
		{purgeKeys, db.now().Add(-KeepAnswers), &p.Keys},
		{purgeResults, before, new(int64)},
		{purgeSessions, db.now(), &p.SignIns},
		{purgeTries, db.now(), &p.SignIns},
		{purgeContents, before, new(int64)},
		{purgeFiles, db.now().Add(-longestUpload), &p.Files},
	} {
		n, err := db.purge(ctx, part.sql, part.before)
		*part.count += n
		if err != nil {
			return p, translate(err, "purging")
		}
	}
	_, err := db.pool.Exec(ctx, giveUpImports, before, db.now())
	if err == nil {
		p.Rows, err = db.purgePages(ctx, before)
	}
	return p, translate(err, "purging")
}

// purgePages deletes rows by their pages and counts the rows.
func (db *DB) purgePages(ctx context.Context, before time.Time) (total int64, err error) {
	for {
		var n int64
		err := db.pool.QueryRow(ctx, purgePages, before, purgeBatch/pageRows).Scan(&n)
		total += n
		if err != nil || n == 0 {
			return total, err
		}
	}
}

func (db *DB) purge(ctx context.Context, sql string, before time.Time) (total int64, err error) {
	for {
		tag, err := db.pool.Exec(ctx, sql, before, purgeBatch)
		total += tag.RowsAffected()
		if err != nil || tag.RowsAffected() < purgeBatch {
			return total, err
		}
	}
}
