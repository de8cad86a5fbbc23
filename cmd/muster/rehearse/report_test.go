package rehearse

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/api/client"
	"github.com/muster-mdm/muster/sim"
)

func TestPercentile(t *testing.T) {
	require.Zero(t, Percentile(nil, 0.5))
	require.InDelta(t, 2, Percentile([]float64{3, 1, 2}, 0.5), 0)
	require.InDelta(t, 3, Percentile([]float64{3, 1, 2}, 0.99), 0)
	require.InDelta(t, 1.3, Percentile([]float64{1.26}, 0.95), 1e-9)
}

func TestReportIsOneObjectWithTheseNames(t *testing.T) {
	raw, err := json.Marshal(Report{Seed: 7, Counted: 3, Wrong: []Wrong{{}}})
	require.NoError(t, err)
	var object map[string]any
	require.NoError(t, json.Unmarshal(raw, &object))
	require.ElementsMatch(t, []string{
		"devices", "as_modelled", "by_status", "commands", "commands_sent_twice", "unexplained", "to_first_command_ms",
		"to_enrolled_ms", "signals_per_device_p50", "activities_per_device_p50", "history_events_per_device_p50", "elapsed_s", "signed_in", "auto_assigned",
	}, slices.Collect(maps.Keys(object)))
	require.Equal(t, map[string]any{"p50": 0.0, "p95": 0.0, "p99": 0.0}, object["to_enrolled_ms"])
}

func TestWhatMakesARehearsalFail(t *testing.T) {
	require.True(t, Report{Devices: 2, AsModelled: 2}.Good())
	for _, bad := range []Report{
		{Devices: 2, AsModelled: 1}, {Devices: 2, AsModelled: 2, CommandsSentTwice: 1}, {Devices: 2, AsModelled: 2, Unexplained: 1},
	} {
		require.False(t, bad.Good(), "%+v", bad)
		var said interface{ AlreadySaid() int }
		require.ErrorAs(t, failure{bad}, &said)
		require.Equal(t, 1, said.AlreadySaid())
	}
}

func TestDifferencesSeeTheAPIAndTheDevice(t *testing.T) {
	want := Expected{
		Status: statusEnrolled, Labels: []string{statusEnrolled}, Management: managed, Epoch: 1,
		Holds: map[string]bool{"com.example.wifi": true, "com.example.app.routes": true, "com.example.vpn": false, "document 1f": true},
	}
	api := client.Device{Status: "Enrolled", Labels: []string{"Enrolled"}, Management: "managed", Epoch: 1}
	device := sim.Snapshot{
		Enrolled: true, Profiles: []sim.ProfileState{{Identifier: "com.example.wifi"}},
		Apps:  []sim.AppState{{BundleID: "com.example.app.routes", State: "Managed"}},
		Media: []sim.MediaState{{ID: "book", State: "Managed", Content: "1f"}},
	}
	require.Empty(t, differences(want, api, device))

	late := api
	late.Status, late.Labels = "Provisioning", []string{"Provisioning"}
	require.Len(t, differences(want, late, device), 2)
	stuck := client.BlockedBy("stuck")
	late = api
	late.BlockedBy = &stuck
	require.Len(t, differences(want, late, device), 1)

	wrong := device
	wrong.Profiles = []sim.ProfileState{{Identifier: "com.example.vpn"}}
	require.Equal(t, []string{
		"com.example.vpn on the device is true instead of false", "com.example.wifi on the device is false instead of true",
	}, differences(want, api, wrong))
	wrong = device
	wrong.Apps = []sim.AppState{{BundleID: "com.example.app.routes", State: "Installing"}}
	require.Len(t, differences(want, api, wrong), 1)
	wrong = device
	wrong.Media = []sim.MediaState{{ID: "book", State: "Managed", Content: "2e"}}
	require.Equal(t, []string{"document 1f on the device is false instead of true"}, differences(want, api, wrong))
	wrong = device
	wrong.AwaitingConfiguration = true
	require.Len(t, differences(want, api, wrong), 1)
}

func TestWrongDeviceIsPrintedWithItsStory(t *testing.T) {
	var out bytes.Buffer
	r := Report{Wrong: []Wrong{{
		Life:        Life{Serial: "C07Q853LG9RM", Kind: "assigned before activation", Events: []Event{assign(drivers), {Do: SwitchOn, After: time.Second}}},
		Differences: []string{"status is Provisioning instead of Enrolled"},
		Waits:       []client.Wait{{For: "2 of 4 items are still to be installed", Who: "the device"}},
		Timeline:    []client.Fact{{Id: 9, Kind: "settled", Source: "device"}},
	}}}
	require.NoError(t, r.PrintWrong(&out))
	for _, part := range []string{
		"C07Q853LG9RM", "status is Provisioning instead of Enrolled", "assign drivers, 1s later switch_on", "2 of 4 items", "#9 settled", "not delivered",
	} {
		require.Contains(t, out.String(), part)
	}
}
