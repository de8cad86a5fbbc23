package abm_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/micromdm/nanodep/godep"
	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/sim"
	"github.com/muster-mdm/muster/sim/abm"
)

func profile() *godep.ProfileJson {
	yes, title, url, web := true, "Muster", "https://mdm.example/enroll", "https://mdm.example/sign-in"
	return &godep.ProfileJson{
		ProfileName: &title, Url: &url, ConfigurationWebUrl: &web, OrgMagic: "magic", IsSupervised: &yes, AwaitDeviceConfigured: &yes,
		IsMandatory: &yes, SkipSetupItems: []string{"Siri"},
	}
}

// define defines a profile and assigns it to the serials.
func (d *dep) define(serials ...string) (uuid string) {
	d.t.Helper()
	wanted := profile()
	wanted.Devices = serials
	answer, err := d.DefineProfile(d.t.Context(), name, wanted)
	require.NoError(d.t, err)
	for _, serial := range serials {
		require.Equal(d.t, "SUCCESS", string(answer.Devices[serial]))
	}
	return *answer.ProfileUuid
}

type assigned struct {
	Devices    map[string]string `json:"devices"`
	RetryAfter *int              `json:"retry_after_seconds"`
}

// assign reads what nanodep's own struct leaves out.
func (d *dep) assign(method, uuid string, serials ...string) assigned {
	d.t.Helper()
	var answer assigned
	body := map[string]any{"profile_uuid": uuid, "devices": serials}
	require.NoError(d.t, d.Do(d.t.Context(), name, method, "/profile/devices", body, &answer))
	return answer
}

func TestAProfilesLife(t *testing.T) {
	p := open(t, abm.Config{})
	serials := p.addNew(p.server.ID, 2)
	serial := serials[0]
	d := p.link(p.server.ID, 10)
	_, cursor := d.all(10)
	status := func() (string, string) {
		one := d.fetch().Devices
		i := slices.IndexFunc(one, func(j godep.DeviceJson) bool { return j.SerialNumber == serial })
		if one[i].ProfileUuid == nil {
			return string(*one[i].ProfileStatus), ""
		}
		return string(*one[i].ProfileStatus), *one[i].ProfileUuid
	}
	uuid := d.define()
	got, _ := status()
	require.Equal(t, "empty", got)
	_, promised := p.Activate(serial)
	require.False(t, promised)

	answer, err := d.AssignProfile(t.Context(), name, uuid, serial, "NOBODY")
	require.NoError(t, err)
	require.Equal(t, "SUCCESS", string(answer.Devices[serial]))
	require.Equal(t, "NOT_ACCESSIBLE", string(answer.Devices["NOBODY"]))
	got, of := status()
	require.Equal(t, [2]string{"assigned", uuid}, [2]string{got, of})

	shown, ok := p.ProfileFor(serial)
	require.True(t, ok)
	require.Equal(t, "https://mdm.example/enroll", shown.URL)
	require.Equal(t, "https://mdm.example/sign-in", shown.WebURL)
	require.True(t, shown.Await && shown.Mandatory && shown.Supervised)
	require.Equal(t, []string{"Siri"}, shown.SkipSetup)
	require.Equal(t, p.server.ID, shown.ServerID)
	_, ok = p.ProfileFor(serials[1])
	require.False(t, ok)
	_, ok = p.ProfileFor("NOBODY")
	require.False(t, ok)

	_, ok = p.Activate(strings.ToLower(serial))
	require.True(t, ok)
	got, of = status()
	require.Equal(t, [2]string{"pushed", uuid}, [2]string{got, of})

	removed, err := d.RemoveProfile(t.Context(), name, serial, "NOBODY")
	require.NoError(t, err)
	require.Equal(t, "SUCCESS", string(removed.Devices[serial]))
	require.Equal(t, "NOT_ACCESSIBLE", string(removed.Devices["NOBODY"]))
	got, of = status()
	require.Equal(t, [2]string{"removed", ""}, [2]string{got, of})
	news, _ := d.news(cursor)
	require.Equal(t, slices.Repeat([]string{"modified " + serial}, 3), news, "assigned, pushed, removed")
}

