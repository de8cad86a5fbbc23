package store

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/muster-mdm/muster/provision"
)

// App is an app, from a manifest or from the App Store: one of ManifestURL and StoreID is set.
type App struct {
	Name        string
	Description string
	BundleID    string
	ManifestURL string
	StoreID     int64
	// Content rises with every change of the source.
	Content   int
	Version   int64
	CreatedAt time.Time
	UpdatedAt time.Time
}

const apps = `
SELECT name, description, bundle_id, coalesce(manifest_url, ''), coalesce(store_id, 0), content, version, created_at, updated_at
FROM apps
WHERE `

// Apps lists apps by name.
func (db *DB) Apps(ctx context.Context, p Page) ([]App, error) {
	rows, err := db.pool.Query(ctx, apps+`name > $1 ORDER BY name LIMIT $2`, p.After, p.Limit)
	if err != nil {
		return nil, translate(err, "listing apps")
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[App])
	return list, translate(err, "listing apps")
}

func readApp(ctx context.Context, q querier, name string) (App, error) {
	rows, err := q.Query(ctx, apps+`name = $1`, name)
	if err != nil {
		return App{}, err
	}
	return pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[App])
}

// App returns an app. It fails with [provision.NotFound].
func (db *DB) App(ctx context.Context, name string) (App, error) {
	a, err := readApp(ctx, db.pool, name)
	if errors.Is(err, pgx.ErrNoRows) {
		return a, noApp(name)
	}
	return a, translate(err, "reading an app")
}

func noApp(name string) error {
	return provision.Errorf(provision.NotFound, "App %.100q does not exist.", name)
}

const saveApp = `
INSERT INTO apps (name, description, bundle_id, manifest_url, store_id, content, created_at, updated_at)
VALUES (@name, @description, @bundle_id, nullif(@manifest_url, ''), nullif(@store_id::bigint, 0), @content, @now, @now)
ON CONFLICT (name) DO UPDATE
SET description = EXCLUDED.description,
    manifest_url = EXCLUDED.manifest_url,
    store_id = EXCLUDED.store_id,
    content = EXCLUDED.content,
    version = apps.version + 1,
    updated_at = EXCLUDED.updated_at`

// PutApp creates an app or changes where it comes from. Another source has the next content number, and every device
// whose groups bring the app learns it in the same transaction; an edit that changes nothing makes no new version. It
// fails with [provision.AppBad] when the bundle identifier would change.
func (db *DB) PutApp(ctx context.Context, a App, edit Edit) (saved App, created bool, err error) {
	err = db.editCatalog(ctx, "editing an app", edit, func(ctx context.Context, e *catalogEdit) error {
		was, err := readApp(ctx, e.tx, a.Name)
		created = errors.Is(err, pgx.ErrNoRows)
		if err != nil && !created {
			return err
		}
		if err := e.If.Check(was.Version); err != nil {
			return err
		}
		if !created && was.BundleID != a.BundleID {
			return provision.Errorf(provision.AppBad,
				"The bundle identifier is %q, but this app's is %q. The old app would stay on the devices: keep the identifier, or create another app.",
				a.BundleID, was.BundleID).At("bundle_id")
		}
		if err := e.saveApp(ctx, was, a); err != nil {
			return err
		}
		saved, err = readApp(ctx, e.tx, a.Name)
		return err
	})
	return saved, created, err
}

func (e *catalogEdit) saveApp(ctx context.Context, was, a App) error {
	a.Content = was.Content
	if was.Version == 0 || was.ManifestURL != a.ManifestURL || was.StoreID != a.StoreID {
		a.Content++
	}
	if a.Content == was.Content && a.Description == was.Description {
		return nil
	}
	_, err := e.tx.Exec(ctx, saveApp, pgx.NamedArgs{
		"name": a.Name, "description": a.Description, "bundle_id": a.BundleID, "manifest_url": a.ManifestURL,
		"store_id": a.StoreID, "content": a.Content, "now": e.now,
	})
	if err != nil || a.Content == was.Content {
		return err
	}
	return e.itemChanged(ctx, provision.ItemKey{Kind: provision.AppItem, Name: a.Name})
}

// DeleteApp deletes an app. It fails with [provision.NotFound], and with [provision.InUse] while a group brings it.
func (db *DB) DeleteApp(ctx context.Context, name string, condition Condition) error {
	return db.editCatalog(ctx, "deleting an app", Edit{If: condition}, func(ctx context.Context, e *catalogEdit) error {
		a, err := readApp(ctx, e.tx, name)
		if errors.Is(err, pgx.ErrNoRows) {
			return noApp(name)
		}
		if err != nil {
			return err
		}
		if err := e.checkDeletable(ctx, provision.ItemKey{Kind: provision.AppItem, Name: name}, a.Version); err != nil {
			return err
		}
		_, err = e.tx.Exec(ctx, `DELETE FROM apps WHERE name = $1`, name)
		return err
	})
}
