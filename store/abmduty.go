package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/muster-mdm/muster/provision"
)

// ABMDuty is something that Apple is to be asked for a device.
type ABMDuty struct {
	Serial string
	Verb   provision.ABMVerb
	Server string
	// Profile and Content name the device profile of an AssignProfile.
	Profile string
	Content int
	DueAt   time.Time
	Tries   int
	// Result is Apple's last answer, in Apple's words.
	Result     string
	AnsweredAt *time.Time
	// Activity is the Business API's that is under way for it; "" = none.
	Activity  string
	CreatedAt time.Time
}

const abmDuties = `
SELECT serial, verb, server, coalesce(profile, ''), content, due_at, tries, result, answered_at, activity, created_at
FROM abm_duties
WHERE `

// ABMDutiesOf lists what Apple is to be asked for a device.
func (db *DB) ABMDutiesOf(ctx context.Context, serial string) ([]ABMDuty, error) {
	rows, err := db.pool.Query(ctx, abmDuties+`serial = $1 ORDER BY verb`, serial)
	if err != nil {
		return nil, translate(err, "reading what Apple is to be asked")
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[ABMDuty])
	return list, translate(err, "reading what Apple is to be asked")
}

// dutyLease is when a duty comes up again whose worker died while it asked.
const dutyLease = 5 * time.Minute

// The duty that is due the longest decides which verb, profile and activity come next; the others of its kind go with it, in
// the order in which they are due, so that those that fail again and again don't keep new ones waiting.
const claimDuties = `
WITH first AS (
    SELECT verb, profile, content, activity
    FROM abm_duties
    WHERE server = $1 AND due_at <= $2
    ORDER BY due_at, serial
    LIMIT 1
), due AS (
    SELECT d.serial, d.verb
    FROM abm_duties d
        JOIN first f ON f.verb = d.verb AND f.profile IS NOT DISTINCT FROM d.profile AND f.content = d.content AND f.activity = d.activity
    WHERE d.server = $1 AND d.due_at <= $2
    ORDER BY d.due_at, d.serial
    LIMIT $3
    FOR NO KEY UPDATE OF d SKIP LOCKED
)
UPDATE abm_duties d
SET due_at = $2::timestamptz + $4::interval
FROM due
WHERE d.serial = due.serial AND d.verb = due.verb
RETURNING d.serial, d.verb, d.server, coalesce(d.profile, ''), d.content, d.due_at, d.tries, d.result, d.answered_at, d.activity,
    d.created_at`

// ClaimABMDuties takes up to limit duties of one kind that are due at a server: the same verb, the same content of the same
// profile, the same activity under way. They come up again by themselves if nothing is said of them.
func (db *DB) ClaimABMDuties(ctx context.Context, server string, limit int) ([]ABMDuty, error) {
	rows, err := db.pool.Query(ctx, claimDuties, server, db.now(), limit, dutyLease)
	if err != nil {
		return nil, translate(err, "claiming what Apple is to be asked")
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[ABMDuty])
	return list, translate(err, "claiming what Apple is to be asked")
}

const nextDuties = `
SELECT t.server, greatest(min(t.due_at), s.throttled_until)
FROM abm_duties t
    JOIN abm_servers s ON s.name = t.server
WHERE s.health IN ('ok', 'abm_unreachable') OR s.health_since + interval '1 hour' <= $1
GROUP BY t.server, s.throttled_until`

// NextABMDuties says when each server's next duty is due, and may be done. Servers that can't be used are left out, but for a
// look an hour.
func (db *DB) NextABMDuties(ctx context.Context) (map[string]time.Time, error) {
	rows, err := db.pool.Query(ctx, nextDuties, db.now())
	if err != nil {
		return nil, translate(err, "reading the next duties")
	}
	next := map[string]time.Time{}
	var server string
	var at time.Time
	_, err = pgx.ForEachRow(rows, []any{&server, &at}, func() error {
		next[server] = at
		return nil
	})
	return next, translate(err, "reading the next duties")
}

const countDuties = `
SELECT server, verb, count(*)
FROM abm_duties
GROUP BY server, verb`

