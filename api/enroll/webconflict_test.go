package enroll_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/api/intake"
	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/store"
)

func bob() provision.Person {
	return provision.Person{Name: "bob", Domain: "ZYLKER", Email: "bob@zylker.com"}
}

func conflict(c provision.ReviewChoice) provision.SignInPolicy {
	return provision.SignInPolicy{AutoAssign: true, Conflict: c, Hold: time.Hour, HoldChoice: provision.TakeSignedIn}
}

// R53: the device is reserved for somebody else.
func TestSomebodyElseSignsIn(t *testing.T) {
	for choice, want := range map[provision.ReviewChoice]struct {
		user   string
		fact   string
		groups []string
	}{
		provision.KeepReserved:  {"ZYLKER bob bob@zylker.com", "sign_in_reviewed", []string{"kiosks"}},
		provision.TakeSignedIn:  {"ZYLKER andrew andrew@zylker.com", "assigned", []string{"zylker_drivers", "zylker_all"}},
		provision.HoldForReview: {"ZYLKER bob bob@zylker.com", "sign_in_held", []string{"kiosks"}},
	} {
		t.Run(string(choice), func(t *testing.T) {
			s := buildSchool(t, conflict(choice))
			s.listed(serial)
			s.reserve(serial, bob(), "kiosks")
			require.NoError(t, s.used(serial, s.andrew()).PowerOn(t.Context(), s), "the device enrolls whatever comes of it")
			d := s.device(serial)
			require.Equal(t, want.user, s.userOf(serial))
			require.Equal(t, want.groups, d.Assignment.Groups)
			require.Equal(t, []string{"registered", "abm_seen", "assigned", want.fact, "authenticated", "activated"}, s.kinds(serial))
			require.Equal(t, "ZYLKER andrew", s.text(`
SELECT concat_ws(' ', p.domain, p.name)
FROM device_events e
    JOIN people p ON p.id = e.payload -> 'assignment' ->> 'user_id'
WHERE e.source = 'enrollment_sign_in'`), "the timeline says who it was")
			require.Equal(t, choice == provision.HoldForReview, d.InReview())
			require.Equal(t, choice != provision.HoldForReview, d.MayAct())
		})
	}
}

func TestHoldEndsByReviewOrByItsTime(t *testing.T) {
	s := buildSchool(t, conflict(provision.HoldForReview))
	s.listed(serial)
	s.reserve(serial, bob(), "kiosks")
	require.NoError(t, s.used(serial, s.andrew()).PowerOn(t.Context(), s))
	d := s.device(serial)
	require.Equal(t, provision.TakeSignedIn, d.Review.Choice)
	require.WithinDuration(t, time.Now().Add(time.Hour), *d.Review.Until, time.Minute)
	wait := provision.Next(d, provision.Policy{}, time.Now())
	require.Equal(t, provision.WaitForFacts, wait.Do)
	require.Equal(t, provision.ConcludeReview, provision.Next(d, provision.Policy{}, *d.Review.Until).Do)

	taken := d.ReviewFact(provision.TakeSignedIn)
	s.register(serial, taken)
	require.Equal(t, "ZYLKER andrew andrew@zylker.com", s.userOf(serial))
	require.True(t, s.device(serial).MayAct())
}

// Whoever the device is reserved for signs in: the reservation stays as it is, or gains what the directory brings.
func TestReservedPersonSignsIn(t *testing.T) {
	for name, c := range map[string]struct {
		who    provision.Person
		groups []string
		want   []string
		facts  int
	}{
		"with all groups":   {provision.Person{Name: "ANDREW", Domain: "zylker", Email: "andrew@zylker.com"}, []string{"zylker_drivers", "zylker_all"}, []string{"zylker_drivers", "zylker_all"}, 1},
		"with other groups": {provision.Person{Name: "andrew", Domain: "ZYLKER", Email: "andrew@zylker.com"}, []string{"kiosks"}, []string{"kiosks", "zylker_drivers", "zylker_all"}, 2},
		// R32, R36: the sample row of a file has no domain.
		"from a file": {provision.Person{Name: "ANDREW", Email: "Andrew@zylker.com"}, []string{"zylker_drivers", "zylker_all"}, []string{"zylker_drivers", "zylker_all"}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			s := buildSchool(t, conflict(provision.HoldForReview))
			s.listed(serial)
			s.reserve(serial, c.who, c.groups...)
			before := s.device(serial).Assignment.UserID
			require.NoError(t, s.used(serial, s.andrew()).PowerOn(t.Context(), s))
			d := s.device(serial)
			require.Equal(t, before, d.Assignment.UserID)
			require.Equal(t, c.want, d.Assignment.Groups)
			require.Equal(t, c.facts, countOf(s.kinds(serial), "assigned"))
			require.False(t, d.InReview())
		})
	}
}

func countOf(all []string, one string) (n int) {
	for _, s := range all {
		if s == one {
			n++
		}
	}
	return n
}

// R48: users can't be assigned by signing in where nobody can sign in.
func TestAssigningNeedsADirectoryThatWorks(t *testing.T) {
	s := buildSchool(t, provision.SignInPolicy{})
	put := func() error {
		_, _, err := s.cases.PutABMServer(t.Context(), store.ABMServerInput{Name: "school", SignInPolicy: assigning()}, store.Condition{})
		return err
	}
	away := s.ldap()
	away.Settings.URLs, away.Settings.Timeout = []string{"ldaps://127.0.0.1:1"}, time.Second
	s.putDirectory(away)
	err := put()
	require.Equal(t, intake.DirectoryRequired, provision.CodeOf(err))
	require.ErrorContains(t, err, "no directory works. zylker: ")
	require.ErrorContains(t, err, "127.0.0.1:1")
	require.NoError(t, s.cases.DeleteDirectory(t.Context(), "zylker", store.Condition{}))
	require.ErrorContains(t, put(), "None is set up")
	s.putDirectory(s.ldap())
	require.NoError(t, put())

	err = s.cases.DeleteDirectory(t.Context(), "zylker", store.Condition{})
	require.Equal(t, provision.InUse, provision.CodeOf(err))
	s.putDirectory(away)
	require.NoError(t, put(), "what is on may be edited while the directory is down")
}

// Where devices change hands, who had the device before has no claim to it, and who signs in keeps it.
func TestDeviceThatChangesHands(t *testing.T) {
	s := buildSchool(t, conflict(provision.HoldForReview), func(c *choices) { c.intake.UnassignAtReenrollment = true })
	s.listed(serial)
	d := s.used(serial, s.andrew())
	require.NoError(t, d.PowerOn(t.Context(), s))
	s.reserve(serial, bob(), "kiosks")
	d.Reset()
	again := s.used(serial, s.andrew())
	require.NoError(t, again.PowerOn(t.Context(), s))
	require.Equal(t, "ZYLKER andrew andrew@zylker.com", s.userOf(serial))
	require.Equal(t, []string{"zylker_drivers", "zylker_all"}, s.device(serial).Assignment.Groups)
	require.Equal(t, 2, s.device(serial).Activation.Epoch)
	require.Zero(t, countOf(s.kinds(serial), "unassigned"))

	require.NoError(t, s.used(serial, s.andrew()).PowerOn(t.Context(), s))
	require.Equal(t, "ZYLKER andrew andrew@zylker.com", s.userOf(serial), "the same person, a third time")
	s.exec(`UPDATE device_profiles SET activation_mode = 'by_admin'`)
	require.NoError(t, s.virtual(serial).PowerOn(t.Context(), s.house))
	require.Empty(t, s.userOf(serial), "nobody signed in")
}
