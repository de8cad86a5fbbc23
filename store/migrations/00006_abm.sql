-- +goose Up
-- A device profile is what Apple tells a device that is switched on: where to enroll, and how.
CREATE TABLE device_profiles (
    name            text PRIMARY KEY
        CONSTRAINT device_profiles_name_form CHECK (name <> '' AND name !~ '/' AND name = btrim(name)),
    description     text NOT NULL DEFAULT '',
    activation_mode text NOT NULL
        CONSTRAINT device_profiles_mode_known CHECK (activation_mode IN ('by_admin', 'by_user')),
    -- Apple's fields by Apple's names. What is defined at Apple can't be changed there, so each change counts content up.
    fields          jsonb NOT NULL
        CONSTRAINT device_profiles_fields_object CHECK (jsonb_typeof(fields) = 'object'),
    content         integer NOT NULL DEFAULT 1,
    version         bigint NOT NULL DEFAULT 1,
    created_at      timestamptz NOT NULL,
    updated_at      timestamptz NOT NULL
);

CREATE TABLE abm_servers (
    name             text PRIMARY KEY
        CONSTRAINT abm_servers_name_form CHECK (name ~ '^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$'),
    description      text NOT NULL DEFAULT '',
    default_profile  text
        CONSTRAINT abm_servers_profile REFERENCES device_profiles (name),
    sync_every       interval NOT NULL
        CONSTRAINT abm_servers_sync_every_positive CHECK (sync_every > interval '0'),
    full_every       interval NOT NULL
        CONSTRAINT abm_servers_full_every_positive CHECK (full_every > interval '0'),
    paused           boolean NOT NULL DEFAULT false,

    -- The key pair that Apple encrypts server tokens for. Secrets are sealed: see store/keyring.
    certificate      bytea NOT NULL,
    private_key      bytea NOT NULL,
    consumer_key     text NOT NULL DEFAULT '',
    token            bytea,
    token_expires_at timestamptz,
    linked_at        timestamptz,
    -- What Apple says of the account: see ABMAccount.
    account          jsonb,
    business_client  text NOT NULL DEFAULT '',
    business_key_id  text NOT NULL DEFAULT '',
    business_key     bytea,

    -- fetch: all devices are being listed; conclude: those that were not listed are being marked; sync: changes only.
    phase            text NOT NULL DEFAULT 'fetch'
        CONSTRAINT abm_servers_phase_known CHECK (phase IN ('fetch', 'conclude', 'sync')),
    cursor           text NOT NULL DEFAULT '',
    -- Counts full fetches; a device keeps that of the last one that listed it.
    generation       bigint NOT NULL DEFAULT 1,
    full_started_at  timestamptz,
    full_done_at     timestamptz,
    -- How many devices the running full fetch has listed, and whether the last one was so short that it was not believed.
    full_listed      bigint NOT NULL DEFAULT 0,
    full_doubted     boolean NOT NULL DEFAULT false,
    synced_at        timestamptz,
    sync_note        text NOT NULL DEFAULT '',
    sync_wanted_at   timestamptz,

    health           text NOT NULL DEFAULT 'unlinked'
        CONSTRAINT abm_servers_health_known CHECK (health IN ('unlinked', 'ok', 'abm_token_expired', 'abm_token_rejected',
            'abm_terms', 'abm_access', 'abm_unreachable')),
    health_since     timestamptz NOT NULL,
    health_detail    text NOT NULL DEFAULT '',
    -- Devices that wait for the server were told of its health.
    health_told      boolean NOT NULL DEFAULT true,
    failing_since    timestamptz,
    throttled        bigint NOT NULL DEFAULT 0,
    throttled_until  timestamptz,

    version          bigint NOT NULL DEFAULT 1,
    created_at       timestamptz NOT NULL,
    updated_at       timestamptz NOT NULL,
    CONSTRAINT abm_servers_linked_with_token CHECK ((health = 'unlinked') = (token IS NULL)),
    CONSTRAINT abm_servers_business_whole CHECK ((business_client = '') = (business_key IS NULL))
);
-- One account at Apple is linked once: two cursors on the same list would take each other's records.
CREATE UNIQUE INDEX abm_servers_consumer ON abm_servers (consumer_key) WHERE consumer_key <> '';