// CountABMDuties says how much Apple is to be asked for, by server and verb.
func (db *DB) CountABMDuties(ctx context.Context) (map[string]map[provision.ABMVerb]int, error) {
	rows, err := db.pool.Query(ctx, countDuties)
	if err != nil {
		return nil, translate(err, "counting what Apple is to be asked")
	}
	counts := map[string]map[provision.ABMVerb]int{}
	var server string
	var verb provision.ABMVerb
	var n int
	_, err = pgx.ForEachRow(rows, []any{&server, &verb, &n}, func() error {
		if counts[server] == nil {
			counts[server] = map[provision.ABMVerb]int{}
		}
		counts[server][verb] = n
		return nil
	})
	return counts, translate(err, "counting what Apple is to be asked")
}

// ListenABM calls wake whenever something about Apple Business Manager servers is due at once, and when it begins to
// listen. It returns when the connection breaks or ctx ends.
func (db *DB) ListenABM(ctx context.Context, wake func()) error {
	return db.listen(ctx, ABMChannel, wake)
}

const noteActivity = `
UPDATE abm_duties
SET activity = $3,
    due_at = $4
WHERE serial = ANY ($1) AND verb = $2`

// NoteABMActivity keeps which activity of the Business API is under way for duties, and when to look after it.
func (db *DB) NoteABMActivity(ctx context.Context, duties []ABMDuty, activity string, look time.Duration) error {
	if len(duties) == 0 {
		return nil
	}
	_, err := db.pool.Exec(ctx, noteActivity, serialsOf(duties), duties[0].Verb, activity, db.now().Add(look))
	return translate(err, "noting an activity of the Business API")
}

func serialsOf(duties []ABMDuty) []string {
	serials := make([]string, len(duties))
	for i, d := range duties {
		serials[i] = d.Serial
	}
	return serials
}

const postponeDuties = `
UPDATE abm_duties
SET due_at = $3
WHERE serial = ANY ($1) AND verb = $2`

// PostponeABMDuties gives claimed duties back, to come up after a pause, when Apple could not be asked at all.
func (db *DB) PostponeABMDuties(ctx context.Context, duties []ABMDuty, pause time.Duration) error {
	if len(duties) == 0 {
		return nil
	}
	_, err := db.pool.Exec(ctx, postponeDuties, serialsOf(duties), duties[0].Verb, db.now().Add(pause))
	return translate(err, "putting off what Apple is to be asked")
}

const healthShared = `
SELECT health
FROM abm_servers
WHERE name = $1
FOR SHARE`

// BlockABMDuties gives claimed duties of a server back that can't be used. They come up when it is mended, and for a look
// after the pause; at once, if it was mended since they were claimed.
func (db *DB) BlockABMDuties(ctx context.Context, duties []ABMDuty, pause time.Duration) error {
	if len(duties) == 0 {
		return nil
	}
	err := pgx.BeginFunc(ctx, db.pool, func(tx pgx.Tx) error {
		var health string
		// The lock makes whoever mends the server see what is put off here, or be seen.
		if err := tx.QueryRow(ctx, healthShared, duties[0].Server).Scan(&health); err != nil {
			return ignoreNoRows(err)
		}
		due := db.now()
		if health != Healthy {
			due = due.Add(pause)
		}
		_, err := tx.Exec(ctx, postponeDuties, serialsOf(duties), duties[0].Verb, due)
		return err
	})
	return translate(err, "putting off what a blocked server is to be asked")
}

// ABMAnswer is what became of a duty.
type ABMAnswer struct {
	Duty    ABMDuty
	Outcome provision.ABMOutcome
	// Result is Apple's answer, verbatim.
	Result string
	// Again is the pause before Apple is asked again, of [provision.ABMRetrying].
	Again time.Duration
	// UUID is the profile that an AssignProfile assigned.
	UUID string
}

const dropDuty = `
DELETE FROM abm_duties
WHERE serial = $1 AND verb = $2 AND server = $3 AND content = $4 AND profile IS NOT DISTINCT FROM nullif($5, '')`

const retryDuty = `
UPDATE abm_duties
SET due_at = $6,
    tries = tries + 1,
    result = $7,
    answered_at = $8,
    activity = ''
WHERE serial = $1 AND verb = $2 AND server = $3 AND content = $4 AND profile IS NOT DISTINCT FROM nullif($5, '')`

