package devstack

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestFreePortsAreDifferentAndBelowTheEphemeralRange(t *testing.T) {
	ports, err := freePorts(50, nil)
	require.NoError(t, err)
	seen := map[int]bool{}
	for _, p := range ports {
		require.False(t, seen[p], "port %d twice", p)
		require.GreaterOrEqual(t, p, lowestPort)
		require.Less(t, p, firstEphemeral())
		seen[p] = true
	}
}

func TestFreePortsPreferTheRememberedOnes(t *testing.T) {
	dir := t.TempDir()
	require.Empty(t, rememberedPorts(dir, kindTemporal))
	first, err := freePorts(2, nil)
	require.NoError(t, err)
	require.NoError(t, rememberPorts(dir, kindTemporal, first))
	again, err := freePorts(2, rememberedPorts(dir, kindTemporal))
	require.NoError(t, err)
	require.Equal(t, first, again)

	taken, err := listen(first[0])
	require.NoError(t, err)
	defer taken.Close()
	other, err := freePorts(2, first)
	require.NoError(t, err)
	require.NotEqual(t, first[0], other[0])
	require.Equal(t, first[1], other[1])
}
