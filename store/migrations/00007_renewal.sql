-- +goose Up
ALTER TABLE devices
    -- The certificate by which the device proved itself last.
    ADD COLUMN identity text
        CONSTRAINT devices_identity REFERENCES identities (sha256),
    -- A duty of the worker: when to have the device get a new certificate.
    ADD COLUMN renew_at timestamptz,
    ADD COLUMN renew_tries integer NOT NULL DEFAULT 0;
CREATE INDEX devices_renewal_due ON devices (renew_at) WHERE renew_at IS NOT NULL;

-- The enrollment that a challenge, and the certificate issued for it, renews; without one it opens the next.
ALTER TABLE enrollment_challenges ADD COLUMN renews integer
    CONSTRAINT enrollment_challenges_renews_positive CHECK (renews > 0);
ALTER TABLE identities ADD COLUMN renews integer
    CONSTRAINT identities_renews_positive CHECK (renews > 0);
-- Serial numbers are an authority's own; certificates of other authorities are kept here, too.
DROP INDEX identities_serial_number;

UPDATE devices d
SET identity = (
    SELECT i.sha256
    FROM identities i
        JOIN nanomdm.cert_auth_associations a ON a.id = d.udid AND a.sha256 = i.sha256::char(64)
    WHERE i.serial = d.serial
    ORDER BY i.issued_at DESC
    LIMIT 1)
WHERE d.udid IS NOT NULL;

-- +goose Down
CREATE UNIQUE INDEX identities_serial_number ON identities (serial_number);
ALTER TABLE identities DROP COLUMN renews;
ALTER TABLE enrollment_challenges DROP COLUMN renews;
ALTER TABLE devices DROP COLUMN identity, DROP COLUMN renew_at, DROP COLUMN renew_tries;
