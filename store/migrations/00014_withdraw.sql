-- +goose Up
ALTER TABLE devices
    DROP CONSTRAINT devices_status_known,
    ADD CONSTRAINT devices_status_known CHECK (status IN ('Awaiting', 'Provisioning', 'Enrolled', 'Unassign Pending',
        'Unassigned', 'Unmanaged', 'Deprovisioned', 'Released', 'Withdrawn'));
-- What lists show, should many be withdrawn: a large import that was undone.
CREATE INDEX devices_shown ON devices (serial) WHERE status <> 'Withdrawn';
ALTER TABLE operations
    DROP CONSTRAINT operations_kind_known,
    ADD CONSTRAINT operations_kind_known CHECK (kind IN ('assign', 'unassign', 'unassign_from_mdm', 'deprovision', 'release', 'withdraw'));

-- +goose Down
DROP INDEX devices_shown;
-- The version before knows no withdrawn devices: they wait for both again, as they would have there.
UPDATE devices
SET status = 'Awaiting',
    awaiting = ARRAY['Awaiting Device Activation', 'Awaiting User Assignment']
WHERE status = 'Withdrawn';
DELETE FROM operation_results
WHERE operation IN (SELECT number FROM operations WHERE kind = 'withdraw');
DELETE FROM operation_pages
WHERE operation IN (SELECT number FROM operations WHERE kind = 'withdraw');
DELETE FROM operations
WHERE kind = 'withdraw';
ALTER TABLE operations
    DROP CONSTRAINT operations_kind_known,
    ADD CONSTRAINT operations_kind_known CHECK (kind IN ('assign', 'unassign', 'unassign_from_mdm', 'deprovision', 'release'));
ALTER TABLE devices
    DROP CONSTRAINT devices_status_known,
    ADD CONSTRAINT devices_status_known CHECK (status IN ('Awaiting', 'Provisioning', 'Enrolled', 'Unassign Pending',
        'Unassigned', 'Unmanaged', 'Deprovisioned', 'Released'));
