package store_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/devstack/stacktest"
	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/store"
)

const day = 24 * time.Hour

// renewing is a store whose devices renew so long before their certificates end.
type renewing struct {
	*store.DB
	t   *testing.T
	url string
	sql *pgx.Conn
	now time.Time
}

func newRenewing(t *testing.T, before time.Duration) *renewing {
	t.Helper()
	r := &renewing{t: t, url: stacktest.Database(t, "muster", migrate), now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
	r.sql = connect(t, r.url)
	r.reopen(before)
	return r
}

func (r *renewing) reopen(before time.Duration) {
	r.t.Helper()
	var err error
	r.DB, err = store.Open(r.t.Context(), store.Config{URL: r.url}, store.WithEncoder(encode), store.WithRenewal(before),
		store.WithClock(func() time.Time { return r.now }))
	require.NoError(r.t, err)
	r.t.Cleanup(r.Close)
}

// certificate keeps one of a device, issued now.
func (r *renewing) certificate(serial, name string, lasts time.Duration) (hash string) {
	r.t.Helper()
	hash = store.IdentityHash([]byte(serial + name))
	_, err := r.sql.Exec(r.t.Context(), `INSERT INTO identities (sha256, serial, serial_number, certificate, issued_at, not_after) VALUES ($1, $2, 1, 'x', $3, $4)`,
		hash, serial, r.now, r.now.Add(lasts))
	require.NoError(r.t, err)
	return hash
}

// enrolled is a device that enrolled by a certificate.
func (r *renewing) enrolled(serial string, lasts time.Duration) (hash string) {
	r.t.Helper()
	register(r.t, r.DB, serial)
	hash = r.certificate(serial, "first", lasts)
	for _, statement := range []string{
		`INSERT INTO nanomdm.devices (id, authenticate, authenticate_at) VALUES ($1, 'x', now())`,
		`INSERT INTO nanomdm.enrollments (id, device_id, type, topic, push_magic, token_hex, last_seen_at) VALUES ($1, $1, 'Device', 't', 'm', 'x', now())`,
	} {
		_, err := r.sql.Exec(r.t.Context(), statement, "U-"+serial)
		require.NoError(r.t, err)
	}
	_, err := r.Update(r.t.Context(), serial, func(ctx context.Context, c *store.Change) error {
		for _, f := range []provision.Fact{{Kind: provision.Authenticated, Epoch: 1}, {Kind: provision.Activated, Epoch: 1}} {
			if _, err := c.Record(ctx, f); err != nil {
				return err
			}
		}
		return errors.Join(c.SetUDID(ctx, "U-"+serial), c.UseIdentity(ctx, hash))
	})
	require.NoError(r.t, err)
	return hash
}

func (r *renewing) renewAt(serial string) *time.Time {
	r.t.Helper()
	var at *time.Time
	require.NoError(r.t, r.sql.QueryRow(r.t.Context(), `SELECT renew_at FROM devices WHERE serial = $1`, serial).Scan(&at))
	return at
}

func (r *renewing) due() []string {
	r.t.Helper()
	due, _, err := r.DueRenewals(r.t.Context(), 100)
	require.NoError(r.t, err)
	return due
}

// count counts rows.
func (r *renewing) count(sql string) int {
	r.t.Helper()
	var n int
	require.NoError(r.t, r.sql.QueryRow(r.t.Context(), `SELECT count(*) FROM `+sql).Scan(&n))
	return n
}

func profile(int) (store.Renewal, error) {
	challenge := sha256.Sum256([]byte(time.Now().String()))
	return store.Renewal{Profile: []byte("profile"), Challenge: &challenge}, nil
}

func TestRenewalIsDueInTimeAndSpread(t *testing.T) {
	for name, tt := range map[string]struct{ before, lasts, from, until time.Duration }{
		"a year before the end":             {365 * day, 730 * day, 365 * day, 401*day + 12*time.Hour},
		"not before half of its life":       {365 * day, 90 * day, 45 * day, 49*day + 12*time.Hour},
		"a month before, as somebody chose": {30 * day, 730 * day, 700 * day, 703 * day},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRenewing(t, tt.before)
			times := map[time.Time]bool{}
			for i := range 20 {
				serial := fmt.Sprintf("C07Q853LG%03d", i)
				r.enrolled(serial, tt.lasts)
				at := r.renewAt(serial)
				require.NotNil(t, at)
				require.False(t, at.Before(r.now.Add(tt.from)), "%s is before %s", at, r.now.Add(tt.from))
				require.False(t, at.After(r.now.Add(tt.until)), "%s is after %s", at, r.now.Add(tt.until))
				times[*at] = true
			}
			require.Greater(t, len(times), 10, "not all on the same day")
			require.Empty(t, r.due())
			changed, err := r.PlanRenewals(t.Context())
			require.NoError(t, err)
			require.Zero(t, changed, "planned as they were")
			r.now = r.now.Add(tt.until)
			require.Len(t, r.due(), 20)
		})
	}
}

