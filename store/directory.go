package store

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/muster-mdm/muster/provision"
)

// Directory is where people sign in.
type Directory struct {
	Name        string
	Description string
	// Kind is one of package directory's.
	Kind   string
	Domain string
	// Settings are the rest, without secrets.
	Settings json.RawMessage
	// HasSecret: the client secret of an OpenID Connect provider is stored.
	HasSecret bool
	// Groups are tried in their order; a directory's group may bring several.
	Groups    []DirectoryGroup
	Version   int64
	CreatedAt time.Time
	UpdatedAt time.Time
}

// DirectoryGroup says what group a group of a directory brings.
type DirectoryGroup struct {
	DirectoryGroup string `json:"directory_group"`
	Group          string `json:"group"`
}

const directories = `
SELECT d.name, d.description, d.kind, d.domain, d.settings, d.secret IS NOT NULL,
    coalesce((
        SELECT jsonb_agg(jsonb_build_object('directory_group', g.directory_group, 'group', g.group_name) ORDER BY g.position)
        FROM directory_groups g
        WHERE g.directory = d.name), '[]'),
    d.version, d.created_at, d.updated_at
FROM directories d
WHERE `

// Directories lists directories by name.
func (db *DB) Directories(ctx context.Context, p Page) ([]Directory, error) {
	rows, err := db.pool.Query(ctx, directories+`d.name > $1 ORDER BY d.name LIMIT $2`, p.After, p.Limit)
	if err != nil {
		return nil, translate(err, "listing directories")
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Directory])
	return list, translate(err, "listing directories")
}

// AllDirectories lists all there are, by name.
func (db *DB) AllDirectories(ctx context.Context) ([]Directory, error) {
	const most = 1 << 20
	return db.Directories(ctx, Page{Limit: most})
}

// Directory returns a directory. It fails with [provision.NotFound].
func (db *DB) Directory(ctx context.Context, name string) (Directory, error) {
	d, err := readDirectory(ctx, db.pool, name, "")
	return d, translate(err, "reading directory "+name)
}

func readDirectory(ctx context.Context, q querier, name, lock string) (Directory, error) {
	rows, err := q.Query(ctx, directories+`d.name = $1 `+lock, name)
	if err != nil {
		return Directory{}, err
	}
	d, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[Directory])
	if errors.Is(err, pgx.ErrNoRows) {
		return d, provision.Errorf(provision.NotFound, "Directory %.64q does not exist.", name)
	}
	return d, err
}

func placeOfSecret(directory string) string { return "directories/" + directory + "/secret" }

const directorySecret = `
SELECT secret
FROM directories
WHERE name = $1 AND secret IS NOT NULL`

// DirectorySecret opens the client secret of an OpenID Connect provider; "" = it has none.
func (db *DB) DirectorySecret(ctx context.Context, name string) (string, error) {
	var sealed []byte
	err := db.pool.QueryRow(ctx, directorySecret, name).Scan(&sealed)
	if errors.Is(err, pgx.ErrNoRows) {
		return "", nil
	}
	if err != nil {
		return "", translate(err, "reading the secret of directory "+name)
	}
	plain, err := db.sealer.Open(sealed, placeOfSecret(name))
	return string(plain), err
}

const saveDirectory = `
INSERT INTO directories (name, description, kind, domain, settings, secret, created_at, updated_at)
VALUES (@name, @description, @kind, @domain, @settings, @secret, @now, @now)
ON CONFLICT (name) DO UPDATE
SET description = EXCLUDED.description,
    kind = EXCLUDED.kind,
    domain = EXCLUDED.domain,
    settings = EXCLUDED.settings,
    secret = CASE WHEN @keep_secret THEN directories.secret ELSE EXCLUDED.secret END,
    version = directories.version + 1,
    updated_at = EXCLUDED.updated_at`

const mapGroups = `
INSERT INTO directory_groups (directory, position, directory_group, group_name)
SELECT @directory, ordinality, directory_group, group_name
FROM unnest(@directory_groups::text[], @groups::text[]) WITH ORDINALITY AS m (directory_group, group_name, ordinality)`

