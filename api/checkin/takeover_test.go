package checkin_test

import (
	"crypto/rand"
	"crypto/sha256"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/api/checkin"
	"github.com/muster-mdm/muster/devstack/logtest"
	"github.com/muster-mdm/muster/provision"
)

func TestAuthenticateDoesNotEndTheEnrollmentOfAnotherDevice(t *testing.T) {
	var log logtest.Log
	e := start(t, func(c *checkin.Config) { c.Log = slog.New(slog.NewTextHandler(&log, nil)) })
	victim, other, fresh := e.phone(serial), e.enrolled("C07Q853LG9RX"), e.phone("C07Q853LG9RY")
	victim.udid = "00008110-000A1B2C3D4E001E"
	require.Equal(t, 200, victim.authenticate().status)
	require.Equal(t, 200, victim.tokenUpdate().status)
	for _, taker := range []*phone{other, fresh} {
		own := taker.udid
		taker.udid = victim.udid
		before := e.counted()
		a := taker.authenticate()
		require.Equal(t, "400 identity_refused", a.code())
		require.NotContains(t, string(a.body), victim.serial, "that is for the log")
		require.Contains(t, string(a.body), "end its enrollment first")
		require.Contains(t, log.String(), "device "+taker.serial+" asks for the identifier of device "+victim.serial)
		require.Equal(t, before, e.counted())
		taker.udid = own
	}
	require.Equal(t, 200, victim.tokenUpdate().status)
	victim.idle()
	require.Equal(t, 200, fresh.authenticate().status, "under an identifier of its own")
}

func TestBoardOfADeviceThatLeftEnrollsInAnotherCase(t *testing.T) {
	for name, leave := range map[string]func(*env, *phone){
		"checked out": func(e *env, p *phone) { require.Equal(e.t, 200, p.checkOut().status) },
		"released": func(e *env, p *phone) {
			e.register(p.serial, provision.Fact{Kind: provision.ReleaseRequest, Reason: "permanently_damaged"})
			_, err := e.db.Carry(e.t.Context(), p.serial, provision.Step{Do: provision.ConcludeReleased})
			require.NoError(e.t, err)
		},
		"enrolling anew": func(e *env, p *phone) { require.Equal(e.t, 200, p.authenticate().status) },
	} {
		t.Run(name, func(t *testing.T) {
			e := start(t, nil)
			old, heir := e.enrolled(serial), e.phone("C07Q853LG9RX")
			leave(e, old)
			heir.udid = old.udid
			require.Equal(t, 200, heir.authenticate().status)
			require.Equal(t, 200, heir.tokenUpdate().status)
			require.Equal(t, provision.Managed, e.device(heir.serial).Management())
		})
	}
}

// profile stands for a downloaded enrollment profile: it installs it and returns what SCEP says.
func (e *env) profile(serial string) (install func() error) {
	e.t.Helper()
	challenge := sha256.Sum256([]byte(rand.Text()))
	require.NoError(e.t, e.db.AddChallenge(e.t.Context(), serial, challenge, time.Hour))
	return func() error {
		_, err := e.db.Redeem(e.t.Context(), challenge, sha256.Sum256([]byte("key")), func(serial string) ([]byte, error) {
			key, err := newKey()
			if err != nil {
				return nil, err
			}
			return e.authority.Issue(serial, key.Public())
		})
		return err
	}
}

func TestProfilesFetchedBeforeTheDeviceEnrolledAreOver(t *testing.T) {
	e := start(t, nil)
	e.register(serial)
	e.register("C07Q853LG9RX")
	stale, foreign := e.profile(serial), e.profile("C07Q853LG9RX")
	p := e.phone(serial)
	between := e.profile(serial)
	require.Equal(t, 200, p.authenticate().status)
	require.Equal(t, provision.ChallengeRefused, provision.CodeOf(stale()))
	require.Equal(t, provision.ChallengeRefused, provision.CodeOf(between()))
	require.NoError(t, foreign(), "another device's")

	after := e.profile(serial)
	require.Equal(t, 200, p.authenticate().status, "it missed the answer")
	require.Equal(t, 200, p.tokenUpdate().status)
	require.NoError(t, after(), "a fresh one, to enroll anew")
}

func TestDeviceEnrollsAnewByAFreshProfile(t *testing.T) {
	e := start(t, nil)
	p := e.enrolled(serial)
	old := *p
	spare := e.profile(serial)
	p.cert = p.identity()
	require.Equal(t, 200, p.authenticate().status)
	require.Equal(t, 200, p.tokenUpdate().status)
	require.Equal(t, 2, e.device(serial).Activation.Epoch)
	require.Equal(t, "400 identity_refused", old.tokenUpdate().code())
	require.Equal(t, provision.ChallengeRefused, provision.CodeOf(spare()))
}

// A device that gave up after Authenticate and comes with another profile repeats nothing, though the epoch is the same.
func TestBrokenOffEnrollmentIsFollowedByOneFromAnotherProfile(t *testing.T) {
	e := start(t, nil)
	p := e.phone(serial)
	require.Equal(t, 200, p.authenticate().status)
	stale := e.profile(serial)
	p.cert = p.identity()
	require.Equal(t, 200, p.authenticate().status)
	require.Equal(t, 1, e.device(serial).Activation.Epoch)
	require.Equal(t, provision.ChallengeRefused, provision.CodeOf(stale()))
}
