-- +goose Up
CREATE TABLE authorities (
    id          integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    certificate bytea NOT NULL,
    private_key bytea NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE enrollment_challenges (
    sha256     bytea PRIMARY KEY
        CONSTRAINT enrollment_challenges_hash_size CHECK (octet_length(sha256) = 32),
    serial     text NOT NULL
        CONSTRAINT enrollment_challenges_device REFERENCES devices (serial),
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    used_at    timestamptz
);
CREATE INDEX enrollment_challenges_of_device ON enrollment_challenges (serial);

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

-- +goose Down
DROP TABLE identities, enrollment_challenges, authorities;