// PutDirectory creates or changes a directory. A nil secret leaves the one that is stored, an empty one removes it. It fails
// with [provision.GroupNotFound] when a group does not exist, and [provision.AlreadyExists] when another directory has the
// domain.
func (db *DB) PutDirectory(ctx context.Context, d Directory, secret *string, edit Edit) (saved Directory, created bool, err error) {
	err = edited(ctx, db.pool, edit.DryRun, func(tx pgx.Tx) error {
		was, err := readDirectory(ctx, tx, d.Name, "FOR UPDATE")
		created = provision.CodeOf(err) == provision.NotFound
		if err != nil && !created {
			return err
		}
		if err := edit.If.Check(was.Version); err != nil {
			return err
		}
		if err := db.saveDirectory(ctx, tx, d, secret); err != nil {
			return err
		}
		saved, err = readDirectory(ctx, tx, d.Name, "")
		return err
	})
	return saved, created, translate(err, "saving directory "+d.Name)
}

func (db *DB) saveDirectory(ctx context.Context, tx pgx.Tx, d Directory, secret *string) error {
	var sealed []byte
	if secret != nil && *secret != "" {
		var err error
		if sealed, err = db.sealer.Seal([]byte(*secret), placeOfSecret(d.Name)); err != nil {
			return err
		}
	}
	groups, err := mappedGroups(ctx, tx, d.Groups)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, saveDirectory, pgx.NamedArgs{
		"name": d.Name, "description": d.Description, "kind": d.Kind, "domain": d.Domain, "settings": d.Settings,
		"secret": sealed, "keep_secret": secret == nil, "now": db.now(),
	})
	if err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, `DELETE FROM directory_groups WHERE directory = $1`, d.Name); err != nil {
		return err
	}
	theirs := make([]string, len(d.Groups))
	for i, g := range d.Groups {
		theirs[i] = g.DirectoryGroup
	}
	_, err = tx.Exec(ctx, mapGroups, pgx.NamedArgs{"directory": d.Name, "directory_groups": theirs, "groups": groups})
	return err
}

// mappedGroups are our groups of a mapping as the store spells them.
func mappedGroups(ctx context.Context, tx pgx.Tx, mapping []DirectoryGroup) ([]string, error) {
	names := make([]string, len(mapping))
	for i, g := range mapping {
		names[i] = g.Group
	}
	there, err := existingGroups(ctx, tx, names)
	if err != nil {
		return nil, err
	}
	spelled := map[string]string{}
	for _, name := range there {
		spelled[strings.ToLower(name)] = name
	}
	for i, name := range names {
		names[i] = spelled[strings.ToLower(name)]
	}
	return names, nil
}

const assigningServers = `
SELECT name
FROM abm_servers
WHERE auto_assign_users
ORDER BY name
LIMIT 1`

const otherDirectories = `
SELECT count(*)
FROM directories
WHERE name <> $1`

// DeleteDirectory deletes a directory. It fails with [provision.InUse] for the last one while a server assigns users by
// signing in.
func (db *DB) DeleteDirectory(ctx context.Context, name string, condition Condition) error {
	err := pgx.BeginFunc(ctx, db.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `LOCK TABLE directories IN SHARE ROW EXCLUSIVE MODE`); err != nil {
			return err // two that delete the last two must not each take the other for the last
		}
		d, err := readDirectory(ctx, tx, name, "FOR UPDATE")
		if err != nil {
			return err
		}
		if err := condition.Check(d.Version); err != nil {
			return err
		}
		if err := mayGo(ctx, tx, name); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `DELETE FROM directories WHERE name = $1`, name)
		return err
	})
	return translate(err, "deleting directory "+name)
}

func mayGo(ctx context.Context, tx pgx.Tx, name string) error {
	var others int
	if err := tx.QueryRow(ctx, otherDirectories, name).Scan(&others); err != nil || others > 0 {
		return err
	}
	var server string
	err := tx.QueryRow(ctx, assigningServers).Scan(&server)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	return provision.Errorf(provision.InUse, "Directory %q is the only one, and ABM server %q assigns users by signing in. Turn auto_assign_users off there first, or set up another directory.", name, server)
}
