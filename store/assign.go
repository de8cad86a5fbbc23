package store

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/muster-mdm/muster/provision"
)

// Wish is an assignment as people give it, checked but not yet compared with what exists.
type Wish struct {
	User *provision.Person
	// Technician is named by domain and name.
	Technician  *provision.Person
	Groups      []string
	OwnedBy     string
	Requirement string
	// EffectiveAt and ReturnBy are those of [provision.Assignment].
	EffectiveAt, ReturnBy *time.Time
}

// Assign finds out which people and groups are meant, locks the device, creating it when it is not known, and runs
// change with the assignment, in one transaction. It fails with [provision.GroupNotFound] and the names of the missing
// groups, and with [provision.TechnicianNotFound].
func (db *DB) Assign(ctx context.Context, serial string, w Wish, change func(context.Context, *Change, provision.Assignment) error) (provision.Device, error) {
	return db.transact(ctx, "assigning device "+serial, func(c *Change) error {
		// The groups are locked before the device, as catalog edits do.
		a, err := db.resolve(ctx, c.tx, w)
		if err != nil {
			return err
		}
		if err := c.lock(ctx, serial, true); err != nil {
			return err
		}
		return change(ctx, c, a)
	})
}

func (db *DB) resolve(ctx context.Context, tx pgx.Tx, w Wish) (provision.Assignment, error) {
	a := provision.Assignment{OwnedBy: w.OwnedBy, Requirement: w.Requirement, EffectiveAt: w.EffectiveAt, ReturnBy: w.ReturnBy}
	var err error
	if a.Groups, err = existingGroups(ctx, tx, w.Groups); err != nil {
		return a, err
	}
	if w.Technician != nil {
		if a.TechnicianID, err = technician(ctx, tx, *w.Technician); err != nil {
			return a, err
		}
	}
	if w.User != nil {
		if a.UserID, err = db.user(ctx, tx, *w.User); err != nil {
			return a, err
		}
	}
	return a, nil
}

// PostgreSQL folds both names: its idea of letter case depends on the database's locale, and a group must be found by its own name
// wherever it is.
const shareGroups = `
SELECT w.name, g.name
FROM unnest($1::text[]) AS w (name)
    JOIN groups g ON lower(g.name) = lower(w.name)
ORDER BY g.name
FOR KEY SHARE OF g`

// existingGroups returns the names as they are spelled in the store, each once, in the order given.
func existingGroups(ctx context.Context, tx pgx.Tx, wanted []string) ([]string, error) {
	if len(wanted) == 0 {
		return nil, nil
	}
	spelled, err := spelledGroups(ctx, tx, wanted)
	if err != nil {
		return nil, err
	}
	var names, missing []string
	for _, name := range wanted {
		known, ok := spelled[strings.ToLower(name)]
		switch {
		case !ok && !slices.Contains(missing, name):
			missing = append(missing, name)
		case ok && !slices.Contains(names, known):
			names = append(names, known)
		}
	}
	if len(missing) > 0 {
		return nil, missingGroups(missing)
	}
	return names, nil
}

// spelledGroups locks the groups that exist and returns them by the wanted names in lower case.
func spelledGroups(ctx context.Context, tx pgx.Tx, wanted []string) (map[string]string, error) {
	names := slices.Sorted(slices.Values(wanted))
	rows, err := tx.Query(ctx, shareGroups, slices.Compact(names))
	if err != nil {
		return nil, fmt.Errorf("reading the groups: %w", err)
	}
	spelled := map[string]string{}
	var given, name string
	_, err = pgx.ForEachRow(rows, []any{&given, &name}, func() error {
		spelled[strings.ToLower(given)] = name
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading the groups: %w", err)
	}
	return spelled, nil
}

func missingGroups(names []string) error {
	quoted := make([]string, len(names))
	for i, n := range names {
		quoted[i] = fmt.Sprintf("%q", n)
	}
	if len(names) == 1 {
		return provision.Errorf(provision.GroupNotFound, "Group %s does not exist; create it first.", quoted[0]).At("groups")
	}
	return provision.Errorf(provision.GroupNotFound, "The groups %s do not exist; create them first.", strings.Join(quoted, ", ")).At("groups")
}

func technician(ctx context.Context, tx pgx.Tx, wanted provision.Person) (string, error) {
	p, err := account(ctx, tx, wanted.Domain, wanted.Name)
	switch {
	case err != nil:
		return "", err
	case p == nil:
		return "", provision.Errorf(provision.TechnicianNotFound, "No technician %q is known in domain %q.", wanted.Name, wanted.Domain).At("technician")
	case !p.Technician:
		return "", provision.Errorf(provision.TechnicianNotFound, "%q of domain %q is known, but is no technician; an administrator can make them one.", p.Name, p.Domain).At("technician")
	}
	return p.ID, nil
}
