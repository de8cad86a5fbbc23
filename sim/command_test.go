package sim_test

import (
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/micromdm/plist"
	"github.com/smallstep/pkcs7"
	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/sim"
)

func TestProfiles(t *testing.T) {
	p := newPeer(t)
	d := p.enrolled()
	install := func(n int, raw []byte) dict {
		return p.send(d, uuid(n), "InstallProfile", dict{"Payload": raw})
	}
	require.Equal(t, "Acknowledged", install(1, configuration("test.wifi"))["Status"])
	require.Equal(t, "Acknowledged", install(2, configuration("test.wifi"))["Status"]) // replaced
	answer := p.send(d, uuid(3), "ProfileList", dict{"ManagedOnly": true})
	var identifiers []string
	for _, item := range answer["ProfileList"].([]any) {
		identifiers = append(identifiers, item.(dict)["PayloadIdentifier"].(string))
	}
	require.Equal(t, []string{"test.enroll", "test.wifi"}, identifiers)

	require.Equal(t, "Acknowledged", p.send(d, uuid(4), "RemoveProfile", dict{"Identifier": "test.wifi"})["Status"])
	requireError(t, p.send(d, uuid(5), "RemoveProfile", dict{"Identifier": "test.wifi"}), "MCMDMErrorDomain", 12075)
	require.False(t, d.Snapshot().HasProfile("test.wifi"))
}

func TestProfilesThatCannotBeInstalled(t *testing.T) {
	p := newPeer(t)
	d := p.enrolled()
	wrongType, err := plist.Marshal(dict{"PayloadType": "X", "PayloadIdentifier": "a", "PayloadUUID": "b", "PayloadVersion": 1, "PayloadContent": []any{}})
	require.NoError(t, err)
	part := dict{"PayloadType": "a", "PayloadIdentifier": "b", "PayloadUUID": "c"}
	cases := []struct {
		name   string
		raw    []byte
		domain string
		code   int
	}{
		{"no property list", []byte("<plist"), "MCProfileErrorDomain", 1000},
		{"no CMS", []byte{1, 2, 3}, "MCProfileErrorDomain", 1000},
		{"missing field", profileOf(""), "MCProfileErrorDomain", 1002},
		{"wrong type", wrongType, "MCProfileErrorDomain", 1010},
		{"empty", profileOf("test.empty"), "MCProfileErrorDomain", 1005},
		{"payload without type", profileOf("test.part", dict{"PayloadUUID": "x"}), "MCProfileErrorDomain", 1002},
		{"same UUID twice", profileOf("test.twice", part, part), "MCProfileErrorDomain", 1007},
		{"payload of wrong type", profileOf("test.text", "text"), "MCProfileErrorDomain", 1003},
	}
	for i, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			requireError(t, p.send(d, uuid(10+i), "InstallProfile", dict{"Payload": c.raw}), c.domain, c.code)
		})
	}
	for i, change := range []func(mdm, scep dict){
		func(m, _ dict) { m["Topic"] = "com.apple.mgmt.other" }, func(m, _ dict) { m["ServerURL"] = p.server.URL + "/else" },
		func(m, _ dict) { m["CheckInURL"] = p.server.URL + "/mdm" }, func(m, _ dict) { m["IdentityCertificateUUID"] = "none" },
	} {
		requireError(t, p.send(d, uuid(20+i), "InstallProfile", dict{"Payload": p.profile(change)}), "MCMDMErrorDomain", 12012)
	}
	refused := p.profile(func(_, s dict) { s["PayloadContent"].(dict)["Challenge"] = "guess" })
	requireError(t, p.send(d, uuid(30), "InstallProfile", dict{"Payload": refused}), "MCSCEPErrorDomain", 22013)
	requireError(t, p.send(d, uuid(31), "InstallProfile", dict{"Payload": profileOf("test.enroll", part)}), "MCMDMErrorDomain", 12012)
	requireError(t, p.send(d, uuid(32), "InstallProfile", dict{"Payload": profileOf("test.second",
		dict{"PayloadType": "com.apple.mdm", "PayloadIdentifier": "x", "PayloadUUID": "y"})}), "MCMDMErrorDomain", 12001)
	require.Len(t, d.Snapshot().Profiles, 1)
}

