-- +goose Up
CREATE TABLE devices (
    serial           text PRIMARY KEY
        CONSTRAINT devices_serial_form CHECK (serial ~ '^[A-Z0-9]{8,14}$'),
    -- The folded provision.Device: every other column up to epoch is derived from it, for lists and searches.
    state            jsonb NOT NULL,
    status           text NOT NULL
        CONSTRAINT devices_status_known CHECK (status IN ('Awaiting', 'Provisioning', 'Enrolled', 'Unassign Pending',
            'Unassigned', 'Unmanaged', 'Released')),
    awaiting         text[] NOT NULL DEFAULT '{}'
        CONSTRAINT devices_awaiting_known CHECK (awaiting <@ ARRAY['Awaiting Device Activation', 'Awaiting User Assignment']),
    management       text NOT NULL
        CONSTRAINT devices_management_known CHECK (management IN ('staged', 'managed', 'unmanaged')),
    blocked_by       text NOT NULL DEFAULT '',
    server           text NOT NULL DEFAULT '',
    group_names      text[] NOT NULL DEFAULT '{}',
    user_id          text,
    technician_id    text,
    epoch            integer NOT NULL DEFAULT 0
        CONSTRAINT devices_epoch_positive CHECK (epoch >= 0),
    -- What the device and Apple say of it; not part of any decision.
    udid             text,
    name             text NOT NULL DEFAULT '',
    model            text NOT NULL DEFAULT '',
    product_name     text NOT NULL DEFAULT '',
    os_version       text NOT NULL DEFAULT '',
    build_version    text NOT NULL DEFAULT '',
    -- Duties of the worker: when to push, and when to ask the device again for what is still installing.
    push_at          timestamptz,
    push_tries       integer NOT NULL DEFAULT 0,
    push_error       text NOT NULL DEFAULT '',
    poll_at          timestamptz,
    version          bigint NOT NULL DEFAULT 1,
    created_at       timestamptz NOT NULL DEFAULT now(),
    updated_at       timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT devices_awaiting_means_status CHECK ((status = 'Awaiting') = (cardinality(awaiting) > 0)),
    CONSTRAINT devices_enrolled_is_managed CHECK (status <> 'Enrolled' OR management = 'managed')
);
CREATE UNIQUE INDEX devices_udid ON devices (udid) WHERE udid IS NOT NULL;
CREATE INDEX devices_status ON devices (status, serial);
CREATE INDEX devices_groups ON devices USING gin (group_names);
CREATE INDEX devices_awaiting ON devices USING gin (awaiting);
CREATE INDEX devices_user ON devices (user_id) WHERE user_id IS NOT NULL;
CREATE INDEX devices_technician ON devices (technician_id) WHERE technician_id IS NOT NULL;
CREATE INDEX devices_push_due ON devices (push_at) WHERE push_at IS NOT NULL;
CREATE INDEX devices_poll_due ON devices (poll_at) WHERE poll_at IS NOT NULL;

CREATE TABLE device_events (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    serial       text NOT NULL
        CONSTRAINT device_events_device REFERENCES devices (serial),
    epoch        integer NOT NULL DEFAULT 0,
    kind         text NOT NULL,
    -- The provision.Fact without its id.
    payload      jsonb NOT NULL,
    actor        text NOT NULL DEFAULT '',
    source       text NOT NULL DEFAULT '',
    priority     smallint NOT NULL DEFAULT 0
        CONSTRAINT device_events_priority_known CHECK (priority BETWEEN 0 AND 2),
    created_at   timestamptz NOT NULL,
    deliver      boolean NOT NULL,
    delivered_at timestamptz,
    -- A fact that could not be delivered although others could: when it is tried again, and why it was refused.
    tries        smallint NOT NULL DEFAULT 0,
    retry_at     timestamptz,
    refused      text NOT NULL DEFAULT '',
    -- Names an operator's own signal, so that recording it again does nothing.
    signal_key   text,
    CONSTRAINT device_events_delivered_if_meant CHECK (delivered_at IS NULL OR deliver)
);
CREATE INDEX device_events_timeline ON device_events (serial, id);
CREATE UNIQUE INDEX device_events_signal_once ON device_events (serial, signal_key) WHERE signal_key IS NOT NULL;
CREATE INDEX device_events_undelivered ON device_events (priority, id) WHERE deliver AND delivered_at IS NULL;
CREATE INDEX device_events_undelivered_of_device ON device_events (serial, id) WHERE deliver AND delivered_at IS NULL;

CREATE TABLE plan_items (
    serial      text NOT NULL
        CONSTRAINT plan_items_device REFERENCES devices (serial),
    epoch       integer NOT NULL,
    kind        text NOT NULL
        CONSTRAINT plan_items_kind_known CHECK (kind IN ('configuration', 'app', 'builtin')),
    name        text NOT NULL,
    stage       text NOT NULL
        CONSTRAINT plan_items_stage_known CHECK (stage IN ('before_release', 'required', 'best_effort')),
    version     integer NOT NULL,
    identifier  text NOT NULL DEFAULT '',
    depends_on  jsonb NOT NULL DEFAULT '[]',
    group_names text[] NOT NULL DEFAULT '{}',
    position    integer NOT NULL,
    state       text NOT NULL
        CONSTRAINT plan_items_state_known CHECK (state IN ('pending', 'sent', 'acknowledged', 'verified', 'failed',
            'remove_pending', 'removing', 'removed')),
    attempt     integer NOT NULL
        CONSTRAINT plan_items_attempt_positive CHECK (attempt > 0),
    polls       integer NOT NULL DEFAULT 0,
    detail      text NOT NULL DEFAULT '',
    updated_at  timestamptz NOT NULL,
    PRIMARY KEY (serial, epoch, kind, name)
);

-- Every command that was queued for a device, and how it was answered. The queue itself is NanoMDM's.
CREATE TABLE device_commands (
    command_uuid text PRIMARY KEY,
    serial       text NOT NULL
        CONSTRAINT device_commands_device REFERENCES devices (serial),
    epoch        integer NOT NULL,
    request_type text NOT NULL,
    kind         text NOT NULL,
    name         text NOT NULL,
    version      integer NOT NULL DEFAULT 0,
    attempt      integer NOT NULL,
    identifiers  text[] NOT NULL DEFAULT '{}',
    status       text NOT NULL DEFAULT ''
        CONSTRAINT device_commands_status_known CHECK (status IN ('', 'Acknowledged', 'Error', 'CommandFormatError', 'NotNow', 'Superseded')),
    detail       text NOT NULL DEFAULT '',
    created_at   timestamptz NOT NULL,
    answered_at  timestamptz,
    CONSTRAINT device_commands_once UNIQUE (serial, epoch, request_type, kind, name, version, attempt)
);
-- A device that is asked again and again has many answered commands and few others.
CREATE INDEX device_commands_outstanding ON device_commands (serial, epoch) WHERE status IN ('', 'NotNow');
CREATE INDEX device_commands_answered_queries ON device_commands (answered_at) WHERE request_type IN ('ProfileList', 'ManagedApplicationList');

-- +goose Down
DROP TABLE device_commands, plan_items, device_events, devices;
