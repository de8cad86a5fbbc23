package activities_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/provision"
	sim "github.com/muster-mdm/muster/sim/abm"
	"github.com/muster-mdm/muster/store"
)

// profile gives a server a default device profile.
func (w *world) profile(server, name, fields string) {
	w.t.Helper()
	_, _, err := w.PutDeviceProfile(w.t.Context(), store.DeviceProfile{Name: name, ActivationMode: "by_admin", Fields: []byte(fields)}, store.Edit{})
	require.NoError(w.t, err)
	in := store.ABMServerInput{Name: server, DefaultProfile: name, SyncEvery: 5 * time.Minute, FullEvery: 24 * time.Hour}
	_, _, err = w.PutABMServer(w.t.Context(), in, store.Condition{}, nil)
	require.NoError(w.t, err)
	w.sweep(server)
}

// sweep has devices get the profile that they should have, as the worker does after a notice.
func (w *world) sweep(server string) {
	w.t.Helper()
	_, err := w.SweepProfiles(w.t.Context(), server)
	require.NoError(w.t, err)
}

func (w *world) health(server string) (health, detail string) {
	w.t.Helper()
	s, err := w.ABMServer(w.t.Context(), server)
	require.NoError(w.t, err)
	return s.Health, s.HealthDetail
}

func (w *world) tell() int {
	w.t.Helper()
	n, err := w.TellABMHealth(w.t.Context())
	require.NoError(w.t, err)
	return n
}

// A server that somebody must mend says so on its devices, by the sync or by what is asked for devices, whichever comes
// first; when it is mended everything goes on without any action.
func TestBlockedServersSaySoAndGoOn(t *testing.T) {
	for name, c := range map[string]struct {
		quirks         sim.Quirks
		spoil, mend    func(*world)
		cause          provision.BlockCause
		detail         string
		withoutAsking  bool
		mendedByUpload bool
	}{
		"terms": {
			spoil: func(w *world) { w.org.SignTerms(false) }, mend: func(w *world) { w.org.SignTerms(true) },
			cause: provision.BlockedTerms, detail: "T_C_NOT_SIGNED",
		},
		"terms in quotes": {
			quirks: sim.Quirks{QuotedErrors: true, TokenErrorsForbidden: true},
			spoil:  func(w *world) { w.org.SignTerms(false) }, mend: func(w *world) { w.org.SignTerms(true) },
			cause: provision.BlockedTerms, detail: "T_C_NOT_SIGNED",
		},
		"access": {
			spoil: func(w *world) { require.NoError(w.t, w.org.SetAccess(w.servers[school], sim.AccessDenied)) },
			mend:  func(w *world) { require.NoError(w.t, w.org.SetAccess(w.servers[school], sim.AccessGranted)) },
			cause: provision.BlockedAccess, detail: "ACCESS_DENIED",
		},
		"who made the token left": {
			spoil: func(w *world) { require.NoError(w.t, w.org.SetAccess(w.servers[school], sim.AccessForbidden)) },
			mend:  func(w *world) { require.NoError(w.t, w.org.SetAccess(w.servers[school], sim.AccessGranted)) },
			cause: provision.BlockedAccess, detail: "FORBIDDEN",
		},
		"revoked": {
			spoil: func(w *world) { require.NoError(w.t, w.org.RevokeToken(w.servers[school])) },
			mend:  func(w *world) { w.link(school) }, mendedByUpload: true,
			cause: provision.BlockedTokenRejected, detail: "token_rejected",
		},
		"expired by Apple's word": {
			spoil: func(w *world) { require.NoError(w.t, w.org.ExpireToken(w.servers[school])) },
			mend:  func(w *world) { w.link(school) }, mendedByUpload: true,
			cause: provision.BlockedTokenExpired, detail: "token_expired",
		},
		"expired by its date": {
			spoil: func(w *world) { w.pass(366 * 24 * time.Hour) },
			mend:  func(w *world) { w.link(school) }, mendedByUpload: true,
			cause: provision.BlockedTokenExpired, detail: "The server token ended on", withoutAsking: true,
		},
	} {
		for _, first := range []string{"sync", "duties"} {
			t.Run(name+", "+first, func(t *testing.T) {
				w := newWorld(t, sim.Config{Quirks: c.quirks})
				w.server(school)
				all := w.addNew(school, 3)
				w.sync(school)
				c.spoil(w)
				w.profile(school, "kiosk", `{}`)
				w.sweep(school)
				asked := w.org.Counts().Requests
				if first == "sync" {
					last, _ := w.sync(school)
					require.Equal(t, c.cause, last.Blocked)
				} else {
					_, last := w.duties(school)
					require.Equal(t, c.cause, last.Blocked)
				}
				if c.withoutAsking {
					require.Equal(t, asked, w.org.Counts().Requests)
				}
				health, detail := w.health(school)
				require.Equal(t, string(c.cause), health)
				require.Contains(t, detail, c.detail)
				require.Equal(t, 3, w.tell())
				require.Equal(t, string(c.cause), w.device(all[0]).BlockedBy())
				_, last := w.duties(school)
				require.Equal(t, first == "sync", last.Blocked != "", "those due are asked for once, and put off")

				c.mend(w)
				if !c.mendedByUpload {
					w.sync(school) // the next one by itself
				}
				health, _ = w.health(school)
				require.Equal(t, store.Healthy, health)
				require.Equal(t, 3, w.tell())
				done, _ := w.duties(school)
				require.Equal(t, 3, done)
				w.sync(school)
				w.agrees(school)
				require.Empty(t, w.device(all[0]).BlockedBy())
				got, ok := w.org.ProfileFor(all[0])
				require.True(t, ok)
				require.Equal(t, "https://muster.example/enroll", got.URL)
			})
		}
	}
}

// Apple does what it doesn't refuse, and says what it refuses in its own words.
func TestProfileThatAppleRefuses(t *testing.T) {
	w := newWorld(t, sim.Config{})
	w.server(school)
	all := w.addNew(school, 2)
	w.sync(school)
	w.profile(school, "kiosk", `{"region": "DE"}`) // Apple wants a language with it
	done, last := w.duties(school)
	require.Zero(t, done)
	require.WithinDuration(t, w.Now().Add(time.Minute), last.Next, 5*time.Second)
	d := w.device(all[0])
	require.Equal(t, "LOCALE_INVALID", d.ABMProfile.Result)
	require.Equal(t, provision.ABMRetrying, d.ABMProfile.Outcome)
	health, _ := w.health(school)
	require.Equal(t, store.Healthy, health, "the server is well")
	w.profile(school, "kiosk", `{"region": "DE", "language": "de"}`)
	done, _ = w.duties(school)
	require.Equal(t, 2, done, "at once: another content is another question")

	_, _, err := w.PutDeviceProfile(t.Context(), store.DeviceProfile{Name: "by-user", ActivationMode: "by_user", Fields: []byte(`{}`)}, store.Edit{})
	require.NoError(t, err)
	require.NoError(t, w.SetDeviceProfile(t.Context(), all[0], "by-user", provision.Fact{Actor: "tok", Source: provision.FromAPI}))
	w.sweep(school)
	w.duties(school)
	require.Contains(t, w.device(all[0]).ABMProfile.Result, "no page for that", "nobody would have to sign in")
}
