package intake_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/api/intake"
	"github.com/muster-mdm/muster/devstack/stacktest"
	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/store"
)

const phone = "C07Q853LG9RM"

func checkins(t *testing.T) (*intake.Intake, *store.DB) {
	t.Helper()
	url := stacktest.Database(t, "muster", func(ctx context.Context, url string) error {
		_, err := store.Migrate(ctx, url)
		return err
	})
	db, err := store.Open(t.Context(), store.Config{URL: url, MaxConns: 4})
	require.NoError(t, err)
	t.Cleanup(db.Close)
	in, err := intake.New(db, intake.Settings{})
	require.NoError(t, err)
	tell(t, db, provision.Fact{Kind: provision.Registered})
	return in, db
}

// tell records facts of the phone, which becomes known by the first.
func tell(t *testing.T, db *store.DB, facts ...provision.Fact) {
	t.Helper()
	_, err := db.UpdateOrCreate(t.Context(), phone, func(ctx context.Context, c *store.Change) error {
		for _, f := range facts {
			if _, err := c.Record(ctx, f); err != nil {
				return err
			}
		}
		return nil
	})
	require.NoError(t, err)
}

func enrollment(udid string) intake.Enrollment {
	return intake.Enrollment{Serial: phone, UDID: udid, Information: store.Information{ProductName: "iPhone14,5"}}
}

func TestCheckinsWalkThroughAnEpoch(t *testing.T) {
	in, _ := checkins(t)
	d, err := in.Activated(t.Context(), phone, true)
	require.NoError(t, err)
	require.Equal(t, provision.NeverEnrolled, d.Activation.State, "a TokenUpdate opens nothing")
	d, err = in.CheckedOut(t.Context(), phone)
	require.NoError(t, err)
	require.Equal(t, provision.NeverEnrolled, d.Activation.State, "and what was never open doesn't end")

	opened, err := in.Authenticated(t.Context(), enrollment("UDID-1"))
	require.NoError(t, err)
	require.Equal(t, provision.Opened, opened.Activation.State)
	again, err := in.Authenticated(t.Context(), enrollment("UDID-1"))
	require.NoError(t, err)
	require.Equal(t, opened, again)

	active, err := in.Activated(t.Context(), phone, true)
	require.NoError(t, err)
	require.True(t, active.InSetup())
	again, err = in.Activated(t.Context(), phone, false)
	require.NoError(t, err)
	require.Equal(t, active, again, "the first one of an epoch counts")

	ended, err := in.CheckedOut(t.Context(), phone)
	require.NoError(t, err)
	require.Equal(t, provision.StatusUnmanaged, ended.Status())
	again, err = in.CheckedOut(t.Context(), phone)
	require.NoError(t, err)
	require.Equal(t, ended, again)
	again, err = in.Activated(t.Context(), phone, false)
	require.NoError(t, err)
	require.Equal(t, ended, again, "nothing late revives it")

	second, err := in.Authenticated(t.Context(), enrollment("UDID-1"))
	require.NoError(t, err)
	require.Equal(t, 2, second.Activation.Epoch)
}

func TestReleasedDevicesDoNotEnroll(t *testing.T) {
	in, db := checkins(t)
	tell(t, db, provision.Fact{Kind: provision.ReleaseRequest}, provision.Fact{Kind: provision.Released})
	before, err := db.Device(t.Context(), phone)
	require.NoError(t, err)
	_, err = in.Authenticated(t.Context(), enrollment("UDID-1"))
	require.Equal(t, provision.DeviceReleased, provision.CodeOf(err))
	require.EqualError(t, err, "Device C07Q853LG9RM was released for good, so it can't enroll any more.", "to register it again is refused, too")
	_, err = in.Activated(t.Context(), phone, false)
	require.Equal(t, provision.DeviceReleased, provision.CodeOf(err))
	after, err := db.Device(t.Context(), phone)
	require.NoError(t, err)
	require.Equal(t, before, after)
}

func TestCheckinsOfUnknownDevicesAreRefused(t *testing.T) {
	in, _ := checkins(t)
	e := enrollment("UDID-1")
	e.Serial = "C07Q853LG9RX"
	_, err := in.Authenticated(t.Context(), e)
	require.Equal(t, provision.DeviceNotFound, provision.CodeOf(err))
	_, err = in.Answered(t.Context(), "00000000-0000-4000-8000-000000000000", provision.Answer{Status: provision.AnswerAcknowledged}, nil)
	require.Equal(t, provision.UnknownCommand, provision.CodeOf(err))
}

func TestRenewalOfAnEnrollmentThatIsOver(t *testing.T) {
	in, db := checkins(t)
	id := store.Identity{Serial: phone, Hash: store.IdentityHash([]byte("x")), Renews: 1, Epoch: 1}
	renew := func() error {
		_, err := in.Renewed(t.Context(), id)
		return err
	}
	require.Equal(t, provision.IdentityRefused, provision.CodeOf(renew()), "it never enrolled")
	tell(t, db, provision.Fact{Kind: provision.Authenticated, Epoch: 1}, provision.Fact{Kind: provision.Activated, Epoch: 1})
	require.NoError(t, renew(), "a certificate that isn't kept is no news")
	before, err := db.Device(t.Context(), phone)
	require.NoError(t, err)
	id.Epoch = 2
	require.Equal(t, provision.IdentityRefused, provision.CodeOf(renew()))
	id.Epoch = 1
	tell(t, db, provision.Fact{Kind: provision.CheckedOut, Epoch: 1})
	require.Equal(t, provision.IdentityRefused, provision.CodeOf(renew()))
	after, err := db.Device(t.Context(), phone)
	require.NoError(t, err)
	require.Equal(t, before.Known, after.Known)
}
