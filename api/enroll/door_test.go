package enroll_test

import (
	"bytes"
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/micromdm/plist"
	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/api/enroll"
	"github.com/muster-mdm/muster/apple/identity"
	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/sim"
	"github.com/muster-mdm/muster/sim/appleschema/schemaflag"
)

func TestDeviceThatIsSwitchedOnEnrolls(t *testing.T) {
	h := build(t)
	d := h.virtual(serial)
	h.register(serial)
	require.NoError(t, d.PowerOn(t.Context(), h))
	require.Equal(t, provision.Managed, h.device(serial).Management())
	require.True(t, h.device(serial).InSetup())
	require.Contains(t, h.log.Take(), `msg="enrollment profile given" serial=`+serial+" product=iPad13,4 os_version=18.1")

	answer := h.knock(h.virtual(serial))
	require.Equal(t, http.StatusOK, answer.status)
	require.Equal(t, "application/x-apple-aspen-config", answer.header.Get("Content-Type"))
	require.Equal(t, "no-store", answer.header.Get("Cache-Control"))
	if schema, ok := schemaflag.Schema(t); ok {
		require.Empty(t, schema.CheckProfile(answer.body))
	}
	var profile struct{ PayloadOrganization, PayloadIdentifier string }
	require.NoError(t, plist.Unmarshal(answer.body, &profile))
	require.Equal(t, "Zylker", profile.PayloadOrganization)
	require.Equal(t, h.enroller.Identifier(), profile.PayloadIdentifier)
}

// seen is what an Apple Business Manager server says of the device.
func seen(state provision.ABMState) provision.Fact {
	kind := provision.ABMSeen
	if state != provision.ABMPresent && state != provision.ABMConflict {
		kind = provision.ABMGone
	}
	return provision.Fact{Kind: kind, ABM: &provision.ABMFact{Server: "school", State: state, Other: "other"}}
}

// R65: a device that may not enroll is told why and changes nothing; when the reason is gone it enrolls.
func TestDevicesThatMayNotEnrollAreToldWhyAndTryAgain(t *testing.T) {
	for name, tt := range map[string]struct {
		before, after []provision.Fact
		code, says    string
	}{
		"on hold": {
			[]provision.Fact{{Kind: provision.HoldRequest, Reason: "display is being replaced"}},
			[]provision.Fact{{Kind: provision.ResumeRequest}},
			"409 device_on_hold", "display is being replaced",
		},
		"in conflict": {
			[]provision.Fact{seen(provision.ABMConflict)},
			[]provision.Fact{seen(provision.ABMPresent)},
			"409 device_in_conflict", "Two Apple Business Manager servers",
		},
		"unassigned":        {[]provision.Fact{seen(provision.ABMUnassigned)}, []provision.Fact{seen(provision.ABMPresent)}, "409 device_off_abm", "was taken off this server"},
		"released by Apple": {[]provision.Fact{seen(provision.ABMReleased)}, []provision.Fact{seen(provision.ABMPresent)}, "409 device_off_abm", "was taken off this server"},
		"about to be released": {
			[]provision.Fact{{Kind: provision.ReleaseRequest, Reason: "end_of_life"}},
			[]provision.Fact{{Kind: provision.CancelRelease}},
			"409 device_released", "about to be",
		},
		"released": {[]provision.Fact{{Kind: provision.ReleaseRequest}, {Kind: provision.Released}}, nil, "409 device_released", "was released"},
	} {
		t.Run(name, func(t *testing.T) {
			h := build(t)
			h.register(serial, tt.before...)
			before := h.counted()
			answer := h.knock(h.virtual(serial))
			require.Equal(t, tt.code, answer.code())
			require.Equal(t, "application/problem+json", answer.header.Get("Content-Type"))
			require.Contains(t, string(answer.body), tt.says)
			require.Contains(t, h.log.Take(), "code="+strings.Fields(tt.code)[1]+" serial="+serial)
			require.Equal(t, before, h.counted())
			if tt.after == nil {
				return
			}
			h.register(serial, tt.after...)
			require.NoError(t, h.virtual(serial).PowerOn(t.Context(), h))
		})
	}
}

func TestDeviceThatWentMissingOrIsReservedMayEnroll(t *testing.T) {
	h := build(t)
	for i, facts := range [][]provision.Fact{
		{seen(provision.ABMPresent)},
		{seen(provision.ABMMissing)},
		{{Kind: provision.Assigned, Assignment: &provision.Assignment{Groups: []string{"g"}}}},
	} {
		s := serial[:len(serial)-1] + string(rune('A'+i))
		h.register(s, facts...)
		require.NoError(t, h.virtual(s).PowerOn(t.Context(), h), "%v", facts)
	}
}

