package enroll_test

import (
	"encoding/base64"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/micromdm/plist"
	"github.com/smallstep/pkcs7"
	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/sim"
)

type dict = map[string]any

// silently has a device just use a renewed identity.
func silently(c *sim.Config) { c.SilentRenewal = true }

// enrolled is a virtual device that was switched on, and whose connect loop runs.
func (h *house) enrolled(serial string, change ...func(*sim.Config)) *sim.Device {
	h.t.Helper()
	h.register(serial)
	d := h.virtual(serial, change...)
	h.run(d)
	require.NoError(h.t, d.PowerOn(h.t.Context(), h))
	return d
}

// renew has a device renew, as the worker does, and waits until that is done.
func (h *house) renew(d *sim.Device) {
	h.t.Helper()
	before := d.Snapshot().Identity
	sent, err := h.enroller.Renew(h.t.Context(), d.Serial())
	require.NoError(h.t, err)
	require.True(h.t, sent)
	require.NoError(h.t, h.pusher.Push(h.t.Context(), d.UDID()))
	h.eventually("renewed identity", func() bool {
		return h.text(`SELECT count(*)::text FROM identities i JOIN devices d ON d.identity = i.sha256 WHERE i.sha256 = $1 AND i.sha256 <> $2`, d.Snapshot().Identity, before) == "1" &&
			h.status(d, provision.IdentityRenewal) == "Acknowledged"
	})
}

// status is how the newest command of a kind was answered.
func (h *house) status(d *sim.Device, name string) string {
	h.t.Helper()
	return h.text(`SELECT coalesce((SELECT status FROM device_commands WHERE serial = $1 AND name = $2 ORDER BY epoch DESC, attempt DESC LIMIT 1), '')`, d.Serial(), name)
}

// signing keeps the identity that a device has now.
func signing(h *house, d *sim.Device) func([]byte) string {
	h.t.Helper()
	cert, private := d.Identity()
	return func(body []byte) string {
		signed, err := pkcs7.NewSignedData(body)
		require.NoError(h.t, err)
		signed.SetDigestAlgorithm(pkcs7.OIDDigestAlgorithmSHA256)
		require.NoError(h.t, signed.AddSigner(cert, private, pkcs7.SignerInfoConfig{}))
		signed.Detach()
		der, err := signed.Finish()
		require.NoError(h.t, err)
		return base64.StdEncoding.EncodeToString(der)
	}
}

// say sends a message as the device would.
func (h *house) say(sign func([]byte) string, media string, d dict) reply {
	h.t.Helper()
	body, err := plist.Marshal(d)
	require.NoError(h.t, err)
	r, err := http.NewRequestWithContext(h.t.Context(), http.MethodPut, h.server.URL+"/mdm", strings.NewReader(string(body)))
	require.NoError(h.t, err)
	r.Header.Set("Content-Type", media)
	r.Header.Set("Mdm-Signature", sign(body))
	return h.send(r)
}

const (
	checkinMedia = "application/x-apple-aspen-mdm-checkin"
	answerMedia  = "application/x-apple-aspen-mdm"
)

func idle(d *sim.Device) dict { return dict{"UDID": d.UDID(), "Status": "Idle"} }

