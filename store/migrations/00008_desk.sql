-- +goose Up
-- Work on many devices: a verb over a list of them, or a file of assignments or unassignments.
CREATE TABLE operations (
    id            text PRIMARY KEY,
    -- Names it in its rows: a million ids of thirty letters are more than what the rows say.
    number        bigint GENERATED ALWAYS AS IDENTITY
        CONSTRAINT operations_number_once UNIQUE,
    kind          text NOT NULL
        CONSTRAINT operations_kind_known CHECK (kind IN ('assign', 'unassign', 'unassign_from_mdm', 'deprovision', 'release')),
    import        boolean NOT NULL,
    state         text NOT NULL
        CONSTRAINT operations_state_known CHECK (state IN ('uploading', 'checking', 'ready', 'applying', 'undoing', 'done',
            'cancelled', 'undone', 'failed')),
    paused        boolean NOT NULL DEFAULT false,
    mode          text NOT NULL DEFAULT ''
        CONSTRAINT operations_mode_known CHECK (mode IN ('', 'valid_rows', 'all_or_nothing')),
    request       jsonb NOT NULL DEFAULT '{}',
    -- Why all of it was taken back, or the file could not be read.
    failure       jsonb,
    actor         text NOT NULL DEFAULT '',
    source        text NOT NULL DEFAULT '',
    -- Rows by verdict, and each code with how often it was given: {"reservation": 12}.
    total         bigint NOT NULL DEFAULT 0,
    ok            bigint NOT NULL DEFAULT 0,
    noticed       bigint NOT NULL DEFAULT 0,
    wrong         bigint NOT NULL DEFAULT 0,
    codes         jsonb NOT NULL DEFAULT '{}',
    -- What became of the rows up to a line.
    line          bigint NOT NULL DEFAULT 0,
    changed       bigint NOT NULL DEFAULT 0,
    unchanged     bigint NOT NULL DEFAULT 0,
    refused       bigint NOT NULL DEFAULT 0,
    restored      bigint NOT NULL DEFAULT 0,
    conflicts     bigint NOT NULL DEFAULT 0,
    file_name     text NOT NULL DEFAULT '',
    file_size     bigint NOT NULL DEFAULT 0,
    file_sha256   bytea
        CONSTRAINT operations_sha256_size CHECK (octet_length(file_sha256) = 32),
    header        text[] NOT NULL DEFAULT '{}',
    delimiter     text NOT NULL DEFAULT ',',
    bom           boolean NOT NULL DEFAULT false,
    notices       jsonb NOT NULL DEFAULT '[]',
    -- The serial numbers that rows of a file may share; NULL = any.
    suspects      text[],
    -- When a worker takes it next: the longest untouched first, and those that stumbled after a pause.
    due_at        timestamptz NOT NULL,
    tries         integer NOT NULL DEFAULT 0,
    created_at    timestamptz NOT NULL,
    started_at    timestamptz,
    finished_at   timestamptz,
    CONSTRAINT operations_paused_under_way CHECK (NOT paused OR state IN ('applying', 'undoing')),
    CONSTRAINT operations_finished CHECK ((finished_at IS NOT NULL) = (state IN ('done', 'cancelled', 'undone', 'failed')))
);
CREATE INDEX operations_newest ON operations (created_at DESC, id DESC);
CREATE INDEX operations_due ON operations (due_at) WHERE state IN ('uploading', 'checking', 'applying', 'undoing') AND NOT paused;
CREATE INDEX operations_file ON operations (file_sha256) WHERE file_sha256 IS NOT NULL;

-- What is to be done. There is no reference to operations: checking it would cost a third of the rate at which a million rows
-- come in. Both are deleted in one transaction.
CREATE TABLE operation_rows (
    operation bigint NOT NULL,
    line      bigint NOT NULL,
    -- Tells rows about one device apart that say different things.
    said      bigint NOT NULL DEFAULT 0,
    serial    text NOT NULL,
    verdict   text NOT NULL
        CONSTRAINT operation_rows_verdict_known CHECK (verdict IN ('ok', 'notice', 'error')),
    -- What most rows of a file have in common is kept in a word: the device isn't known yet, nobody is assigned to it, …
    standing  text NOT NULL DEFAULT '',
    -- [{"column": "Group Name", "code": "group_not_found", "severity": "error", "detail": "…"}]
    problems  jsonb,
    -- What shall be done, a line each: user's name, domain and address, owner, reason, and the groups.
    wanted    text,
    -- The cells as they stand in the file, separated by U+001F.
    record    text,
    PRIMARY KEY (operation, line)
);
CREATE INDEX operation_rows_with_problems ON operation_rows (operation, line) WHERE problems IS NOT NULL;

-- What became of it: written in the transaction that did it, so each row is done once.
CREATE TABLE operation_results (
    operation    bigint NOT NULL,
    line         bigint NOT NULL,
    serial       text NOT NULL,
    outcome      text NOT NULL
        CONSTRAINT operation_results_outcome_known CHECK (outcome IN ('changed', 'unchanged', 'refused')),
    code         text NOT NULL DEFAULT '',
    detail       text NOT NULL DEFAULT '',
    -- The newest fact that was recorded, and how the device was assigned before.
    fact_id      bigint,
    before       jsonb,
    undo         text NOT NULL DEFAULT ''
        CONSTRAINT operation_results_undo_known CHECK (undo IN ('', 'restored', 'conflict')),
    undo_detail  text NOT NULL DEFAULT '',
    PRIMARY KEY (operation, line)
);

-- A confirmation allows one request of one caller, once.
CREATE TABLE confirmations (
    sha256      bytea PRIMARY KEY
        CONSTRAINT confirmations_hash_size CHECK (octet_length(sha256) = 32),
    actor       text NOT NULL,
    fingerprint bytea NOT NULL,
    expires_at  timestamptz NOT NULL
);
CREATE INDEX confirmations_age ON confirmations (expires_at);

ALTER TABLE devices
    ADD COLUMN expected_by timestamptz,
    ADD COLUMN expected_alerted boolean NOT NULL DEFAULT false;
-- Devices that somebody is waiting for: assigned, in no Apple Business Manager server, never enrolled.
CREATE INDEX devices_reserved ON devices (serial)
    WHERE epoch = 0 AND server = '' AND status = 'Awaiting' AND (state ? 'assignment' OR state ? 'planned');

-- +goose Down
DROP INDEX devices_reserved;
ALTER TABLE devices DROP COLUMN expected_by, DROP COLUMN expected_alerted;
DROP TABLE confirmations, operation_results, operation_rows, operations;
