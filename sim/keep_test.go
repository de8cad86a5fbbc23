package sim_test

import (
	"context"
	"encoding/json"
	"net/url"
	"testing"
	"time"

	"github.com/micromdm/plist"
	"github.com/smallstep/pkcs7"
	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/sim"
)

// restartPush ends the push service and starts one at the same address that knows no device, as another process would.
func (p *peer) restartPush() {
	p.t.Helper()
	address, err := url.Parse(p.apns.URL())
	require.NoError(p.t, err)
	cert, key, err := p.apns.Authority()
	require.NoError(p.t, err)
	require.NoError(p.t, p.apns.Close())
	p.apns, err = sim.StartAPNs(p.t.Context(), sim.APNsConfig{Addr: address.Host, AuthorityCertPEM: cert, AuthorityKeyPEM: key})
	require.NoError(p.t, err)
	p.t.Cleanup(func() { require.NoError(p.t, p.apns.Close()) })
}

// liveOnce enrolls a device, lets during happen while it is connected, and ends it.
func (p *peer) liveOnce(d *sim.Device, during func()) {
	p.t.Helper()
	require.NoError(p.t, d.Enroll(p.t.Context(), p.profile()))
	ctx, cancel := context.WithCancel(p.t.Context())
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	during()
	cancel()
	require.NoError(p.t, <-ended)
}

func automated(c *sim.Config) {
	c.AutomatedEnrollment, c.Await = true, true
	c.Catalog = map[string]string{"1": "org.example.kept", "2": "org.example.late"}
}

func TestRestoredDeviceGoesOn(t *testing.T) {
	p := newPeer(t)
	now := newClock()
	change := func(c *sim.Config) {
		automated(c)
		c.Now, c.APNs = now.Now, p.apns
		c.Faults = sim.Faults{Install: sim.Span{Min: time.Minute}, Fail: map[string]int{"org.example.late": 1}}
	}
	d := p.device(change)
	p.liveOnce(d, func() { p.furnish(d) })
	saved := save(t, d)
	before, log := d.Snapshot(), d.Log()
	d.Close()

	p.restartPush()
	restored := p.device(change)
	require.NoError(t, restored.Restore(saved))
	require.Equal(t, before, restored.Snapshot())
	require.Equal(t, encoded(t, log), encoded(t, restored.Log()))
	require.Equal(t, string(saved), string(save(t, restored)))
	p.run(restored)

	answer := p.send(restored, uuid(20), "DeviceInformation", dict{"Queries": []any{"DeviceName", "OrganizationInfo", "TimeZone"}})
	told := answer["QueryResponses"].(dict)
	require.Equal(t, "Desk 7", told["DeviceName"])
	require.Equal(t, "Europe/Vienna", told["TimeZone"])
	require.Equal(t, dict{"OrganizationName": "Example"}, told["OrganizationInfo"])
	media := p.send(restored, uuid(21), "ManagedMediaList", nil)["Books"].([]any)
	require.Equal(t, "Handbook", media[0].(dict)["Title"])

	now.Advance(time.Hour)
	apps := p.send(restored, uuid(22), "ManagedApplicationList", nil)["ManagedApplicationList"].(dict)
	require.Equal(t, "Managed", apps["org.example.kept"].(dict)["Status"])
	require.Equal(t, "Failed", apps["org.example.late"].(dict)["Status"])
	p.send(restored, uuid(23), "DeviceConfigured", nil)
	eventually(t, "end of the wait", func() bool { return !restored.Snapshot().AwaitingConfiguration })
	require.Equal(t, []string{"Authenticate", "TokenUpdate"}, p.checkinsSeen())
	require.Zero(t, sim.SentTwice(restored.Log()))
}

// furnish gives a device something of everything that it remembers.
func (p *peer) furnish(d *sim.Device) {
	p.t.Helper()
	p.send(d, uuid(1), "InstallProfile", dict{"Payload": configuration("test.wifi")})
	p.send(d, uuid(2), "InstallProfile", dict{"Payload": p.sealed(d)})
	p.send(d, uuid(3), "InstallApplication", dict{"iTunesStoreID": 1, "ManagementFlags": 1})
	p.send(d, uuid(4), "InstallApplication", dict{"iTunesStoreID": 2})
	p.serveBooks("/handbook.pdf", "%PDF-1.7", 0)
	p.send(d, uuid(5), "InstallMedia", dict{
		"MediaType": "Book", "MediaURL": p.server.URL + "/handbook.pdf", "PersistentID": "org.example.handbook",
		"Kind": "pdf", "Title": "Handbook", "Version": "1",
	})
	p.send(d, uuid(6), "Settings", dict{"Settings": []any{
		dict{"Item": "DeviceName", "DeviceName": "Desk 7"},
		dict{"Item": "TimeZone", "TimeZone": "Europe/Vienna"},
		dict{"Item": "OrganizationInfo", "OrganizationInfo": dict{"OrganizationName": "Example"}},
		dict{"Item": "MDMOptions", "MDMOptions": dict{"ActivationLockAllowedWhileSupervised": true}},
	}})
	for n := range 6 {
		p.eventually("delivery of an answer", func() bool { return d.Log()[n].Attempts[0].Accepted })
	}
}

