-- +goose Up
CREATE TABLE people (
    id         text PRIMARY KEY,
    name       text NOT NULL
        CONSTRAINT people_name_given CHECK (name <> ''),
    domain     text NOT NULL
        CONSTRAINT people_domain_given CHECK (domain <> ''),
    email      text NOT NULL,
    technician boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX people_account ON people (lower(domain), lower(name));

ALTER TABLE devices
    ADD CONSTRAINT devices_user_exists FOREIGN KEY (user_id) REFERENCES people (id),
    ADD CONSTRAINT devices_technician_exists FOREIGN KEY (technician_id) REFERENCES people (id);

CREATE TABLE groups (
    name        text PRIMARY KEY
        CONSTRAINT groups_name_form CHECK (name <> '' AND name !~ '/' AND name = btrim(name)),
    description text NOT NULL DEFAULT '',
    version     bigint NOT NULL DEFAULT 1,
    created_at  timestamptz NOT NULL DEFAULT now(),
    updated_at  timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX groups_name_once ON groups (lower(name));

CREATE TABLE configurations (
    name         text PRIMARY KEY
        CONSTRAINT configurations_name_form CHECK (name <> '' AND name !~ '/' AND name = btrim(name)),
    description  text NOT NULL DEFAULT '',
    -- The newest content: see configuration_contents.
    content      integer NOT NULL,
    identifier   text NOT NULL
        CONSTRAINT configurations_identifier_given CHECK (identifier <> ''),
    version      bigint NOT NULL DEFAULT 1,
    created_at   timestamptz NOT NULL DEFAULT now(),
    updated_at   timestamptz NOT NULL DEFAULT now()
);

-- Contents never change: a device that was planned with one gets that one.
CREATE TABLE configuration_contents (
    name       text NOT NULL
        CONSTRAINT configuration_contents_of REFERENCES configurations (name) ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED,
    content    integer NOT NULL,
    identifier text NOT NULL,
    payload    bytea NOT NULL
        CONSTRAINT configuration_contents_size CHECK (octet_length(payload) BETWEEN 1 AND 5242880),
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (name, content)
);

CREATE TABLE apps (
    name         text PRIMARY KEY
        CONSTRAINT apps_name_form CHECK (name <> '' AND name !~ '/' AND name = btrim(name)),
    description  text NOT NULL DEFAULT '',
    bundle_id    text NOT NULL
        CONSTRAINT apps_bundle_id_given CHECK (bundle_id <> ''),
    -- One of the two says where the app comes from.
    manifest_url text,
    store_id     bigint,
    content      integer NOT NULL DEFAULT 1,
    version      bigint NOT NULL DEFAULT 1,
    created_at   timestamptz NOT NULL DEFAULT now(),
    updated_at   timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT apps_one_source CHECK ((manifest_url IS NULL) <> (store_id IS NULL)),
    CONSTRAINT apps_store_id_positive CHECK (store_id > 0)
);

CREATE TABLE group_items (
    group_name text NOT NULL
        CONSTRAINT group_items_group REFERENCES groups (name) ON DELETE CASCADE,
    position   integer NOT NULL,
    kind       text NOT NULL
        CONSTRAINT group_items_kind_known CHECK (kind IN ('configuration', 'app')),
    configuration_name text
        CONSTRAINT group_items_configuration REFERENCES configurations (name),
    app_name   text
        CONSTRAINT group_items_app REFERENCES apps (name),
    name       text GENERATED ALWAYS AS (coalesce(configuration_name, app_name)) STORED,
    stage      text NOT NULL
        CONSTRAINT group_items_stage_known CHECK (stage IN ('before_release', 'required', 'best_effort')),
    -- [{"kind": "configuration", "name": "wifi"}]
    depends_on jsonb NOT NULL DEFAULT '[]',
    PRIMARY KEY (group_name, position),
    CONSTRAINT group_items_one_thing CHECK (
        (kind = 'configuration') = (configuration_name IS NOT NULL) AND (kind = 'app') = (app_name IS NOT NULL)),
    CONSTRAINT group_items_once UNIQUE (group_name, kind, name)
);
CREATE INDEX group_items_of_configuration ON group_items (configuration_name) WHERE configuration_name IS NOT NULL;
CREATE INDEX group_items_of_app ON group_items (app_name) WHERE app_name IS NOT NULL;

-- +goose Down
ALTER TABLE devices DROP CONSTRAINT devices_user_exists, DROP CONSTRAINT devices_technician_exists;
DROP TABLE group_items, apps, configuration_contents, configurations, groups, people;