func TestEncryptedProfile(t *testing.T) {
	p := newPeer(t)
	d := p.enrolled()
	list := p.send(d, uuid(1), "CertificateList", nil)["CertificateList"].([]any)
	identity := parseCertificate(t, list[0].(dict)["Data"].([]byte))
	content, err := plist.Marshal([]any{dict{"PayloadType": "a", "PayloadIdentifier": "b", "PayloadUUID": "c"}})
	require.NoError(t, err)
	seal := func(to []byte) []byte {
		sealed, err := pkcs7.Encrypt(content, certificates(t, to))
		require.NoError(t, err)
		raw, err := plist.Marshal(dict{
			"PayloadType": "Configuration", "PayloadIdentifier": "test.sealed", "PayloadUUID": "d",
			"PayloadVersion": 1, "IsEncrypted": true, "EncryptedPayloadContent": sealed,
		})
		require.NoError(t, err)
		return raw
	}
	require.Equal(t, "Acknowledged", p.send(d, uuid(2), "InstallProfile", dict{"Payload": seal(identity.Raw)})["Status"])
	requireError(t, p.send(d, uuid(3), "InstallProfile", dict{"Payload": seal(p.ca.Raw)}), "MCProfileErrorDomain", 1006)
}

func TestApps(t *testing.T) {
	p := newPeer(t)
	now := newClock()
	d := p.enrolled(func(c *sim.Config) {
		c.Now = now.Now
		c.Catalog = map[string]string{"361309726": "com.apple.Pages", "https://example.org/m.plist": "org.example.app"}
		c.Faults = sim.Faults{Install: sim.Span{Min: time.Minute, Max: 2 * time.Minute}, Fail: map[string]int{"org.example.app": 1}}
	})
	status := func(n int, ids ...any) dict {
		return p.send(d, uuid(n), "ManagedApplicationList", dict{"Identifiers": ids})["ManagedApplicationList"].(dict)
	}
	answer := p.send(d, uuid(1), "InstallApplication", dict{"iTunesStoreID": 361309726, "ManagementFlags": 1})
	require.Equal(t, "com.apple.Pages", answer["Identifier"])
	require.Equal(t, "Queued", answer["State"])
	p.send(d, uuid(2), "InstallApplication", dict{"ManifestURL": "https://example.org/m.plist"})
	now.Advance(50 * time.Second)
	require.Equal(t, "Installing", status(3, "com.apple.Pages")["com.apple.Pages"].(dict)["Status"])
	now.Advance(2 * time.Minute)
	require.Equal(t, "Managed", d.Snapshot().App("com.apple.Pages"))
	both := status(4)
	require.Equal(t, "Managed", both["com.apple.Pages"].(dict)["Status"])
	require.Equal(t, "Failed", both["org.example.app"].(dict)["Status"])
	require.NotContains(t, status(5), "org.example.app", "a failure is reported once")

	installed := p.send(d, uuid(6), "InstalledApplicationList", dict{"Items": []any{"Identifier", "Installing"}})["InstalledApplicationList"].([]any)
	require.Equal(t, []any{dict{"Identifier": "com.apple.Pages", "Installing": false}}, installed)

	p.send(d, uuid(7), "InstallApplication", dict{"iTunesStoreID": 361309726, "ManagementFlags": 1})
	now.Advance(50 * time.Second)
	require.Equal(t, "Updating", d.Snapshot().App("com.apple.Pages"))
	require.Equal(t, "Acknowledged", p.send(d, uuid(8), "RemoveApplication", dict{"Identifier": "com.apple.Pages"})["Status"])
	require.Equal(t, "Error", p.send(d, uuid(9), "RemoveApplication", dict{"Identifier": "com.apple.Pages"})["Status"])

	requireError(t, p.send(d, uuid(10), "InstallApplication", dict{"iTunesStoreID": 1}), "MCMDMErrorDomain", 12023)
	refused := p.send(d, uuid(11), "InstallApplication", dict{"ManifestURL": "https://example.org/other"})
	requireError(t, refused, "MCMDMErrorDomain", 12024)
	require.Equal(t, "CouldNotVerifyAppID", refused["RejectionReason"])
	require.Equal(t, "by.key", p.send(d, uuid(12), "InstallApplication", dict{"Identifier": "by.key"})["Identifier"])
	require.True(t, d.DeleteApp("by.key"))
	require.False(t, d.DeleteApp("by.key"))
	// The seventh command is an update by equal content that nothing called for.
	require.Equal(t, 1, sim.SentTwice(d.Log()))
}

