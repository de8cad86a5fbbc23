package provision_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/provision"
)

func TestBegan(t *testing.T) {
	for kind, begins := range map[provision.Kind]bool{
		provision.ABMSeen: true, provision.Assigned: true, provision.Activated: true,
		provision.Registered: false, provision.Authenticated: false, provision.HoldRequest: false, provision.ReleaseRequest: false,
	} {
		d := provision.Fold(provision.Device{Serial: "S"}, provision.Fact{ID: 1, Kind: kind, Epoch: 1})
		require.Equal(t, begins, d.Began(), kind)
		require.True(t, !kind.Begins() || d.Began(), kind)
		d = provision.Fold(d, provision.Fact{ID: 2, Kind: provision.Authenticated, Epoch: 2})
		require.True(t, d.Began(), "a second enrollment means that there was a first: %s", kind)
	}
}