func TestUnknownDeviceIsToldSoInApplesForm(t *testing.T) {
	h := build(t)
	before := h.counted()
	d := h.virtual(serial)
	answer := h.knock(d)
	require.Equal(t, "403 com.apple.unrecognized.device", answer.code())
	require.Equal(t, "application/json", answer.header.Get("Content-Type"))
	if schema, ok := schemaflag.Schema(t); ok {
		require.Empty(t, schema.CheckError(answer.body))
	}
	require.ErrorIs(t, d.PowerOn(t.Context(), h), sim.ErrUnrecognized)
	require.Equal(t, before, h.counted())
	require.Contains(t, h.log.Take(), "code=device_not_found serial="+serial)
}

// A withdrawn device is as unknown as one that never was; reserved again, it is welcome.
func TestWithdrawnDeviceIsUnknownUntilItIsReservedAgain(t *testing.T) {
	h := build(t)
	reserved := provision.Fact{Kind: provision.Assigned, Assignment: &provision.Assignment{Groups: []string{"g"}}}
	h.register(serial, reserved, provision.Fact{Kind: provision.Withdrawn})
	require.Equal(t, "403 com.apple.unrecognized.device", h.knock(h.virtual(serial)).code())
	_, err := h.enroller.EnrollmentProfile(t.Context(), serial)
	require.Equal(t, provision.DeviceNotFound, provision.CodeOf(err))
	h.register(serial, reserved)
	require.NoError(t, h.virtual(serial).PowerOn(t.Context(), h))
}

func oldest(settings ...string) func(*choices) {
	return func(c *choices) {
		var err error
		if c.door.MinimumOS, err = enroll.ParseMinimumOS(settings); err != nil {
			panic(err)
		}
	}
}

func TestOldDevicesUpdateFirst(t *testing.T) {
	h := build(t, oldest("ios=18.3"))
	h.register(serial)
	before := h.counted()
	answer := h.knock(h.virtual(serial))
	require.Equal(t, "403 com.apple.softwareupdate.required", answer.code())
	if schema, ok := schemaflag.Schema(t); ok {
		require.Empty(t, schema.CheckError(answer.body))
	}
	require.JSONEq(t, `{"code": "com.apple.softwareupdate.required", "details": {"OSVersion": "18.3"},
		"description": "Device C07Q853LG9RM has 18.1, and needs 18.3 or newer to enroll. Update it first.",
		"message": "This device needs version 18.3 to be set up for Zylker."}`, string(answer.body))
	for name, change := range map[string]func(*sim.Config){
		"can't be told to": func(c *sim.Config) { c.Faults.CannotUpdate = true }, "is too old for that": func(c *sim.Config) { c.OSVersion = "16.7" },
	} {
		answer = h.knock(h.virtual(serial, change))
		require.Equal(t, "403 os_too_old", answer.code(), name)
		require.Equal(t, "application/problem+json", answer.header.Get("Content-Type"))
	}
	require.Equal(t, before, h.counted())
	d := h.virtual(serial)
	require.NoError(t, d.PowerOn(t.Context(), h))
	require.Equal(t, "18.3", d.Snapshot().OSVersion)
	require.Equal(t, "18.3", h.text(`SELECT os_version FROM devices`))
}

// mode gives the device a profile with an activation mode, by way of its group, its server or itself.
func (h *house) mode(serial, by, mode string) {
	h.t.Helper()
	h.exec(`INSERT INTO device_profiles (name, activation_mode, fields, created_at, updated_at) VALUES ($1, $2, '{}', now(), now())`, by, mode)
	switch by {
	case "device":
		h.exec(`UPDATE devices SET device_profile = 'device' WHERE serial = $1`, serial)
	case "group":
		h.exec(`INSERT INTO groups (name, device_profile) VALUES ('g', 'group')`)
		h.register(serial, provision.Fact{Kind: provision.Assigned, Assignment: &provision.Assignment{Groups: []string{"g"}}})
	case "server":
		h.exec(`INSERT INTO abm_servers (name, sync_every, full_every, certificate, private_key, health_since, created_at, updated_at, default_profile)
			VALUES ('school', '1h', '1d', '', '', now(), now(), now(), 'server')`)
		h.register(serial, seen(provision.ABMPresent))
	}
}