-- What a server said of a device, newest word first.
CREATE TABLE abm_devices (
    server              text NOT NULL
        CONSTRAINT abm_devices_server REFERENCES abm_servers (name) ON DELETE CASCADE,
    serial              text NOT NULL
        CONSTRAINT abm_devices_device REFERENCES devices (serial),
    listed              boolean NOT NULL,
    generation          bigint NOT NULL,
    model               text NOT NULL DEFAULT '',
    description         text NOT NULL DEFAULT '',
    color               text NOT NULL DEFAULT '',
    asset_tag           text NOT NULL DEFAULT '',
    family              text NOT NULL DEFAULT '',
    os                  text NOT NULL DEFAULT '',
    assigned_by         text NOT NULL DEFAULT '',
    assigned_at         timestamptz,
    profile_uuid        text NOT NULL DEFAULT '',
    profile_status      text NOT NULL DEFAULT '',
    profile_assigned_at timestamptz,
    profile_pushed_at   timestamptz,
    op_type             text NOT NULL DEFAULT '',
    op_date             timestamptz,
    seen_at             timestamptz NOT NULL,
    gone_at             timestamptz,
    -- Whether the Business API said, or nobody can say any more, what the device's absence means.
    settled             boolean NOT NULL DEFAULT true,
    -- Of the Business API: how the device came into the organisation, and when.
    source              text NOT NULL DEFAULT '',
    added_at            timestamptz,
    PRIMARY KEY (server, serial),
    CONSTRAINT abm_devices_gone_when CHECK (listed = (gone_at IS NULL))
);
CREATE INDEX abm_devices_by_serial ON abm_devices (serial);
CREATE INDEX abm_devices_fetched ON abm_devices (server, generation) WHERE listed;
CREATE INDEX abm_devices_unsettled ON abm_devices (server, gone_at) WHERE NOT settled;

-- Where a content of a device profile is defined at Apple.
CREATE TABLE device_profile_definitions (
    profile    text NOT NULL
        CONSTRAINT device_profile_definitions_of REFERENCES device_profiles (name) ON DELETE CASCADE,
    content    integer NOT NULL,
    server     text NOT NULL
        CONSTRAINT device_profile_definitions_server REFERENCES abm_servers (name) ON DELETE CASCADE,
    uuid       text NOT NULL,
    -- Where devices that are set up by it enroll: at another address of Muster's it is of no use.
    address    text NOT NULL DEFAULT '',
    defined_at timestamptz NOT NULL,
    PRIMARY KEY (profile, content, server)
);

-- What Apple is to be asked for, a row for each device and verb; it stays until Apple did it.
CREATE TABLE abm_duties (
    serial      text NOT NULL
        CONSTRAINT abm_duties_device REFERENCES devices (serial),
    verb        text NOT NULL
        CONSTRAINT abm_duties_verb_known CHECK (verb IN ('assign_profile', 'unassign', 'release')),
    server      text NOT NULL
        CONSTRAINT abm_duties_server REFERENCES abm_servers (name) ON DELETE CASCADE,
    profile     text
        CONSTRAINT abm_duties_profile REFERENCES device_profiles (name) ON DELETE CASCADE,
    content     integer NOT NULL DEFAULT 0,
    due_at      timestamptz NOT NULL,
    tries       integer NOT NULL DEFAULT 0,
    result      text NOT NULL DEFAULT '',
    answered_at timestamptz,
    -- The Business API's activity that is under way for it.
    activity    text NOT NULL DEFAULT '',
    created_at  timestamptz NOT NULL,
    PRIMARY KEY (serial, verb),
    CONSTRAINT abm_duties_profile_named CHECK ((verb = 'assign_profile') = (profile IS NOT NULL))
);
CREATE INDEX abm_duties_due ON abm_duties (server, due_at);
CREATE INDEX abm_duties_of_profile ON abm_duties (profile) WHERE profile IS NOT NULL;
CREATE INDEX device_profile_definitions_of_server ON device_profile_definitions (server);
CREATE INDEX abm_servers_of_profile ON abm_servers (default_profile) WHERE default_profile IS NOT NULL;

ALTER TABLE devices
    ADD COLUMN device_profile text
        CONSTRAINT devices_profile REFERENCES device_profiles (name);
CREATE INDEX devices_of_profile ON devices (device_profile) WHERE device_profile IS NOT NULL;
CREATE INDEX devices_server ON devices (server, serial) WHERE server <> '';
ALTER TABLE groups
    ADD COLUMN device_profile text
        CONSTRAINT groups_profile REFERENCES device_profiles (name);
CREATE INDEX groups_of_profile ON groups (device_profile) WHERE device_profile IS NOT NULL;

-- +goose Down
ALTER TABLE groups DROP COLUMN device_profile;
DROP INDEX devices_server;
ALTER TABLE devices DROP COLUMN device_profile;
DROP TABLE abm_duties, device_profile_definitions, abm_devices, abm_servers, device_profiles;