// sealed is a profile that only the device's identity opens.
func (p *peer) sealed(d *sim.Device) []byte {
	p.t.Helper()
	list := p.send(d, uuid(9), "CertificateList", nil)["CertificateList"].([]any)
	content, err := plist.Marshal([]any{dict{"PayloadType": "a", "PayloadIdentifier": "b", "PayloadUUID": "c"}})
	require.NoError(p.t, err)
	envelope, err := pkcs7.Encrypt(content, certificates(p.t, list[0].(dict)["Data"].([]byte)))
	require.NoError(p.t, err)
	raw, err := plist.Marshal(dict{
		"PayloadType": "Configuration", "PayloadIdentifier": "test.sealed", "PayloadUUID": "d",
		"PayloadVersion": 1, "IsEncrypted": true, "EncryptedPayloadContent": envelope,
	})
	require.NoError(p.t, err)
	return raw
}

func TestRestoredDeviceTakesANewTokenInItsNextLife(t *testing.T) {
	p := newPeer(t)
	d := p.device()
	require.NoError(t, d.Enroll(t.Context(), p.profile()))
	restored := p.device()
	require.NoError(t, restored.Restore(save(t, d)))
	old := field(t, save(t, restored), "Enrollment")["Token"]
	restored.Reset()
	require.False(t, restored.Snapshot().Enrolled)
	require.NoError(t, restored.Enroll(t.Context(), p.profile()))
	require.Equal(t, 2, restored.Snapshot().Epoch)
	require.NotEqual(t, old, field(t, save(t, restored), "Enrollment")["Token"])
}

func TestIncompleteEnrollmentIsNotKept(t *testing.T) {
	p := newPeer(t)
	d := p.device(automated)
	require.NoError(t, d.Prepare(t.Context(), p.profile()))
	require.NoError(t, d.Authenticate(t.Context()))
	restored := p.device(automated)
	require.NoError(t, restored.Restore(save(t, d)))
	s := restored.Snapshot()
	require.Empty(t, s.Profiles)
	require.False(t, s.Enrolled)
	require.Equal(t, 1, s.Epoch)
	require.NoError(t, restored.Enroll(t.Context(), p.profile()))
	require.Equal(t, 2, restored.Snapshot().Epoch)
}

func TestMemoriesThatDoNotFit(t *testing.T) {
	p := newPeer(t)
	d := p.device()
	require.NoError(t, d.Enroll(t.Context(), p.profile()))
	saved := save(t, d)
	other := p.device(func(c *sim.Config) { c.Serial = "C07Q853LG9RN" })
	require.NoError(t, other.Enroll(t.Context(), p.profile()))
	enrollment := func(key string, value any) func(dict) {
		return func(m dict) { m["Enrollment"].(dict)[key] = value }
	}
	cases := []struct {
		name, says string
		saved      []byte
	}{
		{"foreign serial", `that of device "C07Q853LG9RN"`, save(t, other)},
		{"foreign UDID", "with UDID", changed(t, saved, func(m dict) { m["UDID"] = "X" })},
		{"later version", "version 2", changed(t, saved, func(m dict) { m["Version"] = 2 })},
		{"no version", "version 0", []byte("{}")},
		{"empty", "reading its memory", nil},
		{"cut off", "reading its memory", saved[:len(saved)/2]},
		{"wrong type", "reading its memory", changed(t, saved, func(m dict) { m["Apps"] = "none" })},
		{"negative epoch", "negative", changed(t, saved, func(m dict) { m["Epoch"] = -1 })},
		{"bad profile", "reading its profile 1", changed(t, saved, func(m dict) { m["Profiles"] = []any{dict{"Content": []byte("x")}} })},
		{"no enrollment profile", "no enrollment profile", changed(t, saved, enrollment("Profile", 1))},
		{"profile without server", "no server", changed(t, saved, func(m dict) {
			m["Profiles"] = []any{dict{"Content": configuration("test.wifi")}}
		})},
		{"short token", "no push token", changed(t, saved, enrollment("Token", []byte("short")))},
		{"no key", "identity's key", changed(t, saved, func(m dict) { m["Enrollment"].(dict)["Identity"].(dict)["Key"] = nil })},
		{"foreign certificate", "another key", changed(t, saved, func(m dict) {
			foreign := field(t, save(t, other), "Enrollment")["Identity"].(dict)["Certificate"]
			m["Enrollment"].(dict)["Identity"].(dict)["Certificate"] = foreign
		})},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			fresh := p.device()
			untouched := save(t, fresh)
			require.ErrorContains(t, fresh.Restore(c.saved), c.says)
			require.Equal(t, string(untouched), string(save(t, fresh)))
			require.NoError(t, fresh.Restore(saved))
			require.ErrorContains(t, fresh.Restore(saved), "memory already")
		})
	}
}

func save(t *testing.T, d *sim.Device) []byte {
	t.Helper()
	saved, err := d.Save()
	require.NoError(t, err)
	return saved
}

func changed(t *testing.T, saved []byte, change func(dict)) []byte {
	t.Helper()
	m := dict{}
	require.NoError(t, json.Unmarshal(saved, &m))
	change(m)
	return []byte(encoded(t, m))
}

func field(t *testing.T, saved []byte, name string) dict {
	t.Helper()
	m := dict{}
	require.NoError(t, json.Unmarshal(saved, &m))
	return m[name].(dict)
}

func encoded(t *testing.T, v any) string {
	t.Helper()
	raw, err := json.Marshal(v)
	require.NoError(t, err)
	return string(raw)
}
