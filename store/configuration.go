package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/muster-mdm/muster/provision"
)

// Configuration is a configuration profile; its newest content is numbered by Content.
type Configuration struct {
	Name        string
	Description string
	Content     int
	// Identifier is the PayloadIdentifier.
	Identifier string
	Version    int64
	CreatedAt  time.Time
	UpdatedAt  time.Time
}

// ConfigurationUpload is a configuration as it is given.
type ConfigurationUpload struct {
	Name string
	// Description nil leaves what is there.
	Description *string
	Identifier  string
	Payload     []byte
}

const configurations = `
SELECT name, description, content, identifier, version, created_at, updated_at
FROM configurations
WHERE `

// Configurations lists configurations by name.
func (db *DB) Configurations(ctx context.Context, p Page) ([]Configuration, error) {
	rows, err := db.pool.Query(ctx, configurations+`name > $1 ORDER BY name LIMIT $2`, p.After, p.Limit)
	if err != nil {
		return nil, translate(err, "listing configurations")
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Configuration])
	return list, translate(err, "listing configurations")
}

func readConfiguration(ctx context.Context, q querier, name string) (Configuration, error) {
	rows, err := q.Query(ctx, configurations+`name = $1`, name)
	if err != nil {
		return Configuration{}, err
	}
	return pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[Configuration])
}

// Configuration returns a configuration. It fails with [provision.NotFound].
func (db *DB) Configuration(ctx context.Context, name string) (Configuration, error) {
	c, err := readConfiguration(ctx, db.pool, name)
	if errors.Is(err, pgx.ErrNoRows) {
		return c, noConfiguration(name)
	}
	return c, translate(err, "reading a configuration")
}

func noConfiguration(name string) error {
	return provision.Errorf(provision.NotFound, "Configuration %.100q does not exist.", name)
}

const newestContent = `
SELECT cc.payload
FROM configurations c
    JOIN configuration_contents cc ON cc.name = c.name AND cc.content = c.content
WHERE c.name = $1`

// ConfigurationContent returns the newest content, byte for byte as it was uploaded. It fails with [provision.NotFound].
func (db *DB) ConfigurationContent(ctx context.Context, name string) ([]byte, error) {
	var payload []byte
	err := db.pool.QueryRow(ctx, newestContent, name).Scan(&payload)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, noConfiguration(name)
	}
	return payload, translate(err, "reading a configuration")
}

const saveConfiguration = `
INSERT INTO configurations (name, description, content, identifier, created_at, updated_at)
VALUES ($1, $2, $3, $4, $5, $5)
ON CONFLICT (name) DO UPDATE
SET description = EXCLUDED.description,
    content = EXCLUDED.content,
    version = configurations.version + 1,
    updated_at = EXCLUDED.updated_at`

const addContent = `
INSERT INTO configuration_contents (name, content, identifier, payload, created_at)
VALUES ($1, $2, $3, $4, $5)`

// PutConfiguration creates a configuration or gives it new content. New content has the next number, and every device
// whose groups bring the configuration learns it in the same transaction; an upload that changes nothing makes no new
// version. It fails with [provision.ConfigurationBad] when the identifier would change.
func (db *DB) PutConfiguration(ctx context.Context, u ConfigurationUpload, edit Edit) (saved Configuration, created bool, err error) {
	err = db.editCatalog(ctx, "editing a configuration", edit, func(ctx context.Context, e *catalogEdit) error {
		was, err := readConfiguration(ctx, e.tx, u.Name)
		created = errors.Is(err, pgx.ErrNoRows)
		if err != nil && !created {
			return err
		}
		if err := e.If.Check(was.Version); err != nil {
			return err
		}
		if !created && was.Identifier != u.Identifier {
			return provision.Errorf(provision.ConfigurationBad,
				"The PayloadIdentifier is %q, but this configuration's is %q. The old profile would stay on the devices: keep the identifier, or upload it as another configuration.",
				u.Identifier, was.Identifier).At("PayloadIdentifier")
		}
		if err := e.saveConfiguration(ctx, was, u); err != nil {
			return err
		}
		saved, err = readConfiguration(ctx, e.tx, u.Name)
		return err
	})
	return saved, created, err
}

func (e *catalogEdit) saveConfiguration(ctx context.Context, was Configuration, u ConfigurationUpload) error {
	old, description := []byte(nil), was.Description
	if was.Version > 0 {
		if err := e.tx.QueryRow(ctx, newestContent, u.Name).Scan(&old); err != nil {
			return fmt.Errorf("reading the content: %w", err)
		}
	}
	if u.Description != nil {
		description = *u.Description
	}
	content := was.Content
	if !bytes.Equal(old, u.Payload) || was.Version == 0 {
		content++
	}
	if content == was.Content && description == was.Description {
		return nil
	}
	if _, err := e.tx.Exec(ctx, saveConfiguration, u.Name, description, content, u.Identifier, e.now); err != nil {
		return err
	}
	if content == was.Content {
		return nil
	}
	if _, err := e.tx.Exec(ctx, addContent, u.Name, content, u.Identifier, u.Payload, e.now); err != nil {
		return err
	}
	return e.itemChanged(ctx, provision.ItemKey{Kind: provision.ConfigurationItem, Name: u.Name})
}

const groupsWith = `
SELECT group_name
FROM group_items
WHERE kind = $1 AND name = $2
ORDER BY group_name`

func (e *catalogEdit) groupsWith(ctx context.Context, item provision.ItemKey) ([]string, error) {
	rows, err := e.tx.Query(ctx, groupsWith, item.Kind, item.Name)
	if err != nil {
		return nil, fmt.Errorf("reading the groups: %w", err)
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("reading the groups: %w", err)
	}
	return names, nil
}

func (e *catalogEdit) itemChanged(ctx context.Context, item provision.ItemKey) error {
	names, err := e.groupsWith(ctx, item)
	if err != nil {
		return err
	}
	return e.changed(ctx, names)
}

// checkDeletable holds the edit's condition against a version of the item, and whether a group brings it.
func (e *catalogEdit) checkDeletable(ctx context.Context, item provision.ItemKey, version int64) error {
	if err := e.If.Check(version); err != nil {
		return err
	}
	return e.checkUnused(ctx, item)
}

func (e *catalogEdit) checkUnused(ctx context.Context, item provision.ItemKey) error {
	names, err := e.groupsWith(ctx, item)
	if err != nil {
		return err
	}
	switch len(names) {
	case 0:
		return nil
	case 1:
		return provision.Errorf(provision.InUse, "%s is in group %q; take it out of it first.", item, names[0])
	}
	return provision.Errorf(provision.InUse, "%s is in %d groups, such as %q; take it out of them first.", item, len(names), names[0])
}

// DeleteConfiguration deletes a configuration with all its contents. It fails with [provision.NotFound], and with
// [provision.InUse] while a group brings it.
func (db *DB) DeleteConfiguration(ctx context.Context, name string, condition Condition) error {
	return db.editCatalog(ctx, "deleting a configuration", Edit{If: condition}, func(ctx context.Context, e *catalogEdit) error {
		c, err := readConfiguration(ctx, e.tx, name)
		if errors.Is(err, pgx.ErrNoRows) {
			return noConfiguration(name)
		}
		if err != nil {
			return err
		}
		if err := e.checkDeletable(ctx, provision.ItemKey{Kind: provision.ConfigurationItem, Name: name}, c.Version); err != nil {
			return err
		}
		_, err = e.tx.Exec(ctx, `DELETE FROM configurations WHERE name = $1`, name)
		return err
	})
}