func TestProfileIsKeptWordForWord(t *testing.T) {
	p := open(t, abm.Config{})
	d := p.link(p.server.ID, 10)
	uuid := d.define(p.addNew(p.server.ID, 1)...)
	got, err := d.GetProfile(t.Context(), name, uuid)
	require.NoError(t, err)
	require.Equal(t, uuid, *got.ProfileUuid)
	require.Equal(t, "Muster", *got.ProfileName)
	require.Empty(t, got.Devices)
	require.Equal(t, "magic", got.OrgMagic)

	_, err = d.GetProfile(t.Context(), name, "")
	requireRefused(t, err, 400, "PROFILE_UUID_REQUIRED")
	_, err = d.GetProfile(t.Context(), name, "NONE")
	requireRefused(t, err, 404, "NOT_FOUND")
	other := p.link(p.AddServer(abm.Server{}).ID, 10)
	_, err = other.GetProfile(t.Context(), name, uuid)
	requireRefused(t, err, 404, "NOT_FOUND")
}

func TestProfileRules(t *testing.T) {
	p := open(t, abm.Config{})
	d := p.link(p.server.ID, 10)
	long := strings.Repeat("ü", 257)
	for _, c := range []struct {
		field string
		value any
		code  string
	}{
		{"profile_name", nil, "CONFIG_NAME_REQUIRED"},
		{"profile_name", "", "CONFIG_NAME_INVALID"},
		{"profile_name", long, "CONFIG_NAME_INVALID"},
		{"url", nil, "CONFIG_URL_REQUIRED"},
		{"url", "", "CONFIG_URL_INVALID"},
		{"url", "mdm.example", "CONFIG_URL_INVALID"},
		{"url", "https://mdm.example/" + strings.Repeat("a", 2000), "CONFIG_URL_INVALID"},
		{"configuration_web_url", "nowhere", "CONFIG_URL_INVALID"},
		{"org_magic", long, "MAGIC_INVALID"},
		{"department", long, "DEPARTMENT_INVALID"},
		{"support_phone_number", long, "SUPPORT_PHONE_INVALID"},
		{"support_email_address", long, "SUPPORT_EMAIL_INVALID"},
		{"is_mdm_removable", false, "FLAGS_INVALID"},
		{"region", "US", "LOCALE_INVALID"},
		{"language", "english", "LOCALE_INVALID"},
	} {
		fields := map[string]any{"profile_name": "x", "url": "https://mdm.example", c.field: c.value}
		if c.value == nil {
			delete(fields, c.field)
		}
		requireRefused(t, d.Do(t.Context(), name, "POST", "/profile", fields, nil), 400, c.code)
	}
	fine := map[string]any{"profile_name": "x", "url": "https://mdm.example", "is_mdm_removable": false, "is_supervised": true, "language": "en", "region": "US"}
	require.NoError(t, d.Do(t.Context(), name, "POST", "/profile", fine, nil))
}

func TestAssignmentRefusals(t *testing.T) {
	p := open(t, abm.Config{})
	serials := p.addNew(p.server.ID, 1)
	d := p.link(p.server.ID, 10)
	uuid := d.define()
	_, err := d.AssignProfile(t.Context(), name, uuid)
	requireRefused(t, err, 400, "DEVICE_ID_REQUIRED")
	_, err = d.AssignProfile(t.Context(), name, "", serials...)
	requireRefused(t, err, 400, "PROFILE_UUID_REQUIRED")
	_, err = d.AssignProfile(t.Context(), name, "NONE", serials...)
	requireRefused(t, err, 404, "NOT_FOUND")
	_, err = d.AssignProfile(t.Context(), name, uuid, slices.Repeat(serials, 1001)...)
	requireRefused(t, err, 400, "MALFORMED_REQUEST_BODY")
	_, err = d.RemoveProfile(t.Context(), name)
	requireRefused(t, err, 400, "DEVICE_ID_REQUIRED")
	require.Equal(t, "SUCCESS", d.assign("POST", uuid, serials...).Devices[serials[0]], "the documents' method")
	require.Equal(t, "SUCCESS", d.assign("PUT", uuid, serials...).Devices[serials[0]], "the clients' method")
}

