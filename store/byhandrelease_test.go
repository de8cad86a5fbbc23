package store_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/provision"
)

// An operator's own signal goes by the same rule as the API: what Apple is being asked for can't be taken back.
func TestReleasesAreCancelledByHandUnderTheSameRule(t *testing.T) {
	f := newFleet(t)
	f.linked(school)
	f.fetched(school, serials(1)...)
	cancel := provision.Fact{Kind: provision.CancelRelease, Source: provision.FromOperator}
	f.asked("C0000000", provision.ReleaseDevice)
	_, err := f.RecordByHand(t.Context(), "C0000000", "one", cancel)
	require.Equal(t, provision.ReleaseBegun, provision.CodeOf(err))
	require.Len(t, f.owed(), 1)

	f.answer(school, provision.ABMGuided, "", 0)
	d, err := f.RecordByHand(t.Context(), "C0000000", "two", cancel)
	require.NoError(t, err)
	require.False(t, d.ReleasePending())
	require.Empty(t, f.owed())
}
