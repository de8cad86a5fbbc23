-- +goose Up
ALTER TABLE devices
    DROP CONSTRAINT devices_status_known,
    ADD CONSTRAINT devices_status_known CHECK (status IN ('Awaiting', 'Provisioning', 'Enrolled', 'Unassign Pending',
        'Unassigned', 'Unmanaged', 'Deprovisioned', 'Released'));

-- +goose Down
ALTER TABLE devices
    DROP CONSTRAINT devices_status_known,
    ADD CONSTRAINT devices_status_known CHECK (status IN ('Awaiting', 'Provisioning', 'Enrolled', 'Unassign Pending',
        'Unassigned', 'Unmanaged', 'Released'));
