-- +goose Up
CREATE TABLE authorities (
    id          integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    certificate bytea NOT NULL,
    private_key bytea NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE identities (
    sha256        text PRIMARY KEY
        CONSTRAINT identities_hash_form CHECK (sha256 ~ '^[0-9a-f]{64}$'),
    serial        text NOT NULL
        CONSTRAINT identities_device REFERENCES devices (serial),
    serial_number numeric NOT NULL,
    certificate   bytea NOT NULL,
    issued_at     timestamptz NOT NULL,
    not_after     timestamptz NOT NULL,
    revoked_at    timestamptz
);
CREATE INDEX identities_of_device ON identities (serial);
CREATE UNIQUE INDEX identities_serial_number ON identities (serial_number);

CREATE TABLE enrollment_challenges (
    sha256     bytea PRIMARY KEY
        CONSTRAINT enrollment_challenges_hash_size CHECK (octet_length(sha256) = 32),
    serial     text NOT NULL
        CONSTRAINT enrollment_challenges_device REFERENCES devices (serial),
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    used_at    timestamptz,
    -- What it was used for: the device that lost the answer gets the same one again, any other key is refused.
    key_sha256 bytea
        CONSTRAINT enrollment_challenges_key_size CHECK (octet_length(key_sha256) = 32),
    identity   text
        CONSTRAINT enrollment_challenges_identity REFERENCES identities (sha256),
    CONSTRAINT enrollment_challenges_used_for CHECK (
        (used_at IS NULL) = (key_sha256 IS NULL) AND (used_at IS NULL) = (identity IS NULL))
);
CREATE INDEX enrollment_challenges_of_device ON enrollment_challenges (serial);

-- +goose Down
DROP TABLE enrollment_challenges, identities, authorities;
