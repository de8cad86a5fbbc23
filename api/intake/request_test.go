package intake_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/api/intake"
	"github.com/muster-mdm/muster/provision"
)

var operator = intake.Actor{ID: "1", Source: provision.FromAPI}

func TestDeviceHeldInSetupAssistantIsNotReleased(t *testing.T) {
	in, db := checkins(t)
	_, err := in.Authenticated(t.Context(), enrollment("UDID-1"))
	require.NoError(t, err)
	held, err := in.Activated(t.Context(), phone, true)
	require.NoError(t, err)
	release := func() (provision.Device, error) {
		return in.Release(t.Context(), operator, phone, intake.EndOfLife, phone)
	}

	_, err = release()
	require.Equal(t, intake.InSetup, provision.CodeOf(err))
	require.ErrorContains(t, err, "release-from-setup")
	unchanged, err := db.Device(t.Context(), phone)
	require.NoError(t, err)
	require.Equal(t, held, unchanged)

	asked, err := in.ReleaseFromSetup(t.Context(), operator, phone)
	require.NoError(t, err)
	require.True(t, asked.InSetup())
	_, err = release()
	require.Equal(t, intake.InSetup, provision.CodeOf(err), "asked for, but not done yet")

	tell(t, db, provision.Fact{Kind: provision.SetupReleased, Epoch: 1})
	d, err := release()
	require.NoError(t, err)
	require.True(t, d.Leaving())
	again, err := release()
	require.NoError(t, err)
	require.Equal(t, d, again)
}

func TestReasonsForHoldsAreShort(t *testing.T) {
	in, db := checkins(t)
	before, err := db.Device(t.Context(), phone)
	require.NoError(t, err)
	_, err = in.Hold(t.Context(), operator, phone, strings.Repeat("ä", intake.LongestHoldReason+1))
	require.Equal(t, provision.Invalid, provision.CodeOf(err))
	after, err := db.Device(t.Context(), phone)
	require.NoError(t, err)
	require.Equal(t, before, after)

	longest := strings.Repeat("ä", intake.LongestHoldReason)
	d, err := in.Hold(t.Context(), operator, phone, " "+longest+"\n")
	require.NoError(t, err)
	require.Equal(t, longest, d.HoldReason)
}
