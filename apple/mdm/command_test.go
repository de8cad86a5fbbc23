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
	"document": {
		order(provision.InstallMedia, func(o *provision.Order) {
			o.Command.Identifier, o.Command.Version = "com.example.handbook", 3
			o.Document = provision.DocumentSource{URL: "https://example.com/handbook.pdf?a=1&b=<2>", Format: provision.PDF, Title: "Handbook", Author: "Zylker"}
		}),
		map[string]any{
			"RequestType": "InstallMedia", "MediaType": "Book", "MediaURL": "https://example.com/handbook.pdf?a=1&b=<2>",
			"PersistentID": "com.example.handbook", "Kind": "pdf", "Version": "3", "Title": "Handbook", "Author": "Zylker",
		},
	},
	"document without an author": {
		order(provision.InstallMedia, func(o *provision.Order) {
			o.Command.Identifier, o.Command.Version = "com.example.handbook", 1
			o.Document = provision.DocumentSource{URL: "https://example.com/handbook", Format: provision.EPUB}
		}),
		map[string]any{
			"RequestType": "InstallMedia", "MediaType": "Book", "MediaURL": "https://example.com/handbook",
			"PersistentID": "com.example.handbook", "Kind": "epub", "Version": "1",
		},
	},
	"remove document": {
		order(provision.RemoveMedia, func(o *provision.Order) { o.Command.Identifier = "com.example.handbook" }),
		map[string]any{"RequestType": "RemoveMedia", "MediaType": "Book", "PersistentID": "com.example.handbook"},
	},
	"managed documents": {
		order(provision.ManagedMediaList, nil),
		map[string]any{"RequestType": "ManagedMediaList"},
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
		"no uuid":           {Command: provision.Command{Type: provision.ProfileList}},
		"unknown command":   order("Sing", nil),
		"empty profile":     order(provision.InstallProfile, nil),
		"nothing named":     order(provision.RemoveProfile, nil),
		"no app named":      order(provision.RemoveApplication, nil),
		"no document named": order(provision.RemoveMedia, nil),
		"document from nowhere": order(provision.InstallMedia, func(o *provision.Order) {
			o.Command.Identifier, o.Document.Format = "com.example.handbook", provision.PDF
		}),
		"document of no format": order(provision.InstallMedia, func(o *provision.Order) {
			o.Command.Identifier, o.Document.URL = "com.example.handbook", "https://example.com/handbook"
		}),
		"unnamed document": order(provision.InstallMedia, func(o *provision.Order) {
			o.Document = provision.DocumentSource{URL: "https://example.com/handbook", Format: provision.PDF}
		}),
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
