package workflows_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/workflows"
)

func TestSummariesAreProse(t *testing.T) {
	for action, says := range map[provision.Action]string{
		provision.LeaveSetup:       "Let the device out of Setup Assistant",
		provision.ConcludeEnrolled: "Record that the device is Enrolled",
		provision.ConcludeStuck:    "Record that the device is stuck",
		provision.Nudge:            "Push again and ask the device for what is outstanding",
		provision.ConcludeReleased: "Forget the device and record that it is Released",
	} {
		require.Equal(t, says, workflows.CarrySummary(provision.Step{Do: action}))
		require.Equal(t, says+": end_of_life", workflows.CarrySummary(provision.Step{Do: action, Reason: "end_of_life"}))
	}
	long := workflows.CarrySummary(provision.Step{Do: provision.ConcludeStuck, Reason: strings.Repeat("configuration/größe, ", 100)})
	require.Less(t, len(long), 400, "Temporal refuses a longer one")
	require.True(t, strings.HasSuffix(long, "…"))
	require.True(t, strings.HasPrefix(long, "Record that the device is stuck: configuration/größe, "))
}

func TestApplySummaryCounts(t *testing.T) {
	device := func(failed []string, groups ...string) provision.Device {
		return provision.Device{
			Assignment: &provision.Assignment{Groups: groups}, LastVerdict: provision.Verdict{Failed: failed},
		}
	}
	for says, c := range map[string]struct {
		device provision.Device
		round  int
	}{
		"0 groups, try 1":                {provision.Device{}, 1},
		"1 group, try 1":                 {device(nil, "a"), 1},
		"2 groups, try 2, 1 item failed": {device([]string{"app/x"}, "a", "b"), 2},
		"1 group, try 3, 2 items failed": {device([]string{"app/x", "app/y"}, "a"), 3},
	} {
		require.Equal(t, says, workflows.ApplySummary(c.device, provision.Step{Do: provision.Apply, Round: c.round}))
	}
}

// The UI shows a description with each signal; a new kind must have one, too.
func TestEachSignalHasAMeaning(t *testing.T) {
	for _, kind := range provision.Signals() {
		require.NotEmpty(t, workflows.Meanings[kind], kind)
	}
	require.Len(t, workflows.Meanings, len(provision.Signals()))
}
