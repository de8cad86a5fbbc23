-- +goose Up
-- An item that nothing waits for is tried again by itself, some times; not if a person declined it or it can't be had.
ALTER TABLE plan_items
    ADD COLUMN retries integer NOT NULL DEFAULT 0,
    ADD COLUMN final boolean NOT NULL DEFAULT false;

-- +goose Down
ALTER TABLE plan_items
    DROP COLUMN retries,
    DROP COLUMN final;