func TestRenewalIsNoNewEpoch(t *testing.T) {
	for name, change := range map[string]func(*sim.Config){
		"the device authenticates": func(*sim.Config) {}, "the device just goes on": silently,
		"with lost messages": func(c *sim.Config) {
			c.Faults = sim.Faults{LoseRequest: 0.5, LoseAnswer: 0.5, RepeatAnswer: 1, Limit: 3}
		},
		"silent, with lost messages": func(c *sim.Config) {
			silently(c)
			c.Faults = sim.Faults{LoseRequest: 0.5, LoseAnswer: 0.5, NotNow: 1, NotNowFor: sim.Span{Min: time.Millisecond}, Limit: 2}
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := build(t)
			d := h.enrolled(serial, change)
			h.bring(serial)
			h.apply(serial)
			old := signing(h, d)
			before := h.device(serial)
			h.renew(d)
			after := h.device(serial)
			require.Equal(t, before.Activation, after.Activation)
			require.Equal(t, before.Plan, after.Plan)
			require.Equal(t, []string{"identity_renewed"}, slices.DeleteFunc(h.kinds(serial), func(k string) bool { return k != "identity_renewed" }))
			h.eventually("rest of the plan", func() bool { // what was queued stayed queued
				require.NoError(t, h.pusher.Push(t.Context(), d.UDID()))
				return h.device(serial).Verdict().RequiredLeft == 0
			})
			require.Equal(t, "1", h.text(`SELECT count(*)::text FROM identities WHERE revoked_at IS NULL`))
			require.Equal(t, "400 identity_refused", h.say(old, answerMedia, idle(d)).code(), "the old one ended")
			require.Equal(t, 200, h.say(signing(h, d), answerMedia, idle(d)).status)

			h.renew(d)
			require.Equal(t, 1, h.device(serial).Activation.Epoch)
			require.Equal(t, "1", h.text(`SELECT count(*)::text FROM identities WHERE revoked_at IS NULL`))
			require.NoError(t, h.pusher.Push(t.Context(), d.UDID()), "the push token is good as before")
		})
	}
}

// bring fills a group with a configuration and an app and gives it to the device.
func (h *house) bring(serial string) {
	h.t.Helper()
	h.exec(`INSERT INTO configurations (name, content, identifier) VALUES ('wifi', 1, 'com.example.wifi') ON CONFLICT DO NOTHING`)
	h.exec(`INSERT INTO configuration_contents (name, content, identifier, payload) VALUES ('wifi', 1, 'com.example.wifi', $1) ON CONFLICT DO NOTHING`, []byte(wifi))
	h.exec(`INSERT INTO apps (name, bundle_id, store_id) VALUES ('pages', 'com.example.pages', 361309726) ON CONFLICT DO NOTHING`)
	h.exec(`INSERT INTO groups (name) VALUES ('drivers') ON CONFLICT DO NOTHING`)
	h.exec(`INSERT INTO group_items (group_name, position, kind, configuration_name, stage) VALUES ('drivers', 1, 'configuration', 'wifi', 'before_release') ON CONFLICT DO NOTHING`)
	h.exec(`INSERT INTO group_items (group_name, position, kind, app_name, stage) VALUES ('drivers', 2, 'app', 'pages', 'required') ON CONFLICT DO NOTHING`)
	h.register(serial, provision.Fact{
		Kind: provision.Assigned, Assignment: &provision.Assignment{Groups: []string{"drivers"}, Requirement: provision.RequireUserOrG},
	})
}

const wifi = `<?xml version="1.0" encoding="UTF-8"?>
<plist version="1.0"><dict>
<key>PayloadType</key><string>Configuration</string><key>PayloadVersion</key><integer>1</integer>
<key>PayloadIdentifier</key><string>com.example.wifi</string><key>PayloadUUID</key><string>7B1D1C4E-5B0C-5F5C-8E1D-1A2B3C4D5E6F</string>
<key>PayloadContent</key><array><dict>
<key>PayloadType</key><string>com.apple.wifi.managed</string><key>PayloadVersion</key><integer>1</integer>
<key>PayloadIdentifier</key><string>com.example.wifi.1</string><key>PayloadUUID</key><string>8C2D1C4E-5B0C-5F5C-8E1D-1A2B3C4D5E6F</string>
<key>SSID_STR</key><string>depot</string>
</dict></array>
</dict></plist>`

func (h *house) apply(serial string) {
	h.t.Helper()
	_, err := h.db.Apply(h.t.Context(), serial, h.device(serial).Plan.By, 1, h.enroller.Identifier())
	require.NoError(h.t, err)
}

// A device that was set up anew while it was to renew has begun a new enrollment, and the renewal of the old one is void.
func TestDeviceThatIsResetInsteadOfRenewing(t *testing.T) {
	h := build(t)
	h.register(serial)
	d := h.virtual(serial)
	require.NoError(t, d.PowerOn(t.Context(), h))
	sent, err := h.enroller.Renew(t.Context(), serial)
	require.NoError(t, err)
	require.True(t, sent)
	profile := h.renewalProfile(serial)
	d.Reset()
	require.NoError(t, d.PowerOn(t.Context(), h))
	require.Equal(t, 2, h.device(serial).Activation.Epoch)
	before := h.counted()
	require.Error(t, h.virtual(serial).Prepare(t.Context(), profile), "its challenge renews an enrollment that is over")
	require.Equal(t, before, h.counted())
	h.run(d)
	h.renew(d)
	require.Equal(t, 2, h.device(serial).Activation.Epoch)
}

