-- +goose Up
-- Documents that groups bring: PDF, EPUB and iBooks files, uploaded or at an address of their own.
CREATE TABLE documents (
    name        text PRIMARY KEY
        CONSTRAINT documents_name_form CHECK (name <> '' AND name !~ '/' AND name = btrim(name)),
    description text NOT NULL DEFAULT '',
    -- The PersistentID of the book on devices.
    identifier  text NOT NULL
        CONSTRAINT documents_identifier_once UNIQUE,
    -- The newest content: see document_contents.
    content     integer NOT NULL,
    version     bigint NOT NULL DEFAULT 1,
    created_at  timestamptz NOT NULL,
    updated_at  timestamptz NOT NULL
);

-- What was uploaded. A file that no content names is one that is being uploaded, or that nobody needs any more.
CREATE TABLE document_files (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- Both are empty until the whole is there.
    sha256     bytea NOT NULL DEFAULT ''
        CONSTRAINT document_files_sha256_size CHECK (octet_length(sha256) IN (0, 32)),
    size       bigint NOT NULL DEFAULT 0
        CONSTRAINT document_files_size CHECK (size BETWEEN 0 AND 268435456),
    created_at timestamptz NOT NULL
);
CREATE INDEX document_files_created ON document_files (created_at);

-- All chunks of a file but the last have the same size: see store.chunkSize.
CREATE TABLE document_chunks (
    file   bigint NOT NULL
        CONSTRAINT document_chunks_file REFERENCES document_files (id) ON DELETE CASCADE,
    number integer NOT NULL,
    bytes  bytea NOT NULL
        CONSTRAINT document_chunks_size CHECK (octet_length(bytes) BETWEEN 1 AND 262144),
    PRIMARY KEY (file, number)
);
-- Such files are compressed already.
ALTER TABLE document_chunks ALTER COLUMN bytes SET STORAGE EXTERNAL;

-- Contents never change: a device that was planned with one gets that one.
CREATE TABLE document_contents (
    name       text NOT NULL
        CONSTRAINT document_contents_of REFERENCES documents (name) ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED,
    content    integer NOT NULL,
    format     text NOT NULL
        CONSTRAINT document_contents_format_known CHECK (format IN ('pdf', 'epub', 'ibooks')),
    title      text NOT NULL,
    author     text NOT NULL DEFAULT '',
    -- One of the two says where the document comes from.
    media_url  text,
    file       bigint
        CONSTRAINT document_contents_file REFERENCES document_files (id),
    created_at timestamptz NOT NULL,
    PRIMARY KEY (name, content),
    CONSTRAINT document_contents_one_source CHECK ((media_url IS NULL) <> (file IS NULL))
);
CREATE INDEX document_contents_of_file ON document_contents (file) WHERE file IS NOT NULL;

ALTER TABLE group_items
    DROP CONSTRAINT group_items_once,
    DROP CONSTRAINT group_items_one_thing,
    DROP CONSTRAINT group_items_kind_known,
    DROP COLUMN name,
    ADD COLUMN document_name text
        CONSTRAINT group_items_document REFERENCES documents (name),
    ADD COLUMN name text GENERATED ALWAYS AS (coalesce(configuration_name, app_name, document_name)) STORED,
    ADD CONSTRAINT group_items_kind_known CHECK (kind IN ('configuration', 'app', 'document')),
    ADD CONSTRAINT group_items_one_thing CHECK (
        (kind = 'configuration') = (configuration_name IS NOT NULL) AND (kind = 'app') = (app_name IS NOT NULL)
        AND (kind = 'document') = (document_name IS NOT NULL)),
    ADD CONSTRAINT group_items_once UNIQUE (group_name, kind, name);
CREATE INDEX group_items_of_document ON group_items (document_name) WHERE document_name IS NOT NULL;

ALTER TABLE plan_items
    DROP CONSTRAINT plan_items_kind_known,
    ADD CONSTRAINT plan_items_kind_known CHECK (kind IN ('configuration', 'app', 'document', 'builtin'));
-- Tells whether a device still needs an older content.
CREATE INDEX plan_items_documents ON plan_items (name, version) WHERE kind = 'document';

DROP INDEX device_commands_answered_queries;
CREATE INDEX device_commands_answered_queries ON device_commands (answered_at)
    WHERE request_type IN ('ProfileList', 'ManagedApplicationList', 'ManagedMediaList');

-- +goose Down
DROP INDEX device_commands_answered_queries;
CREATE INDEX device_commands_answered_queries ON device_commands (answered_at) WHERE request_type IN ('ProfileList', 'ManagedApplicationList');
DROP INDEX plan_items_documents;
DELETE FROM plan_items WHERE kind = 'document';
ALTER TABLE plan_items
    DROP CONSTRAINT plan_items_kind_known,
    ADD CONSTRAINT plan_items_kind_known CHECK (kind IN ('configuration', 'app', 'builtin'));
DELETE FROM group_items WHERE kind = 'document';
ALTER TABLE group_items
    DROP CONSTRAINT group_items_once,
    DROP CONSTRAINT group_items_one_thing,
    DROP CONSTRAINT group_items_kind_known,
    DROP COLUMN name,
    DROP COLUMN document_name,
    ADD COLUMN name text GENERATED ALWAYS AS (coalesce(configuration_name, app_name)) STORED,
    ADD CONSTRAINT group_items_kind_known CHECK (kind IN ('configuration', 'app')),
    ADD CONSTRAINT group_items_one_thing CHECK (
        (kind = 'configuration') = (configuration_name IS NOT NULL) AND (kind = 'app') = (app_name IS NOT NULL)),
    ADD CONSTRAINT group_items_once UNIQUE (group_name, kind, name);
DROP TABLE document_contents, document_chunks, document_files, documents;