func TestDeviceThatItsUserActivatesNeedsASignIn(t *testing.T) {
	for _, by := range []string{"device", "group", "server"} {
		t.Run(by, func(t *testing.T) {
			h := build(t)
			h.register(serial)
			h.mode(serial, by, "by_user")
			before := h.counted()
			require.Equal(t, "403 sign_in_required", h.knock(h.virtual(serial)).code())
			require.Equal(t, before, h.counted())
		})
	}
	h := build(t)
	h.register(serial)
	h.mode(serial, "device", "by_user")
	h.exec(`UPDATE device_profiles SET activation_mode = 'by_admin'`)
	require.NoError(t, h.virtual(serial).PowerOn(t.Context(), h))
}

// A device that its user activates is told first what signing in wouldn't help against.
func TestReasonsComeInOrder(t *testing.T) {
	h := build(t, oldest("ios=18.3"))
	h.register(serial, provision.Fact{Kind: provision.HoldRequest, Reason: "x"})
	h.mode(serial, "device", "by_user")
	require.Equal(t, "409 device_on_hold", h.knock(h.virtual(serial)).code())
	h.register(serial, provision.Fact{Kind: provision.ResumeRequest})
	require.Equal(t, "403 com.apple.softwareupdate.required", h.knock(h.virtual(serial)).code())
}

func TestServerThatCannotLetAnybodyIn(t *testing.T) {
	h := build(t, func(c *choices) { c.door.Machines = nil })
	h.register(serial)
	require.Equal(t, "503 enroll_anchors_missing", h.knock(h.virtual(serial)).code())
	h = build(t, func(c *choices) { c.noTopic = true })
	h.register(serial)
	before := h.counted()
	require.Equal(t, "503 push_certificate_missing", h.knock(h.virtual(serial)).code())
	require.Equal(t, before, h.counted())
	h.db.Close()
	answer := h.knock(h.virtual(serial))
	require.GreaterOrEqual(t, answer.status, 500)
	require.NotContains(t, string(answer.body), "closed", "what the driver says is for the log")
}

func TestInsecureDoorShouts(t *testing.T) {
	h := build(t, func(c *choices) { c.door.Machines = identity.NewInsecureMachines() })
	require.Contains(t, h.log.Take(), "level=WARN msg=\"INSECURE: machine information is believed from anybody")
	h.register(serial)
	other, err := sim.NewFactory()
	require.NoError(t, err)
	require.NoError(t, h.virtual(serial, func(c *sim.Config) { c.Factory = other }).PowerOn(t.Context(), h))
	require.Contains(t, h.log.Take(), "level=WARN msg=\"INSECURE: machine information believed without a certificate of Apple's\" serial="+serial)
}

func TestForgedMachineInfoIsRefusedAndChangesNothing(t *testing.T) {
	h := build(t)
	h.register(serial)
	victim := h.virtual("C07Q853LG9RX")
	h.register(victim.Serial())
	require.NoError(t, victim.PowerOn(t.Context(), h))
	other, err := sim.NewFactory()
	require.NoError(t, err)
	genuine, err := h.virtual(serial).MachineInfo()
	require.NoError(t, err)
	stranger, err := h.virtual(serial, func(c *sim.Config) { c.Factory = other }).MachineInfo()
	require.NoError(t, err)
	thief := h.virtual(serial, func(c *sim.Config) { c.UDID = victim.UDID() })
	stolen, err := thief.MachineInfo()
	require.NoError(t, err)
	unserial, err := h.virtual(serial).SignAsMade([]byte(`<?xml version="1.0"?><plist version="1.0"><dict><key>UDID</key><string>u</string></dict></plist>`))
	require.NoError(t, err)
	for name, tt := range map[string]struct {
		body []byte
		code string
		says string
	}{
		"nothing":             {nil, "403 machine_info_refused", "reading the message"},
		"not signed":          {[]byte("<?xml version=\"1.0\"?><plist/>"), "403 machine_info_refused", "reading the message"},
		"altered":             {bytes.Replace(genuine, []byte(serial), []byte("C07Q853LG9RX"), 1), "403 machine_info_refused", "verifying the signature"},
		"cut off":             {genuine[:len(genuine)-9], "403 machine_info_refused", "reading the message"},
		"another authority":   {stranger, "403 machine_info_refused", "trust anchor"},
		"no serial number":    {unserial, "403 machine_info_refused", "serial number"},
		"identifier of a foe": {stolen, "403 identity_refused", "belongs to another device"},
		"too large":           {make([]byte, 64<<10+1), "413 payload_too_large", "larger than 64 KiB"},
	} {
		before := h.counted()
		h.log.Take()
		answer := h.post(tt.body)
		require.Equal(t, tt.code, answer.code(), name)
		log := h.log.Take()
		require.Contains(t, log, `level=WARN msg="enrollment refused"`, name)
		require.Contains(t, log, tt.says, name)
		if tt.code != "403 identity_refused" {
			require.NotContains(t, log, "serial=", "%s: nobody has vouched for it", name)
		}
		require.Equal(t, before, h.counted(), name)
	}
	require.Equal(t, provision.Managed, h.device(victim.Serial()).Management())
}

