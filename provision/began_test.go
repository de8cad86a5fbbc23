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

func TestAssignedBeforeTheEnrollmentEnded(t *testing.T) {
	assigned := func(id int64) provision.Fact {
		return provision.Fact{ID: id, Kind: provision.Assigned, Assignment: &provision.Assignment{UserID: "u"}}
	}
	in := func(id int64, kind provision.Kind, epoch int) provision.Fact {
		return provision.Fact{ID: id, Kind: kind, Epoch: epoch}
	}
	for name, tt := range map[string]struct {
		facts []provision.Fact
		want  bool
	}{
		"nobody":                    {[]provision.Fact{in(1, provision.Authenticated, 1), in(2, provision.Activated, 1)}, false},
		"reserved":                  {[]provision.Fact{assigned(1)}, false},
		"never completed":           {[]provision.Fact{assigned(1), in(2, provision.Authenticated, 1)}, false},
		"enrolled":                  {[]provision.Fact{assigned(1), in(2, provision.Authenticated, 1), in(3, provision.Activated, 1)}, true},
		"given meanwhile":           {[]provision.Fact{in(1, provision.Authenticated, 1), in(2, provision.Activated, 1), assigned(3)}, true},
		"checked out":               {[]provision.Fact{assigned(1), in(2, provision.Activated, 1), in(3, provision.CheckedOut, 1)}, true},
		"given for the next":        {[]provision.Fact{in(2, provision.Activated, 1), in(3, provision.CheckedOut, 1), assigned(4)}, false},
		"taken away":                {[]provision.Fact{assigned(1), in(2, provision.Activated, 1), {ID: 3, Kind: provision.Unassigned}}, false},
		"next enrollment has begun": {[]provision.Fact{assigned(1), in(2, provision.Activated, 1), in(3, provision.Authenticated, 2)}, false},
	} {
		require.Equal(t, tt.want, provision.FoldAll(provision.Device{}, tt.facts...).AssignedBefore(), name)
	}
}

// A renewal is on the timeline and changes nothing.
func TestRenewedIdentityChangesNoDecision(t *testing.T) {
	d := provision.FoldAll(provision.Device{Serial: "S"}, provision.Fact{ID: 1, Kind: provision.Authenticated, Epoch: 1}, provision.Fact{ID: 2, Kind: provision.Activated, Epoch: 1})
	f := provision.Fact{ID: 3, Kind: provision.IdentityRenewed, Epoch: 1}
	require.False(t, d.Delivers(f))
	require.Equal(t, d, provision.Fold(d, f))
}