func TestThrottledDevices(t *testing.T) {
	p := open(t, abm.Config{})
	serials := p.addNew(p.server.ID, 3)
	newer, middle, old := p.link(p.server.ID, 10), p.link(p.server.ID, 9), p.link(p.server.ID, 8)
	newest := p.download(p.server.ID)
	for _, d := range []*dep{newer, middle, old} {
		d.tokens.set(newest)
	}
	uuid := newer.define()
	p.SetFaults(abm.Fault{Kind: abm.FaultThrottled, Share: 1, Path: serials[0], Times: 1, Seconds: 90})

	require.Equal(t, "SUCCESS", old.assign("PUT", uuid, serials[0]).Devices[serials[0]], "version 8 knows no throttling")
	answer := newer.assign("PUT", uuid, serials...)
	require.Equal(t, "THROTTLED", answer.Devices[serials[0]])
	require.Equal(t, "SUCCESS", answer.Devices[serials[1]])
	require.Equal(t, 90, *answer.RetryAfter)
	require.Nil(t, newer.assign("PUT", uuid, serials[1]).RetryAfter, "nobody is throttled")
	require.Zero(t, p.Counts().Impatient)

	p.Jump(30 * time.Second)
	answer = middle.assign("PUT", uuid, serials[0])
	require.Equal(t, "THROTTLED", answer.Devices[serials[0]])
	require.Nil(t, answer.RetryAfter, "retry_after_seconds needs version 10")
	require.Equal(t, 1, p.Counts().Impatient)
	p.Jump(time.Minute + time.Second)
	require.Equal(t, "SUCCESS", newer.assign("PUT", uuid, serials[0]).Devices[serials[0]])
	require.Equal(t, 1, p.Counts().Impatient)
}

func TestPerSerialFailures(t *testing.T) {
	p := open(t, abm.Config{})
	serials := p.addNew(p.server.ID, 3)
	d := p.link(p.server.ID, 10)
	uuid := d.define()
	p.SetFaults(
		abm.Fault{Kind: abm.FaultAssignFailed, Share: 1, Path: serials[0], Times: 1},
		abm.Fault{Kind: abm.FaultAssignInaccessible, Share: 1, Path: serials[1], Times: 1},
	)
	want := map[string]string{serials[0]: "FAILED", serials[1]: "NOT_ACCESSIBLE", serials[2]: "SUCCESS"}
	require.Equal(t, want, d.assign("PUT", uuid, serials...).Devices)
	for _, serial := range serials {
		require.Equal(t, "SUCCESS", d.assign("PUT", uuid, serial).Devices[serial])
	}
}

func TestAProfileOfWrongTypesServesNoDevice(t *testing.T) {
	p := open(t, abm.Config{})
	serials := p.addNew(p.server.ID, 1)
	d := p.link(p.server.ID, 10)
	odd := json.RawMessage(`{"profile_name":"x","url":"https://mdm.example","skip_setup_items":"Siri","devices":["` + serials[0] + `"]}`)
	require.NoError(t, d.Do(t.Context(), name, "POST", "/profile", odd, nil))
	_, ok := p.Activate(serials[0])
	require.False(t, ok)
}

func TestDevicesLearnWhereToEnroll(t *testing.T) {
	p := open(t, abm.Config{})
	serials := p.addNew(p.server.ID, 2)
	d := p.link(p.server.ID, 10)
	_, err := d.AssignProfile(t.Context(), name, d.define(), serials[0])
	require.NoError(t, err)
	told, ok := p.ForDevices().Activate(serials[0])
	require.True(t, ok)
	require.Equal(t, sim.Activation{
		URL: "https://mdm.example/enroll", WebURL: "https://mdm.example/sign-in", Await: true, Supervised: true,
	}, told)
	_, ok = p.ForDevices().Activate(serials[1])
	require.False(t, ok)
	shown, _ := p.Device(serials[0])
	require.Equal(t, abm.ProfilePushed, shown.ProfileStatus)
}
