package checkin_test

import (
	"context"
	"crypto/x509"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/apple/mdm"
	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/sim"
)

const serial = "C07Q853LG9RM"

var policy = provision.Policy{
	HoldPolicy: provision.HoldRelease, SetupHold: time.Hour, RetryAfter: []time.Duration{time.Hour}, NudgeAfter: []time.Duration{time.Hour},
}

// push connects the env with a virtual push service.
func (e *env) push() (*sim.APNs, *mdm.Pusher) {
	e.t.Helper()
	apns, err := sim.StartAPNs(e.t.Context(), sim.APNsConfig{Seed: 1})
	require.NoError(e.t, err)
	e.t.Cleanup(func() { require.NoError(e.t, apns.Close()) })
	certPEM, keyPEM, err := apns.IssuePushCertificate(topic)
	require.NoError(e.t, err)
	_, err = e.storage.StorePushCertificate(e.t.Context(), certPEM, keyPEM)
	require.NoError(e.t, err)
	roots := x509.NewCertPool()
	require.True(e.t, roots.AppendCertsFromPEM(apns.CACertPEM()))
	pusher, err := mdm.NewPusher(e.storage, mdm.PushConfig{BaseURL: apns.URL(), Roots: roots}, quiet)
	require.NoError(e.t, err)
	return apns, pusher
}

// work does for a device what a workflow and the worker do: it carries out the next step, and pushes.
func (e *env) work(serial string, pusher *mdm.Pusher, udid string) {
	e.t.Helper()
	step := provision.Next(e.device(serial), policy, time.Now())
	switch step.Do {
	case provision.WaitForFacts:
		return
	case provision.Apply:
		e.apply(serial)
	default:
		_, err := e.db.Carry(e.t.Context(), serial, step)
		require.NoError(e.t, err)
	}
	require.NoError(e.t, pusher.Push(e.t.Context(), udid))
}

func TestVirtualDeviceEnrollsByTheProfileAndIsProvisioned(t *testing.T) {
	e := startWatched(t)
	apns, pusher := e.push()
	e.bring(serial)
	d := e.virtual(serial, apns)
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = d.Run(ctx) }) // ends with ctx only, without an error
	t.Cleanup(running.Wait)
	t.Cleanup(stop)

	profile, err := e.enroller.EnrollmentProfile(t.Context(), " c07q853lg9rm ")
	require.NoError(t, err)
	require.NoError(t, d.Enroll(ctx, profile))
	require.True(t, e.device(serial).InSetup())
	e.eventually("enrolled device", func() bool {
		e.work(serial, pusher, d.UDID())
		return e.device(serial).Status() == provision.StatusEnrolled
	})
	s := d.Snapshot()
	require.True(t, s.HasProfile("com.example.wifi"))
	require.Equal(t, "Managed", s.App("com.example.pages"))
	e.eventually("device out of Setup Assistant", func() bool { return !d.Snapshot().AwaitingConfiguration })
	for _, entry := range d.Log() {
		require.Equal(t, 1, entry.TimesDelivered(), "%s came more than once", entry.RequestType)
	}

	require.NoError(t, d.CheckOut(ctx))
	require.Equal(t, provision.StatusUnmanaged, e.device(serial).Status())
	require.ErrorIs(t, pusher.Push(ctx, d.UDID()), mdm.ErrTokenDead, "its push token is gone, too")
	require.Equal(t, []string{"registered", "assigned", "authenticated", "activated"}, e.kinds(serial)[:4])
}

func TestVirtualDeviceEnrollsAgainAfterAReset(t *testing.T) {
	e := startWatched(t)
	apns, pusher := e.push()
	e.bring(serial)
	d := e.virtual(serial, apns)
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = d.Run(ctx) }) // ends with ctx only, without an error
	t.Cleanup(running.Wait)
	t.Cleanup(stop)
	for epoch := 1; epoch <= 2; epoch++ {
		profile, err := e.enroller.EnrollmentProfile(t.Context(), serial)
		require.NoError(t, err)
		require.NoError(t, d.Enroll(ctx, profile))
		require.Equal(t, epoch, e.device(serial).Activation.Epoch)
		e.eventually("enrolled device", func() bool {
			e.work(serial, pusher, d.UDID())
			return e.device(serial).Status() == provision.StatusEnrolled
		})
		d.Reset()
	}
}

func TestProfileEnrollsOnce(t *testing.T) {
	e := start(t, nil)
	e.push()
	e.register(serial)
	profile, err := e.enroller.EnrollmentProfile(t.Context(), serial)
	require.NoError(t, err)
	require.NoError(t, e.virtual(serial, nil).Enroll(t.Context(), profile))
	before := e.counted()

	err = e.virtual("C07Q853LG9RX", nil).Enroll(t.Context(), profile)
	require.ErrorContains(t, err, "badRequest", "a copy of the profile, on another device")
	require.Equal(t, before, e.counted())

	profile, err = e.enroller.EnrollmentProfile(t.Context(), serial)
	require.NoError(t, err)
	err = e.virtual("C07Q853LG9RX", nil).Enroll(t.Context(), profile)
	var refused *sim.HTTPError
	require.ErrorAs(t, err, &refused, "a fresh profile, installed on a device that it is not for")
	require.Equal(t, 400, refused.Status)
	require.Contains(t, refused.Body, "identity_refused")
	require.Equal(t, before, e.counted())
}

