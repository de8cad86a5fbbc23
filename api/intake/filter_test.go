package intake

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

// fill adds n serial numbers and returns how many were taken for others.
func fill(f *filter, n int) (again int) {
	for i := range n {
		if f.add(fmt.Sprintf("C07Q%08d", i)) {
			again++
		}
	}
	return again
}

func TestAFilterForgetsNothingAndInventsLittle(t *testing.T) {
	const n = 50_000
	f := newFilter(n)
	again := fill(f, n)
	require.Less(t, again, n/100, "new ones that were taken for old")
	invented := 0
	for i := range n {
		require.True(t, f.has(fmt.Sprintf("C07Q%08d", i)))
		require.True(t, f.add(fmt.Sprintf("C07Q%08d", i)))
		if f.has(fmt.Sprintf("F2LQ%08d", i)) {
			invented++
		}
	}
	require.Less(t, invented, n/100)
	require.False(t, newFilter(0).has("C07Q853LG9RM"))
}

// A file of a million rows about as many devices has no suspects, so nothing has to be compared afterwards.
func TestAFilterWithRoomTakesNoneForAnother(t *testing.T) {
	const n = 1_000_000
	f := newFilter(mostSeen)
	require.LessOrEqual(t, fill(f, n), 3)
}
