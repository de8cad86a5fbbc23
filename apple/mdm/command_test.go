package mdm_test

import (
	"strings"
	"testing"

	"github.com/micromdm/plist"
	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/apple/mdm"
	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/sim/appleschema/schemaflag"
)

const uuid = "0E3D1C4E-5B0C-5F5C-8E1D-1A2B3C4D5E6F"

func order(t provision.RequestType, change func(*provision.Order)) provision.Order {
	o := provision.Order{UUID: uuid, Command: provision.Command{Type: t}}
	if change != nil {
		change(&o)
	}
	return o
}

var orders = map[string]struct {
	order provision.Order
	want  map[string]any
}{
	"install profile": {
		order(provision.InstallProfile, func(o *provision.Order) { o.Payload = []byte("<profile/>") }),
		map[string]any{"RequestType": "InstallProfile", "Payload": []byte("<profile/>")},
	},
	"remove profile": {
		order(provision.RemoveProfile, func(o *provision.Order) { o.Command.Identifier = "com.example.wifi" }),
		map[string]any{"RequestType": "RemoveProfile", "Identifier": "com.example.wifi"},
	},
	"profile list": {
		order(provision.ProfileList, nil),
		map[string]any{"RequestType": "ProfileList"},
	},
	"app by manifest": {
		order(provision.InstallApplication, func(o *provision.Order) {
			o.Command.Identifier, o.ManifestURL = "com.example.app", "https://example.com/app.plist?a=1&b=<2>"
		}),
		map[string]any{
			"RequestType": "InstallApplication", "ManifestURL": "https://example.com/app.plist?a=1&b=<2>",
			"ManagementFlags": uint64(1), "ChangeManagementState": "Managed",
		},
	},
	"app from the store": {
		order(provision.InstallApplication, func(o *provision.Order) { o.Command.Identifier, o.StoreID = "com.example.app", 361309726 }),
		map[string]any{
			"RequestType": "InstallApplication", "iTunesStoreID": uint64(361309726), "Identifier": "com.example.app",
			"Options": map[string]any{"PurchaseMethod": uint64(1)}, "ManagementFlags": uint64(1), "ChangeManagementState": "Managed",
		},
	},
	"remove app": {
		order(provision.RemoveApplication, func(o *provision.Order) { o.Command.Identifier = "com.example.app" }),
		map[string]any{"RequestType": "RemoveApplication", "Identifier": "com.example.app"},
	},
	"managed apps": {
		order(provision.ManagedApplicationList, func(o *provision.Order) { o.Command.Identifiers = []string{"com.example.a", "com.example.b"} }),
		map[string]any{"RequestType": "ManagedApplicationList", "Identifiers": []any{"com.example.a", "com.example.b"}},
	},
	"all managed apps": {
		order(provision.ManagedApplicationList, nil),
		map[string]any{"RequestType": "ManagedApplicationList"},
	},
	"device information": {
		order(provision.DeviceInformationQuery, nil),
		map[string]any{"RequestType": "DeviceInformation", "Queries": []any{"DeviceName", "ModelName", "Model", "ProductName", "OSVersion", "BuildVersion"}},
	},
	"device configured": {
		order(provision.DeviceConfigured, nil),
		map[string]any{"RequestType": "DeviceConfigured"},
	},
}

func TestEncodeWritesWhatApplePublished(t *testing.T) {
	schema, checked := schemaflag.Schema(t)
	for name, tt := range orders {
		t.Run(name, func(t *testing.T) {
			raw, err := mdm.Encode(tt.order)
			require.NoError(t, err)
			require.True(t, strings.HasPrefix(string(raw), "<?xml"), "NanoMDM's tables refuse anything else")
			var got map[string]any
			require.NoError(t, plist.Unmarshal(raw, &got))
			require.Equal(t, map[string]any{"CommandUUID": uuid, "Command": tt.want}, got)
			if checked {
				require.Empty(t, schema.CheckCommand(raw))
			}
		})
	}
}

func TestEncodeRefusesWhatADeviceCouldNotCarryOut(t *testing.T) {
	for name, o := range map[string]provision.Order{
		"no uuid":          {Command: provision.Command{Type: provision.ProfileList}},
		"unknown command":  order("Sing", nil),
		"empty profile":    order(provision.InstallProfile, nil),
		"nothing named":    order(provision.RemoveProfile, nil),
		"no app named":     order(provision.RemoveApplication, nil),
		"app from nowhere": order(provision.InstallApplication, nil),
		"app from two places": order(provision.InstallApplication, func(o *provision.Order) {
			o.ManifestURL, o.StoreID = "https://example.com/a.plist", 1
		}),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := mdm.Encode(o)
			require.Error(t, err)
		})
	}
}