func TestRenewalsFollowTheSetting(t *testing.T) {
	r := newRenewing(t, 0)
	r.enrolled(serial, 730*day)
	r.enrolled("C07Q853LG9RX", 730*day)
	change(t, r.DB, "C07Q853LG9RX", provision.Fact{Kind: provision.CheckedOut, Epoch: 1})
	require.Nil(t, r.renewAt(serial), "0 = never")
	r.reopen(30 * day)
	changed, err := r.PlanRenewals(t.Context())
	require.NoError(t, err)
	require.Equal(t, int64(1), changed)
	require.WithinDuration(t, r.now.Add(701*day), *r.renewAt(serial), 2*day)
	require.Nil(t, r.renewAt("C07Q853LG9RX"), "it isn't managed")
	r.reopen(0)
	changed, err = r.PlanRenewals(t.Context())
	require.NoError(t, err)
	require.Equal(t, int64(1), changed)
	require.Nil(t, r.renewAt(serial))
}

func TestRenewalComesUpAgainUntilItIsDone(t *testing.T) {
	r := newRenewing(t, 365*day)
	r.enrolled(serial, 730*day)
	r.now = r.now.Add(420 * day)
	require.Equal(t, []string{serial}, r.due())
	require.Empty(t, r.due(), "claimed")
	changed, err := r.PlanRenewals(t.Context())
	require.NoError(t, err)
	require.Zero(t, changed, "what is under way isn't planned anew")
	for _, pause := range []time.Duration{time.Hour, 4 * time.Hour, day, day} {
		r.now = r.now.Add(pause - time.Second)
		require.Empty(t, r.due(), "%s", pause)
		r.now = r.now.Add(time.Second)
		require.Equal(t, []string{serial}, r.due(), "%s", pause)
	}
	renewed := r.certificate(serial, "second", 730*day)
	_, err = r.Update(t.Context(), serial, func(ctx context.Context, c *store.Change) error {
		news, err := c.RenewIdentity(ctx, renewed)
		require.True(t, news)
		return err
	})
	require.NoError(t, err)
	require.False(t, r.renewAt(serial).Before(r.now.Add(365*day)))
	r.now = r.now.Add(2 * day)
	require.Empty(t, r.due())
}

func TestWhoIsNotManagedHasNothingToRenew(t *testing.T) {
	r := newRenewing(t, 365*day)
	r.enrolled(serial, 730*day)
	r.now = r.now.Add(420 * day)
	change(t, r.DB, serial, provision.Fact{Kind: provision.Authenticated, Epoch: 2})
	due, claimed, err := r.DueRenewals(t.Context(), 10)
	require.NoError(t, err)
	require.Empty(t, due)
	require.Equal(t, 1, claimed)
	require.Nil(t, r.renewAt(serial))
	sent, err := r.Renew(t.Context(), serial, profile)
	require.NoError(t, err)
	require.False(t, sent)

	change(t, r.DB, serial, provision.Fact{Kind: provision.Activated, Epoch: 2})
	_, err = r.PlanRenewals(t.Context())
	require.NoError(t, err)
	require.NotNil(t, r.renewAt(serial))
	_, err = r.Update(t.Context(), serial, func(ctx context.Context, c *store.Change) error { return c.RevokeIdentities(ctx) })
	require.NoError(t, err)
	require.Nil(t, r.renewAt(serial))
}

func TestRenewalIsSentOnceByMany(t *testing.T) {
	r := newRenewing(t, 365*day)
	hash := r.enrolled(serial, 730*day)
	var together sync.WaitGroup
	sends := make(chan bool, 8)
	for range cap(sends) {
		together.Go(func() {
			sent, err := r.Renew(context.Background(), serial, profile)
			if err != nil {
				t.Error(err)
			}
			sends <- sent
		})
	}
	together.Wait()
	close(sends)
	sent := 0
	for s := range sends {
		if s {
			sent++
		}
	}
	require.Equal(t, 1, sent)
	require.Equal(t, 1, r.count(`nanomdm.commands`))
	require.Equal(t, 1, r.count(`device_commands WHERE name = 'identity_renewal' AND request_type = 'InstallProfile' AND epoch = 1`))
	require.Equal(t, 1, r.count(`enrollment_challenges h JOIN identities i ON i.serial = h.serial WHERE h.renews = 1 AND h.expires_at = i.not_after`), "good as long as the device can fetch it")
	require.Equal(t, 1, r.count(`devices WHERE push_at IS NOT NULL`))
	due, _, err := r.DuePushes(t.Context(), 10)
	require.NoError(t, err)
	require.Len(t, due, 1, "the device is pushed for it")
	id, err := r.Identity(t.Context(), hash)
	require.NoError(t, err)
	require.True(t, id.Current)

	broken := errors.New("the profile can't be made")
	other := "C07Q853LG9RX"
	r.enrolled(other, 730*day)
	_, err = r.Renew(t.Context(), other, func(int) (store.Renewal, error) { return store.Renewal{}, broken })
	require.ErrorIs(t, err, broken)
	require.Equal(t, 1, r.count(`nanomdm.commands`), "nothing is half done")
}

