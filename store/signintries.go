package store

import (
	"context"
	"strings"
	"time"
	"unicode"

	"github.com/jackc/pgx/v5"

	"github.com/muster-mdm/muster/provision"
)

// TryLimit is how often a subject may try to sign in while a window lasts.
type TryLimit struct {
	// Subject is a device, an account or an address, as the caller names it.
	Subject string
	Tries   int
}

// A window begins with the first try. The try that uses the limit up begins it anew, so that the lock lasts all of it. The order
// of rows keeps two that share subjects from locking each other out.
const countTry = `
INSERT INTO sign_in_tries AS t (subject, tries, until)
SELECT subject, 1, @until
FROM unnest(@subjects::text[]) AS s (subject)
ORDER BY subject
ON CONFLICT (subject) DO UPDATE
SET tries = CASE WHEN t.until <= @now THEN 1 ELSE t.tries + 1 END,
    until = CASE
        WHEN t.until <= @now OR t.tries + 1 = (@limits::jsonb ->> t.subject)::integer THEN EXCLUDED.until
        ELSE t.until
    END
RETURNING subject, tries, until`

// CountTry counts a try to sign in for all of the subjects before it is made, so that many at once can't get past the limit. It
// fails with [provision.SignInLocked], having counted nothing, when one of them has no try left.
func (db *DB) CountTry(ctx context.Context, window time.Duration, limits ...TryLimit) error {
	subjects, most := make([]string, len(limits)), map[string]int{}
	for i, l := range limits {
		subjects[i], most[l.Subject] = l.Subject, l.Tries
	}
	now := db.now()
	err := pgx.BeginFunc(ctx, db.pool, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, countTry, pgx.NamedArgs{"subjects": subjects, "limits": most, "now": now, "until": now.Add(window)})
		if err != nil {
			return err
		}
		var subject string
		var tries int
		var until, locked time.Time
		_, err = pgx.ForEachRow(rows, []any{&subject, &tries, &until}, func() error {
			if tries > most[subject] && until.After(locked) {
				locked = until
			}
			return nil
		})
		if err != nil || locked.IsZero() {
			return err
		}
		return Locked(locked.Sub(now))
	})
	return translate(err, "counting a try to sign in")
}

// FoldName is the same for all spellings of an account's name that a directory may take for one: by letter case, blanks, accents and
// the width of letters. Active Directory minds none of them, other servers not all (RFC 4518, 2).
func (db *DB) FoldName(ctx context.Context, name string) (string, error) {
	if strings.ContainsFunc(name, func(r rune) bool { return r > unicode.MaxASCII }) {
		if err := db.pool.QueryRow(ctx, `SELECT normalize($1::text, NFKD)`, name).Scan(&name); err != nil {
			return "", translate(err, "reading the name of an account")
		}
	}
	bare := strings.Map(func(r rune) rune {
		if unicode.Is(unicode.Mn, r) {
			return -1
		}
		return unicode.ToLower(r)
	}, name)
	return strings.Join(strings.Fields(bare), " "), nil
}

// Locked is what whoever tried too often is told.
func Locked(wait time.Duration) error {
	const minute = time.Minute
	if minutes := int((wait + minute - 1) / minute); minutes != 1 {
		return provision.Errorf(provision.SignInLocked, "Too many tries to sign in. Wait %d minutes, then try again.", minutes)
	}
	return provision.Errorf(provision.SignInLocked, "Too many tries to sign in. Wait a minute, then try again.")
}

const returnTry = `
UPDATE sign_in_tries
SET tries = tries - 1
WHERE subject IN (SELECT subject FROM sign_in_tries WHERE subject = ANY ($1) ORDER BY subject FOR UPDATE) AND tries > 0`

// ReturnTry takes a counted try back: it said nothing about the password, or the password was right.
func (db *DB) ReturnTry(ctx context.Context, subjects ...string) error {
	_, err := db.pool.Exec(ctx, returnTry, subjects)
	return translate(err, "taking a try to sign in back")
}

// ForgetTries has a subject begin anew.
func (db *DB) ForgetTries(ctx context.Context, subject string) error {
	_, err := db.pool.Exec(ctx, `DELETE FROM sign_in_tries WHERE subject = $1`, subject)
	return translate(err, "forgetting tries to sign in")
}
