package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/muster-mdm/muster/provision"
)

// Group is a group as it is edited. The Version and Identifier of its items are those of the catalog; they are not set
// by editing a group.
type Group struct {
	Name        string
	Description string
	Items       []provision.Item
	// DeviceProfile is by which the group's devices are set up; "" = their server's default.
	DeviceProfile string
	Version       int64
	CreatedAt     time.Time
	UpdatedAt     time.Time
}

const groups = `
SELECT g.name, g.description, coalesce(g.device_profile, ''), g.version, g.created_at, g.updated_at,
    coalesce((
        SELECT jsonb_agg(jsonb_build_object('key', jsonb_build_object('kind', i.kind, 'name', i.name), 'stage', i.stage,
            'depends_on', i.depends_on, 'version', coalesce(c.content, a.content, d.content),
            'identifier', coalesce(c.identifier, a.bundle_id, d.identifier)) ORDER BY i.position)
        FROM group_items i
            LEFT JOIN configurations c ON c.name = i.configuration_name
            LEFT JOIN apps a ON a.name = i.app_name
            LEFT JOIN documents d ON d.name = i.document_name
        WHERE i.group_name = g.name), '[]')
FROM groups g
WHERE `

func scanGroup(row pgx.CollectableRow) (Group, error) {
	var g Group
	err := row.Scan(&g.Name, &g.Description, &g.DeviceProfile, &g.Version, &g.CreatedAt, &g.UpdatedAt, &g.Items)
	for i := range g.Items {
		if len(g.Items[i].DependsOn) == 0 {
			g.Items[i].DependsOn = nil
		}
	}
	return g, err
}

// Groups lists groups by name.
func (db *DB) Groups(ctx context.Context, p Page) ([]Group, error) {
	rows, err := db.pool.Query(ctx, groups+`g.name > $1 ORDER BY g.name LIMIT $2`, p.After, p.Limit)
	if err != nil {
		return nil, translate(err, "listing groups")
	}
	list, err := pgx.CollectRows(rows, scanGroup)
	return list, translate(err, "listing groups")
}

type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

func readGroup(ctx context.Context, q querier, name string) (Group, error) {
	rows, err := q.Query(ctx, groups+`g.name = $1`, name)
	if err != nil {
		return Group{}, err
	}
	return pgx.CollectExactlyOneRow(rows, scanGroup)
}

// Group returns a group. It fails with [provision.GroupNotFound].
func (db *DB) Group(ctx context.Context, name string) (Group, error) {
	g, err := readGroup(ctx, db.pool, name)
	if errors.Is(err, pgx.ErrNoRows) {
		return g, noGroup(name)
	}
	return g, translate(err, "reading a group")
}

func noGroup(name string) error {
	return provision.Errorf(provision.GroupNotFound, "Group %.100q does not exist.", name)
}

const saveGroup = `
INSERT INTO groups (name, description, device_profile, created_at, updated_at)
VALUES ($1, $2, nullif($4, ''), $3, $3)
ON CONFLICT (name) DO UPDATE
SET description = EXCLUDED.description,
    device_profile = EXCLUDED.device_profile,
    version = groups.version + 1,
    updated_at = EXCLUDED.updated_at`

// PutGroup creates a group or replaces what it holds. When its items change, every device of the group learns it in the
// same transaction; an edit that changes nothing makes no new version. It fails with [provision.ItemNotFound] and the
// field when an item does not exist, with [provision.NotFound] and the field when its device profile doesn't, and as
// [provision.Compose] does.
func (db *DB) PutGroup(ctx context.Context, g Group, edit Edit) (saved Group, created bool, err error) {
	err = db.editCatalog(ctx, "editing a group", edit, func(ctx context.Context, e *catalogEdit) error {
		was, err := readGroup(ctx, e.tx, g.Name)
		created = errors.Is(err, pgx.ErrNoRows)
		if err != nil && !created {
			return err
		}
		if err := e.If.Check(was.Version); err != nil {
			return err
		}
		if err := profileNamed(ctx, e.tx, g.DeviceProfile, "device_profile"); err != nil {
			return err
		}
		if err := e.checkItems(ctx, &g); err != nil {
			return err
		}
		sameItems := reflect.DeepEqual(was.Items, g.Items) || len(was.Items)+len(g.Items) == 0
		if !created && sameItems && was.Description == g.Description && was.DeviceProfile == g.DeviceProfile {
			saved = was
			return nil
		}
		if _, err := e.tx.Exec(ctx, saveGroup, g.Name, g.Description, e.now, g.DeviceProfile); err != nil {
			return err
		}
		if was.DeviceProfile != g.DeviceProfile {
			if _, err := e.tx.Exec(ctx, `SELECT pg_notify($1, '')`, ABMChannel); err != nil {
				return err
			}
		}
		if !sameItems {
			if err := e.saveItems(ctx, g); err != nil {
				return err
			}
			if err := e.changed(ctx, []string{g.Name}); err != nil {
				return err
			}
		}
		saved, err = readGroup(ctx, e.tx, g.Name)
		return err
	})
	return saved, created, err
}

const catalogItems = `
SELECT 'configuration', name, content, identifier
FROM configurations
WHERE name = ANY ($1)
UNION ALL
SELECT 'app', name, content, bundle_id
FROM apps
WHERE name = ANY ($2)
UNION ALL
SELECT 'document', name, content, identifier
FROM documents
WHERE name = ANY ($3)`