// A device that is told anew what belongs on it still renews.
func TestPlanDoesNotSupersedeARenewal(t *testing.T) {
	f := newFleet(t)
	f.configuration("wifi", 1, "wifi one")
	f.group("g", "wifi")
	f.assign(serial, "g")
	p := f.boot(serial, "U1", false)
	d := f.apply(serial, 0, 1)
	sent, err := f.Renew(t.Context(), serial, profile)
	require.NoError(t, err)
	require.True(t, sent)
	f.record(serial, provision.Fact{Kind: provision.CatalogChanged})
	f.apply(serial, d.Plan.By, 1)
	require.Equal(t, 1, f.count(`device_commands WHERE name = 'identity_renewal' AND status = ''`))
	p.obeyAll()
	require.Equal(t, 1, f.count(`device_commands WHERE name = 'identity_renewal' AND status = 'Acknowledged'`))
	require.Zero(t, f.count(`nanomdm.commands`))
}

func TestChallengeOfARenewalIsForItsEnrollment(t *testing.T) {
	r, ca := newRenewing(t, 365*day), &certify{t: t}
	r.enrolled(serial, 730*day)
	challenge := sha256.Sum256([]byte("renew"))
	_, err := r.Renew(t.Context(), serial, func(epoch int) (store.Renewal, error) {
		require.Equal(t, 1, epoch)
		return store.Renewal{Profile: []byte("x"), Challenge: &challenge}, nil
	})
	require.NoError(t, err)
	der, err := r.Redeem(t.Context(), challenge, challengeOf("key"), ca.issue)
	require.NoError(t, err)
	id, err := r.Identity(t.Context(), store.IdentityHash(der))
	require.NoError(t, err)
	require.Equal(t, 1, id.Renews)
	require.True(t, id.RenewsNow())
	require.False(t, id.Current)

	change(t, r.DB, serial, provision.Fact{Kind: provision.Authenticated, Epoch: 2}, provision.Fact{Kind: provision.Activated, Epoch: 2})
	_, err = r.Redeem(t.Context(), challenge, challengeOf("key"), ca.issue)
	require.Equal(t, provision.ChallengeRefused, provision.CodeOf(err))
	require.ErrorContains(t, err, "is over")
	id, err = r.Identity(t.Context(), store.IdentityHash(der))
	require.NoError(t, err)
	require.False(t, id.RenewsNow())
}

func TestCheckOutByHandEndsIdentities(t *testing.T) {
	r := newRenewing(t, 365*day)
	hash := r.enrolled(serial, 730*day)
	_, err := r.RecordByHand(t.Context(), serial, "run/1", provision.Fact{Kind: provision.CheckedOut})
	require.NoError(t, err)
	id, err := r.Identity(t.Context(), hash)
	require.NoError(t, err)
	require.True(t, id.Revoked)
}

func TestEntrantIsReadWithItsActivationMode(t *testing.T) {
	f := newFleet(t)
	_, err := f.Entrant(t.Context(), serial)
	require.Equal(t, provision.DeviceNotFound, provision.CodeOf(err))
	f.record(serial, provision.Fact{Kind: provision.Registered})
	mode := func() string {
		e, err := f.Entrant(t.Context(), serial)
		require.NoError(t, err)
		require.Equal(t, serial, e.Device.Serial)
		return e.ActivationMode
	}
	require.Empty(t, mode())
	f.exec(`INSERT INTO device_profiles (name, activation_mode, fields, created_at, updated_at) VALUES ('a', 'by_admin', '{}', now(), now()), ('u', 'by_user', '{}', now(), now())`)
	f.exec(`INSERT INTO abm_servers (name, sync_every, full_every, certificate, private_key, health_since, created_at, updated_at, default_profile) VALUES ('s', '1h', '1d', '', '', now(), now(), now(), 'u')`)
	f.record(serial, provision.Fact{Kind: provision.ABMSeen, ABM: &provision.ABMFact{Server: "s", State: provision.ABMPresent}})
	require.Equal(t, "by_user", mode())
	f.exec(`INSERT INTO groups (name, device_profile) VALUES ('none', NULL), ('first', 'a'), ('second', 'u')`)
	f.assign(serial, "none", "first", "second")
	require.Equal(t, "by_admin", mode())
	f.exec(`UPDATE devices SET device_profile = 'u'`)
	require.Equal(t, "by_user", mode())
}
