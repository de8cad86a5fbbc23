package store_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/store"
)

func TestPurgeTakesWhatNothingRefersTo(t *testing.T) {
	f := newFleet(t)
	f.configuration("wifi", 1, "wifi one")
	f.configuration("vpn", 1, "vpn")
	f.group("g", "wifi")
	f.assign(serial, "g")
	p := f.boot(serial, "U1", false)
	f.apply(serial, 0, 1)
	p.obeyAll()
	f.group("g", "wifi", "vpn")
	d := f.record(serial, provision.Fact{Kind: provision.CatalogChanged})
	d = f.apply(serial, d.Plan.By, 1)
	p.obeyAll()
	f.configuration("wifi", 2, "wifi two")
	f.record(serial, provision.Fact{Kind: provision.CatalogChanged})
	d = f.apply(serial, d.Plan.By, 1)
	f.configuration("wifi", 3, "wifi three")
	f.record(serial, provision.Fact{Kind: provision.CatalogChanged})
	f.apply(serial, d.Plan.By, 1)
	require.Equal(t, 1, f.count(`device_commands WHERE status = 'Superseded'`))
	require.Equal(t, 3, f.count(`device_commands WHERE request_type = 'ProfileList'`), "two are answered, one is outstanding")
	f.exec(`INSERT INTO enrollment_challenges (sha256, serial, created_at, expires_at) SELECT sha256(n::text::bytea), $1, $2::timestamptz, $2::timestamptz + n * interval '50 days' FROM generate_series(0, 1) n`, serial, f.Now())
	f.exec(`INSERT INTO api_tokens (id, name, prefix, sha256, role) VALUES ('t', 't', 't', sha256('t'), 'admin')`)
	f.exec(`INSERT INTO idempotency_keys (token_id, key, fingerprint, created_at) VALUES ('t', 'k', 'x', $1)`, f.Now())

	gone, err := f.Purge(t.Context(), f.Now().Add(-time.Hour))
	require.NoError(t, err)
	require.Zero(t, gone, "all of it is young")
	f.clock.pass(40 * 24 * time.Hour)
	f.exec(`UPDATE nanomdm.commands SET created_at = '2026-03-01'`)
	events, installs := f.count("device_events"), f.count(`device_commands WHERE request_type <> 'ProfileList'`)
	gone, err = f.Purge(t.Context(), f.Now().Add(-30*24*time.Hour))
	require.NoError(t, err)
	require.Equal(t, store.Purged{Queries: 2, Commands: 1, Challenges: 1, Keys: 1}, gone)
	again, err := f.Purge(t.Context(), f.Now().Add(-30*24*time.Hour))
	require.NoError(t, err)
	require.Zero(t, again)
	require.Equal(t, events, f.count("device_events"))
	require.Equal(t, installs, f.count(`device_commands WHERE request_type <> 'ProfileList'`))

	require.Equal(t, []string{"ProfileList management_profile", "InstallProfile wifi"}, p.obeyAll()[:2], "what is outstanding isn't purged")
	require.Equal(t, 4, f.count(`(SELECT max(attempt) AS n FROM device_commands WHERE request_type = 'ProfileList') q, generate_series(1, q.n)`), "the numbers go on")
	require.Equal(t, []string{"device_information verified", "management_profile verified", "wifi verified", "vpn verified"}, f.items(serial))
}

func TestPurgeGoesOnUntilAllIsGone(t *testing.T) {
	f := newFleet(t)
	f.record(serial, provision.Fact{Kind: provision.Registered})
	f.exec(`INSERT INTO device_commands (command_uuid, serial, epoch, request_type, kind, name, attempt, status, created_at, answered_at)
		SELECT 'q' || n, $1, 1, 'ManagedApplicationList', 'builtin', 'ManagedApplicationList', n, 'Acknowledged', $2, $2 FROM generate_series(1, 2501) n`, serial, f.Now())
	gone, err := f.Purge(t.Context(), f.Now().Add(time.Hour))
	require.NoError(t, err)
	require.Equal(t, store.Purged{Queries: 2500}, gone)
	require.Equal(t, 1, f.count(`device_commands WHERE attempt = 2501`))
}