func TestAppManifestIsFetched(t *testing.T) {
	p := newPeer(t)
	var fetched atomic.Int32
	p.setIntercept(func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != "/app.plist" {
			return false
		}
		fetched.Add(1)
		raw, _ := plist.Marshal(dict{"items": []any{dict{"metadata": dict{"bundle-identifier": "org.example.fetched"}}}})
		_, _ = w.Write(raw)
		return true
	})
	d := p.enrolled(func(c *sim.Config) { c.FetchManifests = true })
	answer := p.send(d, uuid(1), "InstallApplication", dict{"ManifestURL": p.server.URL + "/app.plist"})
	require.Equal(t, "org.example.fetched", answer["Identifier"])
	require.EqualValues(t, 1, fetched.Load())
	requireError(t, p.send(d, uuid(2), "InstallApplication", dict{"ManifestURL": p.server.URL + "/none"}), "MCMDMErrorDomain", 12024)
}

func TestOldSystemPutsAppsOffInSetupAssistant(t *testing.T) {
	p := newPeer(t)
	d := p.enrolled(func(c *sim.Config) {
		c.AutomatedEnrollment, c.Await, c.OSVersion = true, true, "15.8"
	})
	p.enqueue(d, uuid(1), "InstallApplication", dict{"Identifier": "org.example.app"})
	p.wake(d)
	eventually(t, "NotNow", func() bool { return len(p.answersTo(uuid(1))) == 1 })
	require.Equal(t, "NotNow", p.answersTo(uuid(1))[0].Status)
	p.send(d, uuid(2), "DeviceConfigured", nil)
	require.Equal(t, "Acknowledged", p.settled(uuid(1))["Status"], "it comes back by itself")
	// The peer's in-memory queue sends DeviceConfigured again, because removing its last command
	// leaves a link to it in the one before; that one is looked at alone.
	require.Zero(t, sim.SentTwice(d.Log()[:1]))
}

func TestInformationAndSettings(t *testing.T) {
	p := newPeer(t)
	d := p.enrolled(func(c *sim.Config) { c.AutomatedEnrollment = true })
	answer := p.send(d, uuid(1), "Settings", dict{"Settings": []any{
		dict{"Item": "DeviceName", "DeviceName": "Van 7"},
		dict{"Item": "OrganizationInfo", "OrganizationInfo": dict{"OrganizationName": "Zylker"}},
		dict{"Item": "MDMOptions", "MDMOptions": dict{"ActivationLockAllowedWhileSupervised": true}},
		dict{"Item": "TimeZone", "TimeZone": "Europe/Vienna"},
		dict{"Item": "DataRoaming", "Enabled": true},
	}})
	require.NotContains(t, answer, "Settings")
	report := p.send(d, uuid(2), "Settings", dict{"Settings": []any{
		dict{"Item": "ApplicationConfiguration", "Identifier": "not.there"},
	}})["Settings"].(dict)
	require.Equal(t, "Error", report["Status"])
	require.Equal(t, "not.there", report["Identifier"])

	everything := []any{
		"UDID", "SerialNumber", "DeviceName", "OSVersion", "BuildVersion", "SupplementalBuildVersion", "ModelName", "Model",
		"ModelNumber", "ProductName", "DeviceCapacity", "AvailableDeviceCapacity", "IMEI", "MEID", "ModemFirmwareVersion", "CellularTechnology",
		"BatteryLevel", "IsSupervised", "IsMultiUser", "IsDeviceLocatorServiceEnabled", "IsActivationLockEnabled", "IsDoNotDisturbInEffect",
		"EASDeviceIdentifier", "IsCloudBackupEnabled", "IsMDMLostModeEnabled", "AwaitingConfiguration", "iTunesStoreAccountIsActive",
		"PushToken", "DiagnosticSubmissionEnabled", "AppAnalyticsEnabled", "TimeZone", "BluetoothMAC", "WiFiMAC", "DataRoamingEnabled",
		"VoiceRoamingEnabled", "PersonalHotspotEnabled", "IsNetworkTethered", "IsRoaming", "ServiceSubscriptions", "SoftwareUpdateDeviceID",
		"SoftwareUpdateSettings", "AccessibilitySettings", "OrganizationInfo", "MDMOptions",
	}
	info := p.send(d, uuid(3), "DeviceInformation", dict{"Queries": everything})["QueryResponses"].(dict)
	for _, query := range everything {
		require.Contains(t, info, query)
	}
	require.Equal(t, "Van 7", info["DeviceName"])
	require.Equal(t, dict{"OrganizationName": "Zylker"}, info["OrganizationInfo"])
	require.Equal(t, "Europe/Vienna", info["TimeZone"])
	require.Equal(t, true, info["DataRoamingEnabled"])
	require.Len(t, info["IMEI"], 15)

	security := p.send(d, uuid(4), "SecurityInfo", nil)["SecurityInfo"].(dict)
	require.Equal(t, true, security["PasscodeCompliant"])
	require.Equal(t, "NoPasscodeSet", p.send(d, uuid(5), "DeviceLock", dict{"Message": "Lost"})["MessageResult"])
	require.Equal(t, "Acknowledged", p.send(d, uuid(6), "DeviceLock", nil)["Status"])
}

