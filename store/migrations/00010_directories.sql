-- +goose Up
-- Where people sign in: an Active Directory or another LDAP server for each domain, and OpenID Connect providers.
CREATE TABLE directories (
    name        text PRIMARY KEY
        CONSTRAINT directories_name_form CHECK (name ~ '^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$'),
    description text NOT NULL DEFAULT '',
    kind        text NOT NULL
        CONSTRAINT directories_kind_known CHECK (kind IN ('active_directory', 'ldap', 'oidc')),
    domain      text NOT NULL,
    -- How it is reached and asked: see intake.DirectorySettings. No secrets.
    settings    jsonb NOT NULL
        CONSTRAINT directories_settings_object CHECK (jsonb_typeof(settings) = 'object'),
    -- The client secret of an OpenID Connect provider, sealed: see store/keyring.
    secret      bytea,
    version     bigint NOT NULL DEFAULT 1,
    created_at  timestamptz NOT NULL,
    updated_at  timestamptz NOT NULL,
    CONSTRAINT directories_secret_of_provider CHECK (secret IS NULL OR kind = 'oidc')
);
-- What people write before the backslash chooses the directory.
CREATE UNIQUE INDEX directories_domain ON directories (lower(domain)) WHERE kind <> 'oidc';

-- The groups that members of a directory's groups get on the devices that they sign in on.
CREATE TABLE directory_groups (
    directory       text NOT NULL
        CONSTRAINT directory_groups_directory REFERENCES directories (name) ON DELETE CASCADE,
    position        integer NOT NULL,
    directory_group text NOT NULL
        CONSTRAINT directory_groups_named CHECK (directory_group <> ''),
    group_name      text NOT NULL
        CONSTRAINT directory_groups_group REFERENCES groups (name),
    PRIMARY KEY (directory, position)
);
CREATE INDEX directory_groups_of_group ON directory_groups (group_name);

ALTER TABLE abm_servers
    ADD COLUMN auto_assign_users boolean NOT NULL DEFAULT false,
    ADD COLUMN sign_in_conflict text NOT NULL DEFAULT 'hold_for_review'
        CONSTRAINT abm_servers_conflict_known CHECK (sign_in_conflict IN ('keep_reserved', 'take_signed_in', 'hold_for_review')),
    ADD COLUMN sign_in_hold interval NOT NULL DEFAULT '8 hours'
        CONSTRAINT abm_servers_hold_positive CHECK (sign_in_hold > interval '0'),
    ADD COLUMN sign_in_hold_choice text NOT NULL DEFAULT 'keep_reserved'
        CONSTRAINT abm_servers_hold_choice_known CHECK (sign_in_hold_choice IN ('keep_reserved', 'take_signed_in'));

-- Web views of devices that are being set up, by the hash of their cookie. A session ends when the device enrolls.
CREATE TABLE sign_in_sessions (
    sha256     bytea PRIMARY KEY
        CONSTRAINT sign_in_sessions_sha256_size CHECK (octet_length(sha256) = 32),
    serial     text NOT NULL
        CONSTRAINT sign_in_sessions_device REFERENCES devices (serial) ON DELETE CASCADE,
    epoch      integer NOT NULL,
    -- What the device said of itself, signed.
    machine    jsonb NOT NULL,
    -- A sign-in at an OpenID Connect provider that was begun: see directory.Flow.
    directory  text NOT NULL DEFAULT '',
    flow       jsonb,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL
);
CREATE INDEX sign_in_sessions_expired ON sign_in_sessions (expires_at);
CREATE INDEX sign_in_sessions_of_device ON sign_in_sessions (serial);

-- Tries to sign in, by device, account (a hash: people type passwords into the wrong field) and address.
CREATE TABLE sign_in_tries (
    subject text PRIMARY KEY,
    tries   integer NOT NULL,
    until   timestamptz NOT NULL
);
CREATE INDEX sign_in_tries_over ON sign_in_tries (until);

-- +goose Down
DROP TABLE sign_in_tries, sign_in_sessions;
ALTER TABLE abm_servers
    DROP COLUMN auto_assign_users, DROP COLUMN sign_in_conflict, DROP COLUMN sign_in_hold, DROP COLUMN sign_in_hold_choice;
DROP TABLE directory_groups, directories;