// checkItems fills in what the catalog says of the items and composes them.
func (e *catalogEdit) checkItems(ctx context.Context, g *Group) error {
	known, err := e.itemsNamed(ctx, g.Items)
	if err != nil {
		return err
	}
	inside := provision.Group{Name: g.Name}
	mine := map[provision.ItemKey]bool{}
	for _, it := range g.Items {
		mine[it.Key] = true
	}
	for i := range g.Items {
		it := &g.Items[i]
		found, ok := known[it.Key]
		if !ok {
			return provision.Errorf(provision.ItemNotFound, "%s does not exist; upload it first.", it.Key).At(fmt.Sprintf("items[%d].name", i))
		}
		it.Version, it.Identifier = found.Version, found.Identifier
		in := *it
		in.DependsOn = nil
		for j, dep := range it.DependsOn {
			if _, ok := known[dep]; !ok {
				return provision.Errorf(provision.DependencyMissing, "%s depends on %s, which does not exist.", it.Key, dep).At(fmt.Sprintf("items[%d].depends_on[%d]", i, j))
			}
			if mine[dep] { // others may come by another group of the device
				in.DependsOn = append(in.DependsOn, dep)
			}
		}
		inside.Items = append(inside.Items, in)
	}
	_, err = provision.Compose([]provision.Group{inside})
	return err
}

func (e *catalogEdit) itemsNamed(ctx context.Context, items []provision.Item) (map[provision.ItemKey]provision.Item, error) {
	named := map[provision.ItemKind][]string{}
	name := func(k provision.ItemKey) { named[k.Kind] = append(named[k.Kind], k.Name) }
	for _, it := range items {
		name(it.Key)
		for _, dep := range it.DependsOn {
			name(dep)
		}
	}
	rows, err := e.tx.Query(ctx, catalogItems, notNil(named[provision.ConfigurationItem]), notNil(named[provision.AppItem]), notNil(named[provision.DocumentItem]))
	if err != nil {
		return nil, err
	}
	known := map[provision.ItemKey]provision.Item{}
	var it provision.Item
	_, err = pgx.ForEachRow(rows, []any{&it.Key.Kind, &it.Key.Name, &it.Version, &it.Identifier}, func() error {
		known[it.Key] = it
		return nil
	})
	return known, err
}

const dropItems = `
DELETE FROM group_items
WHERE group_name = $1`

const addItem = `
INSERT INTO group_items (group_name, position, kind, configuration_name, app_name, document_name, stage, depends_on)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`

func (e *catalogEdit) saveItems(ctx context.Context, g Group) error {
	batch := &pgx.Batch{}
	batch.Queue(dropItems, g.Name)
	for i, it := range g.Items {
		depends := []byte("[]")
		if len(it.DependsOn) > 0 {
			var err error
			if depends, err = json.Marshal(it.DependsOn); err != nil {
				return fmt.Errorf("writing dependencies: %w", err)
			}
		}
		only := func(kind provision.ItemKind) *string {
			if it.Key.Kind != kind {
				return nil
			}
			return &it.Key.Name
		}
		batch.Queue(addItem, g.Name, i, it.Key.Kind, only(provision.ConfigurationItem), only(provision.AppItem), only(provision.DocumentItem), it.Stage, depends)
	}
	return e.tx.SendBatch(ctx, batch).Close()
}

const devicesOfGroup = `
SELECT count(*)
FROM devices
WHERE group_names @> ARRAY[$1] AND status <> 'Released'`

const directoryOfGroup = `
SELECT coalesce(min(directory), '')
FROM directory_groups
WHERE group_name = $1`

// DeleteGroup deletes a group. It fails with [provision.GroupNotFound], and with [provision.InUse] while the group is
// assigned to a device.
func (db *DB) DeleteGroup(ctx context.Context, name string, condition Condition) error {
	return db.editCatalog(ctx, "deleting a group", Edit{If: condition}, func(ctx context.Context, e *catalogEdit) error {
		g, err := readGroup(ctx, e.tx, name)
		if errors.Is(err, pgx.ErrNoRows) {
			return noGroup(name)
		}
		if err != nil {
			return err
		}
		if err := condition.Check(g.Version); err != nil {
			return err
		}
		// Waits for assignments that are just being made, and has later ones wait.
		if _, err := e.tx.Exec(ctx, lockGroups, []string{name}); err != nil {
			return err
		}
		var devices int
		if err := e.tx.QueryRow(ctx, devicesOfGroup, name).Scan(&devices); err != nil {
			return err
		}
		if devices > 0 {
			return groupInUse(name, devices)
		}
		var directory string
		if err := e.tx.QueryRow(ctx, directoryOfGroup, g.Name).Scan(&directory); err != nil {
			return err
		}
		if directory != "" {
			return provision.Errorf(provision.InUse, "Directory %q brings group %q to its members; take it out of the directory's groups first.", directory, name)
		}
		_, err = e.tx.Exec(ctx, `DELETE FROM groups WHERE name = $1`, name)
		return err
	})
}

func groupInUse(name string, devices int) error {
	if devices == 1 {
		return provision.Errorf(provision.InUse, "Group %q is assigned to a device; assign it otherwise first.", name)
	}
	return provision.Errorf(provision.InUse, "Group %q is assigned to %d devices; assign them otherwise first.", name, devices)
}
