package store

import (
	"context"
	"encoding/json"
	"fmt"
	"time"
)

// A page is written by one statement for each thing that is to be written, however many devices it has.

const saveListed = `
INSERT INTO abm_devices (server, serial, listed, generation, model, description, color, asset_tag, family, os, assigned_by,
    assigned_at, profile_uuid, profile_status, profile_assigned_at, profile_pushed_at, op_type, op_date, seen_at)
SELECT $1, r.serial, true, $2, r.model, r.description, r.color, r.asset_tag, r.family, r.os, r.assigned_by,
    r.assigned_at, r.profile_uuid, r.profile_status, r.profile_assigned_at, r.profile_pushed_at, r.op_type, r.op_date, $3
FROM jsonb_to_recordset($4) AS r (serial text, model text, description text, color text, asset_tag text, family text, os text,
    assigned_by text, assigned_at timestamptz, profile_uuid text, profile_status text, profile_assigned_at timestamptz,
    profile_pushed_at timestamptz, op_type text, op_date timestamptz)
ON CONFLICT (server, serial) DO UPDATE
SET listed = true,
    generation = EXCLUDED.generation,
    model = EXCLUDED.model,
    description = EXCLUDED.description,
    color = EXCLUDED.color,
    asset_tag = EXCLUDED.asset_tag,
    family = EXCLUDED.family,
    os = EXCLUDED.os,
    assigned_by = EXCLUDED.assigned_by,
    assigned_at = EXCLUDED.assigned_at,
    profile_uuid = EXCLUDED.profile_uuid,
    profile_status = EXCLUDED.profile_status,
    profile_assigned_at = EXCLUDED.profile_assigned_at,
    profile_pushed_at = EXCLUDED.profile_pushed_at,
    op_type = coalesce(nullif(EXCLUDED.op_type, ''), abm_devices.op_type),
    op_date = greatest(EXCLUDED.op_date, abm_devices.op_date),
    seen_at = EXCLUDED.seen_at,
    gone_at = NULL,
    settled = true`

const saveGone = `
UPDATE abm_devices a
SET listed = false,
    op_type = 'deleted',
    op_date = greatest(r.op_date, a.op_date),
    gone_at = coalesce(a.gone_at, $2),
    profile_uuid = '',
    profile_status = '',
    settled = NOT a.listed AND a.settled
FROM jsonb_to_recordset($3) AS r (serial text, op_date timestamptz)
WHERE a.server = $1 AND a.serial = r.serial`

const saveModels = `
UPDATE devices d
SET model = r.model
FROM jsonb_to_recordset($1) AS r (serial text, model text)
WHERE d.serial = r.serial`

// listedRow is a record as its statement reads it.
type listedRow struct {
	Serial            string     `json:"serial"`
	Model             string     `json:"model"`
	Description       string     `json:"description"`
	Color             string     `json:"color"`
	AssetTag          string     `json:"asset_tag"`
	Family            string     `json:"family"`
	OS                string     `json:"os"`
	AssignedBy        string     `json:"assigned_by"`
	AssignedAt        *time.Time `json:"assigned_at"`
	ProfileUUID       string     `json:"profile_uuid"`
	ProfileStatus     string     `json:"profile_status"`
	ProfileAssignedAt *time.Time `json:"profile_assigned_at"`
	ProfilePushedAt   *time.Time `json:"profile_pushed_at"`
	OpType            string     `json:"op_type"`
	OpDate            *time.Time `json:"op_date"`
}

func listedRows(records []ABMRecord) ([]byte, error) {
	rows := make([]listedRow, len(records))
	for i, r := range records {
		rows[i] = listedRow{
			Serial: r.Serial, Model: r.Model, Description: r.Description, Color: r.Color, AssetTag: r.AssetTag, Family: r.Family, OS: r.OS,
			AssignedBy: r.AssignedBy, AssignedAt: orNever(r.AssignedAt), ProfileUUID: r.ProfileUUID, ProfileStatus: r.ProfileStatus,
			ProfileAssignedAt: orNever(r.ProfileAssignedAt), ProfilePushedAt: orNever(r.ProfilePushedAt),
			OpType: r.OpType, OpDate: orNever(r.OpDate),
		}
	}
	raw, err := json.Marshal(rows)
	if err != nil {
		return nil, fmt.Errorf("writing devices of a page: %w", err)
	}
	return raw, nil
}

// write writes what the server said of its devices. What is owed to those that are gone is owed no more.
func (t *taking) write(ctx context.Context) error {
	now := t.db.now()
	if err := t.writeRows(ctx, t.listed, saveListed, t.server, t.page.Task.Generation, now); err != nil {
		return err
	}
	if err := t.writeRows(ctx, t.models, saveModels); err != nil {
		return err
	}
	if err := t.writeRows(ctx, t.gone, saveGone, t.server, now); err != nil {
		return err
	}
	if len(t.gone) == 0 {
		return nil
	}
	serials := make([]string, len(t.gone))
	for i, r := range t.gone {
		serials[i] = r.Serial
	}
	if _, err := t.tx.Exec(ctx, voidDutiesOf, t.server, serials); err != nil {
		return fmt.Errorf("dropping what was owed: %w", err)
	}
	return nil
}

func (t *taking) writeRows(ctx context.Context, records []ABMRecord, statement string, args ...any) error {
	if len(records) == 0 {
		return nil
	}
	rows, err := listedRows(records)
	if err != nil {
		return err
	}
	if _, err := t.tx.Exec(ctx, statement, append(args, rows)...); err != nil {
		return fmt.Errorf("writing devices of a page: %w", err)
	}
	return nil
}
