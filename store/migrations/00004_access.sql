-- +goose Up
CREATE TABLE api_tokens (
    id           text PRIMARY KEY,
    name         text NOT NULL,
    -- What the token begins with, so that people can tell tokens apart; the rest is only known by its hash.
    prefix       text NOT NULL,
    sha256       bytea NOT NULL
        CONSTRAINT api_tokens_hash_size CHECK (octet_length(sha256) = 32),
    role         text NOT NULL
        CONSTRAINT api_tokens_role_known CHECK (role IN ('viewer', 'technician', 'admin')),
    created_at   timestamptz NOT NULL DEFAULT now(),
    expires_at   timestamptz,
    last_used_at timestamptz,
    revoked_at   timestamptz
);
CREATE UNIQUE INDEX api_tokens_sha256 ON api_tokens (sha256);

CREATE TABLE idempotency_keys (
    token_id    text NOT NULL
        CONSTRAINT idempotency_keys_token REFERENCES api_tokens (id) ON DELETE CASCADE,
    key         text NOT NULL
        CONSTRAINT idempotency_keys_length CHECK (length(key) BETWEEN 1 AND 255),
    -- Method, path and body of the first request; another request under the same key is refused.
    fingerprint bytea NOT NULL,
    status      integer,
    header      jsonb,
    body        bytea,
    created_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (token_id, key)
);
CREATE INDEX idempotency_keys_age ON idempotency_keys (created_at);

-- +goose Down
DROP TABLE idempotency_keys, api_tokens;