// What was kept of another day is refused; what is sent again at once is answered, by a profile with a challenge of its own.
func TestReplayedMachineInfo(t *testing.T) {
	now := time.Now()
	f, err := factory()
	require.NoError(t, err)
	m, err := identity.NewMachines(f.AnchorsPEM())
	require.NoError(t, err)
	h := build(t, func(c *choices) { c.door.Machines = m.At(func() time.Time { return now }) })
	h.register(serial)
	message, err := h.virtual(serial).MachineInfo()
	require.NoError(t, err)
	first, second := h.post(message), h.post(message)
	require.Equal(t, []int{200, 200}, []int{first.status, second.status}, "an answer may get lost")
	require.NotEqual(t, first.body, second.body)
	d := h.virtual(serial)
	require.NoError(t, d.Enroll(t.Context(), second.body))
	before := h.counted()
	require.Error(t, h.virtual(serial).Prepare(t.Context(), first.body), "the device has enrolled; what was handed out before is void")
	require.Error(t, h.virtual(serial).Prepare(t.Context(), second.body), "a challenge works once")
	require.Equal(t, before, h.counted())

	now = now.Add(25 * time.Hour)
	require.Equal(t, "403 machine_info_refused", h.post(message).code())
	require.Contains(t, h.log.Take(), "was signed at")
	require.Equal(t, before, h.counted())
}

func TestWhoAsksTooOftenIsSlowedDown(t *testing.T) {
	h := build(t)
	h.register(serial)
	h.register("C07Q853LG9RX")
	d := h.virtual(serial)
	for range 6 {
		require.Equal(t, 200, h.knock(d).status)
	}
	before := h.counted()
	answer := h.knock(d)
	require.Equal(t, "429 rate_limited", answer.code())
	require.NotEmpty(t, answer.header.Get("Retry-After"))
	require.Equal(t, before, h.counted())
	require.Equal(t, 200, h.knock(h.virtual("C07Q853LG9RX")).status, "others go on")
}

func TestWebViewSaysWhichDeviceItIsIn(t *testing.T) {
	h := build(t)
	message, err := h.virtual(serial).MachineInfo()
	require.NoError(t, err)
	visit := func(header string) (identity.MachineInfo, error) {
		r := httptest.NewRequest(http.MethodGet, "/enroll/sign-in", http.NoBody)
		r.Header.Set("x-apple-aspen-deviceinfo", header)
		return h.door.OpenHeader(r)
	}
	m, err := visit(base64.StdEncoding.EncodeToString(message))
	require.NoError(t, err)
	require.Equal(t, serial, m.Serial)
	for _, header := range []string{"", "hello", base64.StdEncoding.EncodeToString(message[1:])} {
		_, err = visit(header)
		require.Equal(t, provision.MachineInfoRefused, provision.CodeOf(err), header)
		w := httptest.NewRecorder()
		h.door.Refuse(w, httptest.NewRequest(http.MethodGet, "/enroll/sign-in", http.NoBody), m, err)
		require.Equal(t, http.StatusForbidden, w.Code)
	}
}

func TestDoorTakesPostsOnly(t *testing.T) {
	h := build(t)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, h.server.URL+"/enroll", http.NoBody)
	require.NoError(t, err)
	answer := h.send(r)
	require.Equal(t, "405 method_not_allowed", answer.code())
	require.Equal(t, "POST", answer.header.Get("Allow"))
}

func TestOutcomesAreCounted(t *testing.T) {
	h := build(t)
	h.register(serial)
	h.knock(h.virtual(serial))
	h.knock(h.virtual("C07Q853LG9RX"))
	h.post(nil)
	families, err := h.metrics.Gather()
	require.NoError(t, err)
	counted := map[string]float64{}
	for _, m := range families[0].GetMetric() {
		counted[m.GetLabel()[0].GetValue()] = m.GetCounter().GetValue()
	}
	require.Equal(t, map[string]float64{"profile": 1, "device_not_found": 1, "machine_info_refused": 1}, counted)
	_, err = enroll.NewDoor(h.enroller, h.db, enroll.DoorConfig{Metrics: h.metrics})
	require.Error(t, err)
}
