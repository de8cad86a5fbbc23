package intake_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/api/intake"
	"github.com/muster-mdm/muster/provision"
)

func TestADeviceThatRefusedToLeaveSetupCanBeAskedAgain(t *testing.T) {
	in, db := checkins(t)
	_, err := in.Authenticated(t.Context(), enrollment("UDID-1"))
	require.NoError(t, err)
	_, err = in.Activated(t.Context(), phone, true)
	require.NoError(t, err)
	ask := func() provision.Device {
		d, err := in.ReleaseFromSetup(t.Context(), operator, phone)
		require.NoError(t, err)
		return d
	}
	first := ask()
	require.Equal(t, first, ask(), "twice is once")
	tell(t, db, provision.Fact{Kind: provision.SetupReleased, Epoch: 1},
		provision.Fact{Kind: provision.SetupRefused, Epoch: 1, Round: provision.MostSetupTries, Reason: "no"})
	again := ask()
	require.True(t, again.SetupAskedFor())
	require.NotEqual(t, first.SetupAsked, again.SetupAsked)
	tell(t, db, provision.Fact{Kind: provision.SetupReleased, Epoch: 1}, provision.Fact{Kind: provision.SetupFinished, Epoch: 1})
	_, err = in.ReleaseFromSetup(t.Context(), operator, phone)
	require.Equal(t, intake.NotInSetup, provision.CodeOf(err))
}
