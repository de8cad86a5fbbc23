package store_test

import (
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/store"
)

// Enough rows that PostgreSQL prefers an index wherever one fits.
const crowd = `
INSERT INTO devices (serial, state, status, awaiting, management, udid)
SELECT 'S' || lpad(n::text, 9, '0'), jsonb_build_object('serial', 'S' || lpad(n::text, 9, '0')), 'Awaiting', '{Awaiting Device Activation}', 'staged', 'U' || n
FROM generate_series(1, 5000) n;
INSERT INTO device_events (serial, kind, payload, created_at, deliver, delivered_at)
SELECT serial, 'registered', '{}', now(), true, now() FROM devices, generate_series(1, 3);
INSERT INTO plan_items (serial, epoch, kind, name, stage, version, position, state, attempt, updated_at)
SELECT serial, 1, 'configuration', 'c' || n, 'required', 1, n, 'verified', 1, now() FROM devices, generate_series(1, 5) n;
INSERT INTO device_commands (command_uuid, serial, epoch, request_type, kind, name, attempt, status, created_at)
SELECT serial || '-' || n, serial, 1, 'InstallProfile', 'configuration', 'c' || n, 1, 'Acknowledged', now() FROM devices, generate_series(1, 5) n;
INSERT INTO device_commands (command_uuid, serial, epoch, request_type, kind, name, attempt, status, created_at)
SELECT serial || '-list-' || n, serial, 1, 'ManagedApplicationList', 'builtin', 'ManagedApplicationList', n, CASE WHEN n < 500 THEN 'Acknowledged' ELSE '' END, now()
FROM devices, generate_series(1, 500) n WHERE serial LIKE 'S0000000_2';
INSERT INTO identities (sha256, serial, serial_number, certificate, issued_at, not_after)
SELECT lpad(to_hex(n), 64, '0'), 'S' || lpad(n::text, 9, '0'), n, 'x', now(), now() FROM generate_series(1, 5000) n;
INSERT INTO enrollment_challenges (sha256, serial, created_at, expires_at, renews)
SELECT sha256(n::text::bytea), 'S' || lpad(n::text, 9, '0'), now(), now(), 1 FROM generate_series(1, 5000) n;
INSERT INTO configurations (name, content, identifier) SELECT 'c' || n, 1, 'i' || n FROM generate_series(1, 2000) n;
INSERT INTO configuration_contents (name, content, identifier, payload) SELECT name, 1, identifier, 'x' FROM configurations;
INSERT INTO documents (name, content, identifier, created_at, updated_at) SELECT 'd' || n, 1, 'd' || n, now(), now() FROM generate_series(1, 2000) n;
INSERT INTO document_files (created_at) SELECT now() FROM generate_series(1, 2000);
INSERT INTO document_chunks (file, number, bytes) SELECT id, n, 'x' FROM document_files, generate_series(0, 2) n;
INSERT INTO document_contents (name, content, format, title, file, created_at) SELECT d.name, 1, 'pdf', d.name, f.id, now()
FROM (SELECT name, row_number() OVER (ORDER BY name) AS n FROM documents) d JOIN (SELECT id, row_number() OVER (ORDER BY id) AS n FROM document_files) f USING (n);
INSERT INTO nanomdm.devices (id, authenticate, authenticate_at) SELECT 'U' || n, 'x', now() FROM generate_series(1, 5000) n;
INSERT INTO nanomdm.enrollments (id, device_id, type, topic, push_magic, token_hex, last_seen_at) SELECT id, id, 'Device', 't', 'm', 'x', now() FROM nanomdm.devices;
INSERT INTO nanomdm.commands (command_uuid, request_type, command) SELECT command_uuid, request_type, '<?xml' FROM device_commands WHERE request_type = 'InstallProfile';
INSERT INTO nanomdm.enrollment_queue (id, command_uuid) SELECT d.udid, c.command_uuid FROM nanomdm.commands JOIN device_commands c USING (command_uuid) JOIN devices d USING (serial);
INSERT INTO nanomdm.command_results (id, command_uuid, status, result) SELECT id, command_uuid, 'NotNow', '<?xml' FROM nanomdm.enrollment_queue;
INSERT INTO nanomdm.cert_auth_associations (id, sha256) SELECT id, lpad(id, 64, '0') FROM nanomdm.devices;
ANALYZE`