const noteAssigned = `
UPDATE abm_devices
SET profile_uuid = $3,
    profile_status = 'assigned',
    profile_assigned_at = $4
WHERE server = $1 AND serial = $2 AND listed`

const noteReleased = `
UPDATE abm_devices
SET listed = false,
    gone_at = coalesce(gone_at, $3),
    settled = true,
    profile_uuid = '',
    profile_status = ''
WHERE server = $1 AND serial = $2`

// AnswerABMDuties takes Apple's answers to up to a thousand duties: they become facts, what is done is done with, and what
// is not comes up again. A duty that changed meanwhile, because the device shall have another profile now, stays. What
// was released is off the server at once; what was unassigned is so when the next sync says it (R57), which is wished.
func (db *DB) AnswerABMDuties(ctx context.Context, answers []ABMAnswer) error {
	byServer := map[string]bool{}
	serials := make([]string, len(answers))
	for i, a := range answers {
		serials[i] = a.Duty.Serial
		byServer[a.Duty.Server] = byServer[a.Duty.Server] || a.Duty.Verb != provision.AssignProfile && a.Outcome == provision.ABMDone
	}
	return db.many(ctx, "taking Apple's answers", provision.Sync, func(ctx context.Context, m *Many) error {
		if err := m.lock(ctx, serials, false); err != nil {
			return err
		}
		for _, a := range answers {
			if c := m.Device(a.Duty.Serial); c != nil {
				if err := c.abmAnswered(ctx, a); err != nil {
					return err
				}
			}
		}
		for server, wish := range byServer {
			if !wish {
				continue
			}
			if _, err := m.tx.Exec(ctx, wantSyncOf, []string{server}, m.db.now()); err != nil {
				return fmt.Errorf("wishing a sync: %w", err)
			}
			if _, err := m.tx.Exec(ctx, `SELECT pg_notify($1, '')`, ABMChannel); err != nil {
				return fmt.Errorf("wishing a sync: %w", err)
			}
		}
		return nil
	})
}

func (c *Change) abmAnswered(ctx context.Context, a ABMAnswer) error {
	d := a.Duty
	fact := provision.Fact{Kind: provision.ABMAnswered, Source: provision.FromABM, ABM: &provision.ABMFact{
		Server: d.Server, Verb: d.Verb, Outcome: a.Outcome, Result: a.Result, Profile: d.Profile,
	}}
	if a.Outcome == provision.ABMRetrying {
		until := c.now.Add(a.Again)
		fact.Until = &until
		c.later.Queue(retryDuty, d.Serial, d.Verb, d.Server, d.Content, d.Profile, until, a.Result, c.now)
	} else {
		c.later.Queue(dropDuty, d.Serial, d.Verb, d.Server, d.Content, d.Profile)
	}
	if _, err := c.Record(ctx, fact); err != nil {
		return err
	}
	if a.Outcome != provision.ABMDone {
		return nil
	}
	switch d.Verb {
	case provision.AssignProfile:
		c.later.Queue(noteAssigned, d.Server, d.Serial, a.UUID, c.now)
	case provision.ReleaseDevice:
		c.later.Queue(noteReleased, d.Server, d.Serial, c.now)
		return c.abmGone(ctx, d.Server, nil, provision.ABMReleased)
	case provision.UnassignDevice:
	}
	return nil
}

const addDuty = `
INSERT INTO abm_duties (serial, verb, server, due_at, created_at)
VALUES ($1, $2, $3, $4, $4)
ON CONFLICT (serial, verb) DO UPDATE
SET server = EXCLUDED.server,
    due_at = EXCLUDED.due_at,
    tries = 0,
    result = '',
    answered_at = NULL,
    activity = ''`

const dropProfileDuty = `
DELETE FROM abm_duties
WHERE serial = $1 AND verb = 'assign_profile'`

const serverHealth = `
SELECT health
FROM abm_servers
WHERE name = $1`