// renewalProfile is the profile that was queued last to renew a certificate.
func (h *house) renewalProfile(serial string) []byte {
	h.t.Helper()
	var command struct {
		Command struct{ Payload []byte }
	}
	raw := h.text(`SELECT n.command FROM nanomdm.commands n JOIN device_commands c USING (command_uuid)
		WHERE c.serial = $1 AND c.name = 'identity_renewal' ORDER BY c.epoch DESC, c.attempt DESC LIMIT 1`, serial)
	require.NoError(h.t, plist.Unmarshal([]byte(raw), &command))
	return command.Command.Payload
}

// Whoever installs the profile of a renewal elsewhere gets a certificate that opens nothing and ends nothing.
func TestCertificateOfARenewalIsForItsEnrollmentOnly(t *testing.T) {
	h := build(t)
	h.register(serial)
	d := h.virtual(serial)
	require.NoError(t, d.PowerOn(t.Context(), h))
	_, err := h.enroller.Renew(t.Context(), serial)
	require.NoError(t, err)
	profile := h.renewalProfile(serial)

	other := h.virtual("C07Q853LG9RX")
	require.NoError(t, other.Prepare(t.Context(), profile))
	before := h.counted()
	require.ErrorContains(t, other.Authenticate(t.Context()), "400", "under another identifier")
	require.Equal(t, "400 identity_refused", h.say(signing(h, other), answerMedia, idle(other)).code())
	require.Equal(t, before, h.counted())

	stranger := signing(h, other)
	require.NoError(t, d.CheckOut(t.Context()))
	before = h.counted()
	require.Equal(t, "400 identity_refused", h.say(stranger, answerMedia, idle(d)).code())
	require.Equal(t, "400 identity_refused", h.say(stranger, checkinMedia, dict{"MessageType": "Authenticate", "UDID": d.UDID(), "Topic": topic}).code())
	require.Equal(t, before, h.counted())
}

// A renewal that fails half-way leaves the certificate that the device has, and is tried again with a new challenge.
func TestRenewalThatFails(t *testing.T) {
	h := build(t)
	d := h.enrolled(serial)
	_, err := h.enroller.Renew(t.Context(), serial)
	require.NoError(t, err)
	sent, err := h.enroller.Renew(t.Context(), serial)
	require.NoError(t, err)
	require.False(t, sent, "the device has yet to answer")
	h.exec(`UPDATE enrollment_challenges SET expires_at = now() - interval '1 hour' WHERE renews IS NOT NULL`)
	require.NoError(t, h.pusher.Push(t.Context(), d.UDID()))
	h.eventually("refused renewal", func() bool { return h.status(d, provision.IdentityRenewal) == "Error" })
	require.Equal(t, 200, h.say(signing(h, d), answerMedia, idle(d)).status)
	require.Contains(t, h.log.Take(), `msg="command failed on device" serial=`+serial+` command=InstallProfile item=builtin/identity_renewal`)
	h.renew(d)
	require.Equal(t, "2", h.text(`SELECT count(*)::text FROM device_commands WHERE name = 'identity_renewal'`))
}

func TestOutstandingRenewalWithADeadChallengeIsReplaced(t *testing.T) {
	h := build(t)
	h.register(serial)
	d := h.virtual(serial)
	require.NoError(t, d.PowerOn(t.Context(), h))
	_, err := h.enroller.Renew(t.Context(), serial)
	require.NoError(t, err)
	h.exec(`UPDATE enrollment_challenges SET expires_at = now() - interval '1 hour' WHERE renews IS NOT NULL`)
	sent, err := h.enroller.Renew(t.Context(), serial)
	require.NoError(t, err)
	require.True(t, sent)
	require.Equal(t, "Superseded,", h.text(`SELECT string_agg(status, ',' ORDER BY attempt) FROM device_commands WHERE name = 'identity_renewal'`))
	h.run(d)
	require.NoError(t, h.pusher.Push(t.Context(), d.UDID()))
	h.eventually("renewal", func() bool { return h.status(d, provision.IdentityRenewal) == "Acknowledged" })
	require.Len(t, slices.DeleteFunc(d.Log(), func(e sim.LogEntry) bool { return e.RequestType != "InstallProfile" }), 1)
}