func TestHotQueriesUseIndexes(t *testing.T) {
	f := newFleet(t)
	f.exec(crowd)
	const device, udid, command = "S000000042", "U42", "S000000042-3"
	now, hash := time.Now(), strings.Repeat("0", 64)
	args := map[string][]any{
		"lockDevice": {device}, "deviceState": {device}, "planItems": {device, 1}, "askedQueries": {device, 1},
		"lockDeviceOfCommand": {command}, "sentCommand": {command}, "othersLeft": {command}, "planItemsOfCommand": {command},
		"otherQueriesThan": {command, false}, "answerCommand": {command, "Acknowledged", "", now}, "closeCommand": {command},
		"supersede": {device, 1, udid, now}, "clearQueue": {udid}, "revokeIdentities": {device, now}, "serialOfUDID": {udid},
		"holderOfUDID": {udid, device}, "configurations": {[]string{"c1", "c2"}, []int{1, 1}},
		"documents": {[]string{"d1", "d2"}, []int{1, 1}}, "linkedFile": {device, 1, "d1", 1}, "readChunk": {7, 1},
		"identity": {hash}, "newestRenewal": {device, 1, now}, "claimRenewals": {now, 50, []float64{60, 120}, 2}, "endPredecessors": {device, now},
		"foreignIdentity":  {device, hash},
		"newestConfigured": {device, 1}, "wishAgain": {device, now}, "claimPushes": {now, 50, []float64{60, 120}, 2},
	}
	queries := map[string]string{
		"NanoMDM's next command":           `SELECT command_uuid FROM nanomdm.view_queue WHERE id = $1 AND active = TRUE AND (status IS NULL OR status = 'NotNow') LIMIT 1`,
		"NanoMDM's certificate":            `SELECT EXISTS (SELECT 1 FROM nanomdm.cert_auth_associations WHERE sha256 = $1)`,
		"the timeline":                     `SELECT id FROM device_events WHERE serial = $1 ORDER BY id DESC LIMIT 20`,
		"a list by status":                 `SELECT serial FROM devices WHERE status = $1 AND serial > $2 ORDER BY serial LIMIT 50`,
		"due pushes":                       `SELECT serial FROM devices WHERE push_at <= $1 ORDER BY push_at LIMIT 50`,
		"due polls":                        `SELECT serial FROM devices WHERE poll_at <= $1 ORDER BY poll_at LIMIT 50`,
		"the oldest undelivered facts":     `SELECT id FROM device_events WHERE deliver AND delivered_at IS NULL ORDER BY priority, id LIMIT 50`,
		"the facts of a device to come":    `SELECT id FROM device_events WHERE serial = $1 AND deliver AND delivered_at IS NULL ORDER BY id`,
		"a cascade from a NanoMDM command": `DELETE FROM nanomdm.commands WHERE command_uuid = $1`,
	}
	args["NanoMDM's next command"], args["NanoMDM's certificate"] = []any{udid}, []any{"x"}
	args["the timeline"], args["a list by status"] = []any{device}, []any{"Enrolled", device}
	args["due pushes"], args["due polls"], args["the oldest undelivered facts"] = []any{now}, []any{now}, nil
	args["the facts of a device to come"], args["a cascade from a NanoMDM command"] = []any{device}, []any{command}
	for name, sql := range store.HotQueries {
		queries[name] = sql
	}
	for name, sql := range queries {
		given, ok := args[name]
		require.True(t, ok, "no arguments for %s", name)
		plan := explain(t, f.sql, sql, given)
		require.NotContains(t, plan, "Seq Scan", "%s reads a whole table:\n%s", name, plan)
	}
}

// A device that was asked for years is judged by what is outstanding, not by all that it ever answered.
func TestOutstandingCommandsAreFoundAmongThousands(t *testing.T) {
	f := newFleet(t)
	f.exec(crowd)
	f.exec(`UPDATE devices SET push_at = now() - interval '1 hour' WHERE serial = 'S000000042'; ANALYZE devices`)
	for name, args := range map[string][]any{
		"othersLeft": {"S000000042-3"}, "wishAgain": {"S000000042", time.Now()}, "claimPushes": {time.Now(), 50, []float64{60, 120}, 2},
	} {
		plan := explain(t, f.sql, store.HotQueries[name], args)
		require.Contains(t, plan, "device_commands_outstanding", "%s:\n%s", name, plan)
	}
	for name, args := range map[string][]any{"askedQueries": {"S000000042", 1}, "otherQueriesThan": {"S000000042-3", false}} {
		plan := explain(t, f.sql, store.HotQueries[name], args)
		require.Contains(t, plan, "Index Scan Backward using device_commands_once", "%s:\n%s", name, plan)
	}
}

func explain(t *testing.T, conn *pgx.Conn, sql string, args []any) string {
	t.Helper()
	rows, err := conn.Query(t.Context(), "EXPLAIN "+sql, args...)
	require.NoError(t, err, sql)
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err, sql)
	return strings.Join(lines, "\n")
}

// Deleting or changing what others point at must find those by an index, too.
func TestForeignKeysAreIndexed(t *testing.T) {
	f := newFleet(t)
	rows, err := f.sql.Query(t.Context(), `
SELECT c.conname
FROM pg_constraint c
WHERE c.contype = 'f' AND c.connamespace = 'public'::regnamespace
    AND c.confrelid <> 'identities'::regclass -- which are never deleted
    AND NOT EXISTS (
    SELECT
    FROM pg_index i
    WHERE i.indrelid = c.conrelid AND i.indkey[0] = c.conkey[1])`)
	require.NoError(t, err)
	missing, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	require.Empty(t, missing)
}