func TestCommandsThatTheDeviceDoesNotKnow(t *testing.T) {
	p := newPeer(t)
	d := p.enrolled()
	answer := p.sendUnwatched(d, uuid(1), "MakeCoffee")
	requireError(t, answer, "MCMDMErrorDomain", 12021)
	chain := answer["ErrorChain"].([]any)[0].(dict)
	require.Contains(t, chain["LocalizedDescription"], "is not a valid request type")
	requireError(t, p.send(d, uuid(2), "DeviceConfigured", nil), "MCMDMErrorDomain", 12008)
	requireError(t, p.send(d, uuid(3), "RestartDevice", nil), "MCMDMErrorDomain", 12008)
}

func TestRestartAndErase(t *testing.T) {
	p := newPeer(t)
	d := p.enrolled(func(c *sim.Config) { c.AutomatedEnrollment = true })
	require.Equal(t, "Acknowledged", p.send(d, uuid(1), "RestartDevice", nil)["Status"])
	p.enqueue(d, uuid(2), "SecurityInfo", nil)
	d.Reboot()
	require.Equal(t, "Acknowledged", p.settled(uuid(2))["Status"], "a device connects after a restart")

	require.Equal(t, "Acknowledged", p.send(d, uuid(3), "EraseDevice", nil)["Status"])
	eventually(t, "erasure", func() bool { return !d.Snapshot().Enrolled })
	require.Empty(t, d.Snapshot().Profiles)
	require.NotContains(t, p.checkinsSeen(), "CheckOut")
	require.NoError(t, d.Enroll(t.Context(), p.profile()))
	require.Equal(t, 2, d.Snapshot().Epoch)
	require.Equal(t, "Acknowledged", p.send(d, uuid(4), "SecurityInfo", nil)["Status"])
	log := d.Log()
	require.Equal(t, 2, log[len(log)-1].Epoch)
}

func TestRemovingTheEnrollmentProfileChecksOut(t *testing.T) {
	p := newPeer(t)
	d := p.enrolled()
	p.send(d, uuid(1), "InstallApplication", dict{"Identifier": "goes.with.it", "ManagementFlags": 1})
	p.send(d, uuid(2), "InstallApplication", dict{"Identifier": "stays"})
	p.send(d, uuid(3), "InstallProfile", dict{"Payload": configuration("test.wifi")})
	p.send(d, uuid(4), "RemoveProfile", dict{"Identifier": "test.enroll"})
	eventually(t, "check-out", func() bool { return !d.Snapshot().Enrolled })
	require.Contains(t, p.checkinsSeen(), "CheckOut")
	s := d.Snapshot()
	require.Empty(t, s.Profiles)
	require.Equal(t, []sim.AppState{{BundleID: "stays", State: "Managed"}}, s.Apps)
	require.ErrorIs(t, d.CheckOut(t.Context()), sim.ErrNotEnrolled)
}