// askABM makes a duty of what the workflow decided to ask Apple for, and says at once if the server can't be used.
func (c *Change) askABM(ctx context.Context, step provision.Step) error {
	d := c.Device
	due := step.Verb == provision.UnassignDevice && d.UnassignWanted() && d.ABMUnassign.Asked.By < d.UnassignAsked.By ||
		step.Verb == provision.ReleaseDevice && d.ReleasePending() && d.ABM.State == provision.ABMPresent && d.ABMRelease.Asked.By < d.ReleaseAsked.By
	if !due {
		return nil
	}
	var health string
	if err := c.tx.QueryRow(ctx, serverHealth, d.ABM.Server).Scan(&health); err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return fmt.Errorf("reading the server's health: %w", err)
	}
	asked := provision.Fact{Kind: provision.ABMAsked, Source: provision.FromWorkflow, Reason: step.Reason, ABM: &provision.ABMFact{Server: d.ABM.Server, Verb: step.Verb}}
	if _, err := c.Record(ctx, asked); err != nil {
		return err
	}
	if health == "" || health == Unlinked {
		return c.guided(ctx, step.Verb)
	}
	c.later.Queue(addDuty, d.Serial, step.Verb, d.ABM.Server, c.now)
	if step.Verb == provision.ReleaseDevice {
		c.later.Queue(dropProfileDuty, d.Serial)
	}
	c.later.Queue(`SELECT pg_notify($1, '')`, ABMChannel)
	if cause := (ABMServer{Health: health}).Blocked(); cause != "" && d.ABMBlock.Cause != cause {
		_, err := c.Record(ctx, blockedFact(d.ABM.Server, cause))
		return err
	}
	return nil
}

// guided: the device was listed by hand, or its server's link is gone, so a person must do it.
func (c *Change) guided(ctx context.Context, verb provision.ABMVerb) error {
	_, err := c.Record(ctx, provision.Fact{Kind: provision.ABMAnswered, Source: provision.FromWorkflow, ABM: &provision.ABMFact{
		Server: c.Device.ABM.Server, Verb: verb, Outcome: provision.ABMGuided,
	}})
	return err
}

const dropDuties = `
DELETE FROM abm_duties
WHERE serial = $1 AND verb = $2`

// DropABMDuty takes back what Apple was to be asked for, within a change: a release that was cancelled.
func (c *Change) DropABMDuty(verb provision.ABMVerb) {
	c.later.Queue(dropDuties, c.Device.Serial, verb)
}

const profileDefinition = `
SELECT uuid
FROM device_profile_definitions
WHERE profile = $1 AND content = $2 AND server = $3`

// ProfileDefinition returns under which UUID a content of a device profile is defined at a server; "" = nowhere yet.
func (db *DB) ProfileDefinition(ctx context.Context, profile string, content int, server string) (string, error) {
	var uuid string
	err := db.pool.QueryRow(ctx, profileDefinition, profile, content, server).Scan(&uuid)
	if errors.Is(err, pgx.ErrNoRows) {
		return "", nil
	}
	return uuid, translate(err, "reading where a device profile is defined")
}

// ProfileDefinition is where a content of a device profile is defined at Apple.
type ProfileDefinition struct {
	Profile string
	Content int
	Server  string
	UUID    string
	// Address is where devices that are set up by it enroll.
	Address string
}

const forgetDefinitions = `
DELETE FROM device_profile_definitions
WHERE address <> $1`

// ForgetDefinitionsElsewhere forgets definitions by which devices would enroll at another address than Muster's own, so
// that their profiles are defined anew and assigned again. It returns how many there were.
func (db *DB) ForgetDefinitionsElsewhere(ctx context.Context, address string) (int64, error) {
	tag, err := db.pool.Exec(ctx, forgetDefinitions, address)
	return tag.RowsAffected(), translate(err, "forgetting device profiles of another address")
}

const noteDefinition = `
INSERT INTO device_profile_definitions (profile, content, server, uuid, address, defined_at)
VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (profile, content, server) DO UPDATE
SET uuid = EXCLUDED.uuid,
    address = EXCLUDED.address,
    defined_at = EXCLUDED.defined_at`

// NoteProfileDefinition keeps under which UUID a content of a device profile is defined at a server, and where devices that
// are set up by it enroll.
func (db *DB) NoteProfileDefinition(ctx context.Context, d ProfileDefinition) error {
	_, err := db.pool.Exec(ctx, noteDefinition, d.Profile, d.Content, d.Server, d.UUID, d.Address, db.now())
	return translate(err, "noting where a device profile is defined")
}