// The certificates before the one in use end when the device has said that it is done, and not before: one that fails after it
// has used the new one falls back.
func TestOldCertificateIsGoodUntilTheRenewalIsAcknowledged(t *testing.T) {
	h := build(t)
	h.register(serial)
	d := h.virtual(serial)
	require.NoError(t, d.PowerOn(t.Context(), h))
	_, err := h.enroller.Renew(t.Context(), serial)
	require.NoError(t, err)
	twin := h.virtual(serial) // the same device, as it would be after the renewal
	require.NoError(t, twin.Prepare(t.Context(), h.renewalProfile(serial)))
	old, renewed := signing(h, d), signing(h, twin)
	for range 2 {
		require.Equal(t, 200, h.say(renewed, checkinMedia, dict{"MessageType": "Authenticate", "UDID": d.UDID(), "Topic": topic, "SerialNumber": serial}).status)
		require.Equal(t, 200, h.say(old, answerMedia, idle(d)).status)
	}
	require.Equal(t, []string{"identity_renewed"}, h.kinds(serial)[3:])
	require.Equal(t, twin.Snapshot().Identity, h.text(`SELECT identity FROM devices`), "what is older doesn't come back into use")
	uuid := h.text(`SELECT command_uuid FROM device_commands WHERE name = 'identity_renewal'`)
	require.Equal(t, 200, h.say(renewed, answerMedia, dict{"UDID": d.UDID(), "CommandUUID": uuid, "Status": "Acknowledged"}).status)
	require.Equal(t, "400 identity_refused", h.say(old, answerMedia, idle(d)).code())
	require.Equal(t, 200, h.say(renewed, answerMedia, idle(d)).status)
}

// A device that answers by its old certificate and changes over afterwards.
func TestAcknowledgedFirstAndUsedLater(t *testing.T) {
	h := build(t)
	h.register(serial)
	d := h.virtual(serial)
	require.NoError(t, d.PowerOn(t.Context(), h))
	_, err := h.enroller.Renew(t.Context(), serial)
	require.NoError(t, err)
	twin := h.virtual(serial)
	require.NoError(t, twin.Prepare(t.Context(), h.renewalProfile(serial)))
	old, renewed := signing(h, d), signing(h, twin)
	uuid := h.text(`SELECT command_uuid FROM device_commands WHERE name = 'identity_renewal'`)
	require.Equal(t, 200, h.say(old, answerMedia, dict{"UDID": d.UDID(), "CommandUUID": uuid, "Status": "Acknowledged"}).status)
	require.Equal(t, 200, h.say(old, answerMedia, idle(d)).status)
	require.Equal(t, 200, h.say(renewed, answerMedia, idle(d)).status)
	require.Equal(t, "400 identity_refused", h.say(old, answerMedia, idle(d)).code())
}

func TestWhoMayNotBeSentAnythingDoesNotRenew(t *testing.T) {
	h := build(t)
	h.register(serial)
	d := h.virtual(serial)
	renew := func() bool {
		sent, err := h.enroller.Renew(t.Context(), serial)
		require.NoError(t, err)
		return sent
	}
	require.False(t, renew(), "not enrolled")
	require.NoError(t, d.PowerOn(t.Context(), h))
	h.register(serial, provision.Fact{Kind: provision.HoldRequest, Reason: "x"})
	require.False(t, renew())
	h.register(serial, provision.Fact{Kind: provision.ResumeRequest})
	require.True(t, renew())
	require.NoError(t, d.CheckOut(t.Context()))
	require.False(t, renew())
	_, err := h.enroller.Renew(t.Context(), "C07Q853LG9RX")
	require.Equal(t, provision.DeviceNotFound, provision.CodeOf(err))
}
