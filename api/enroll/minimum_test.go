package enroll

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/apple/identity"
)

func TestMinimumOSByPlatform(t *testing.T) {
	m, err := ParseMinimumOS([]string{"ios=17.4", " macOS = 14.4.1 ", "tvos=17"})
	require.NoError(t, err)
	for _, c := range []struct {
		product, version, want string
		older                  bool
	}{
		{"iPhone14,5", "17.3.1", "17.4", true},
		{"iPhone14,5", "17.4", "17.4", false},
		{"iPhone14,5", "17.4.0", "17.4", false},
		{"iPhone14,5", "17.10", "17.4", false},
		{"iPhone14,5", "9.9", "17.4", true},
		{"iPhone14,5", "17.3.1 (a)", "17.4", true},
		{"iPhone14,5", "", "17.4", true},
		{"iPhone14,5", "garbage", "17.4", true},
		{"iPad13,4", "17.3", "17.4", true},
		{"Mac14,2", "14.4", "14.4.1", true},
		{"MacBookPro18,1", "14.4.1", "14.4.1", false},
		{"iMac21,1", "13.6", "14.4.1", true},
		{"AppleTV14,1", "16.9", "17", true},
		{"Watch7,1", "9", "", false},
		{"Toaster1,1", "1", "", false},
		{"", "1", "", false},
	} {
		got, older := m.require(identity.MachineInfo{Product: c.product, OSVersion: c.version})
		require.Equal(t, c.older, older, "%s %s", c.product, c.version)
		require.Equal(t, c.want, got, "%s %s", c.product, c.version)
	}
	m, err = ParseMinimumOS([]string{"ios=18", "ipados=17.1"})
	require.NoError(t, err)
	_, older := m.require(identity.MachineInfo{Product: "iPad13,4", OSVersion: "17.2"})
	require.False(t, older)
	_, older = MinimumOS(nil).require(identity.MachineInfo{Product: "iPad13,4"})
	require.False(t, older)
}

func TestMinimumOSThatMakesNoSense(t *testing.T) {
	for setting, says := range map[string]string{
		"windows=11": "no operating system", "ios": "no version", "ios=": "no version", "ios=latest": "no version", "ios=17.4 (a)": "no version",
		"=17": "no operating system", "": "no operating system",
	} {
		_, err := ParseMinimumOS([]string{setting})
		require.ErrorContains(t, err, says, setting)
	}
	_, err := ParseMinimumOS([]string{"ios=17", "iOS=18"})
	require.ErrorContains(t, err, "twice")
}