func TestEnrollmentProfileIsForKnownDevicesOnly(t *testing.T) {
	e := start(t, nil)
	profile := func(serial string) provision.Code {
		_, err := e.enroller.EnrollmentProfile(t.Context(), serial)
		require.Error(t, err)
		return provision.CodeOf(err)
	}
	require.Equal(t, provision.SerialInvalid, profile("x"))
	require.Equal(t, provision.DeviceNotFound, profile(serial))
	e.register(serial)
	require.Equal(t, provision.PushCertificateMissing, profile(serial))
	e.push()
	e.register(serial, provision.Fact{Kind: provision.ReleaseRequest, Reason: "end_of_life"})
	require.Equal(t, provision.DeviceReleased, profile(serial))
}

func TestDeviceTriesAgainUntilTheFactIsKept(t *testing.T) {
	down := errors.New("the database went away")
	for name, say := range map[string]struct {
		before func(*env) *phone
		say    func(*phone) answer
		fact   string
	}{
		"Authenticate": {func(e *env) *phone { return e.phone(serial) }, (*phone).authenticate, "authenticated"},
		"TokenUpdate": {func(e *env) *phone {
			p := e.phone(serial)
			require.Equal(e.t, 200, p.authenticate().status)
			return p
		}, (*phone).tokenUpdate, "activated"},
		"CheckOut": {func(e *env) *phone { return e.enrolled(serial) }, (*phone).checkOut, "checked_out"},
	} {
		t.Run(name, func(t *testing.T) {
			e := start(t, nil)
			p := say.before(e)
			e.facts.fail(down)
			require.Equal(t, "500 internal", say.say(p).code())
			require.NotContains(t, e.kinds(serial), say.fact)
			require.Equal(t, 200, say.say(p).status)
			require.Equal(t, 200, say.say(p).status, "the answer was lost, so it comes again")
			require.Equal(t, say.fact, last(e.kinds(serial)))
			require.Len(t, only(e.kinds(serial), say.fact), 1)
		})
	}
}

func last(s []string) string { return s[len(s)-1] }

func only(all []string, one string) []string {
	var found []string
	for _, s := range all {
		if s == one {
			found = append(found, s)
		}
	}
	return found
}

func TestAnswerIsTakenAgainUntilItIsKept(t *testing.T) {
	e := start(t, nil)
	p := e.provisioned(serial)
	c := p.idle()
	e.facts.fail(errors.New("the database went away"))
	a, _ := p.answer(p.reported(c.CommandUUID, "Acknowledged"))
	require.Equal(t, "500 internal", a.code())
	require.Empty(t, e.status(c.CommandUUID))
	next := p.report(c.CommandUUID, "Acknowledged")
	require.Equal(t, "Acknowledged", e.status(c.CommandUUID))
	require.NotEqual(t, c.CommandUUID, next.CommandUUID)
	require.NotEmpty(t, next.CommandUUID)
}

func TestRepeatedTokenUpdatesAreNoFacts(t *testing.T) {
	e := start(t, nil)
	p := e.enrolled(serial)
	require.True(t, e.device(serial).Activation.Awaiting)
	before, events := e.device(serial), e.kinds(serial)
	for range 3 {
		require.Equal(t, 200, p.tokenUpdate().status)
	}
	require.Equal(t, 200, p.checkin(p.say("TokenUpdate", dict{"Token": []byte{9, 9}, "PushMagic": "new magic"})).status)
	require.Equal(t, before, e.device(serial))
	require.Equal(t, events, e.kinds(serial))
	pushed, err := e.storage.RetrievePushInfo(t.Context(), []string{p.udid})
	require.NoError(t, err)
	require.Equal(t, "new magic", pushed[p.udid].PushMagic, "but the new token counts")
}

func TestAuthenticateOpensAnEpochOnce(t *testing.T) {
	e := start(t, nil)
	p := e.phone(serial)
	for range 3 {
		require.Equal(t, 200, p.authenticate().status)
	}
	require.Equal(t, 1, e.device(serial).Activation.Epoch)
	require.Len(t, only(e.kinds(serial), "authenticated"), 1)
	require.Equal(t, 200, p.tokenUpdate().status)
	require.Equal(t, 200, p.authenticate().status)
	require.Equal(t, 2, e.device(serial).Activation.Epoch)
	var product, os string
	require.NoError(t, e.sql.QueryRow(t.Context(), `SELECT product_name, os_version FROM devices WHERE serial = $1`, serial).Scan(&product, &os))
	require.Equal(t, "iPhone14,5 18.1", product+" "+os)
}

func TestNewIdentityEndsTheOldOne(t *testing.T) {
	e := start(t, nil)
	p := e.enrolled(serial)
	old := *p
	p.cert = p.identity()
	require.Equal(t, 200, old.tokenUpdate().status, "until the device comes with the new one")
	require.Equal(t, 200, p.authenticate().status)
	before := e.counted()
	require.Equal(t, "400 identity_refused", old.checkOut().code(), "a late word of an enrollment that is over")
	require.Equal(t, before, e.counted())
	require.Equal(t, 200, p.tokenUpdate().status)
}
