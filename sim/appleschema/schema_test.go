package appleschema_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/micromdm/plist"
	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/sim/appleschema"
	"github.com/muster-mdm/muster/sim/appleschema/schemaflag"
)

type dict = map[string]any

func own(t *testing.T) *appleschema.Schema {
	t.Helper()
	s, err := appleschema.Load(filepath.Join("testdata", "schema"))
	require.NoError(t, err)
	return s
}

func body(t *testing.T, d any) []byte {
	t.Helper()
	raw, err := plist.Marshal(d)
	require.NoError(t, err)
	return raw
}

// problems gives path and problem of each violation.
func problems(found []appleschema.Violation) []string {
	out := []string{}
	for _, v := range found {
		out = append(out, v.Path+": "+v.Problem)
	}
	return out
}

func with(base dict, key string, value any) dict {
	out := dict{}
	for k, v := range base {
		out[k] = v
	}
	if value == nil {
		delete(out, key)
	} else {
		out[key] = value
	}
	return out
}

func TestCheckins(t *testing.T) {
	hello := dict{"MessageType": "Hello", "UDID": "u"}
	user := appleschema.Platform{OS: "iOS", UserEnrollment: true}
	shared := appleschema.Platform{OS: "iOS", SharedIPad: true}
	for name, c := range map[string]struct {
		platform appleschema.Platform
		body     dict
		want     []string
	}{
		"as it should be":        {appleschema.IOS, hello, []string{}},
		"unknown message":        {appleschema.IOS, with(hello, "MessageType", "Bye"), []string{"MessageType: unknown message"}},
		"no identity":            {appleschema.IOS, with(hello, "UDID", nil), []string{"UDID: required key is missing", "UDID: the sender names itself by no UDID"}},
		"unknown key":            {appleschema.IOS, with(hello, "Extra", "x"), []string{"Extra: unknown key"}},
		"not on this system":     {appleschema.IOS, with(hello, "LongName", "x"), []string{"LongName: key is not available on iOS"}},
		"other channel":          {appleschema.IOS, with(hello, "OnConsole", true), []string{"OnConsole: key is only for the user channel"}},
		"other enrollment":       {appleschema.IOS, with(hello, "EnrollmentID", "x"), []string{"EnrollmentID: key is only for user enrollment"}},
		"shared iPad only":       {appleschema.IOS, with(hello, "ShortName", "x"), []string{"ShortName: key is only for Shared iPad"}},
		"removed for good":       {appleschema.IOS, with(hello, "Never", "x"), []string{"Never: key is removed from iOS"}},
		"wrong type":             {appleschema.IOS, with(hello, "Secret", "x"), []string{"Secret: is string instead of data"}},
		"user enrollment":        {user, dict{"MessageType": "Hello", "EnrollmentID": "e"}, []string{}},
		"user enrollment's UDID": {user, dict{"MessageType": "Hello", "EnrollmentID": "e", "UDID": "u"}, []string{"UDID: key is forbidden in user enrollment"}},
		"shared iPad":            {shared, with(hello, "ShortName", "x"), []string{}},
		"shared iPad's secret":   {shared, with(hello, "Secret", []byte("x")), []string{"Secret: key is forbidden on Shared iPad"}},
		"user channel":           {appleschema.Platform{OS: "iOS", UserChannel: true}, hello, []string{"OnConsole: required key is missing"}},
		"before its time":        {appleschema.Platform{OS: "iOS", Version: "16.3.1"}, with(hello, "Newer", "x"), []string{"Newer: key is introduced in iOS 16.4"}},
		"in its time":            {appleschema.Platform{OS: "iOS", Version: "16.4"}, with(hello, "Newer", "x"), []string{}},
		"after its time":         {appleschema.Platform{OS: "iOS", Version: "16.4"}, with(hello, "Older", "x"), []string{"Older: key is removed in iOS 5.0"}},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, c.want, problems(own(t).For(c.platform).CheckCheckin(body(t, c.body))))
		})
	}
}

func command(requestType string, keys dict) dict {
	return dict{"CommandUUID": "c", "Command": with(keys, "RequestType", requestType)}
}

func TestCommands(t *testing.T) {
	fetch := dict{"Questions": []any{"Color"}}
	for name, c := range map[string]struct {
		body dict
		want []string
	}{
		"as it should be":     {command("Fetch", fetch), []string{}},
		"everything":          {command("Fetch", dict{"Questions": []any{}, "Depth": 4, "Share": 1, "Since": time.Now(), "Place": "https://x", "Pair": []any{"a", "b"}, "Free": dict{"x": []any{1}}, "Plain": dict{"y": true}}), []string{}},
		"no envelope":         {dict{"Command": dict{"RequestType": "Fetch", "Questions": []any{}}}, []string{"CommandUUID: required key is missing"}},
		"unknown":             {command("Dance", dict{}), []string{"Command.RequestType: unknown message"}},
		"for another system":  {command("MacThing", dict{}), []string{"Command.RequestType: message is not available on iOS"}},
		"required key":        {command("Fetch", dict{}), []string{"Command.Questions: required key is missing"}},
		"no such choice":      {command("Fetch", dict{"Questions": []any{"Color", "Taste"}}), []string{`Command.Questions[1]: "Taste" is not one of the values allowed`}},
		"unavailable choice":  {command("Fetch", dict{"Questions": []any{"Plug"}}), []string{`Command.Questions[0]: "Plug" is not available on iOS`}},
		"not in the list":     {command("Fetch", with(fetch, "Depth", 3)), []string{"Command.Depth: 3 is not one of [1 2 4]"}},
		"out of range":        {command("Fetch", with(fetch, "Share", 1.5)), []string{"Command.Share: value 1.5 is out of range"}},
		"not a date":          {command("Fetch", with(fetch, "Since", "now")), []string{"Command.Since: is string instead of date"}},
		"format":              {command("Fetch", with(fetch, "Place", "http://x")), []string{`Command.Place: "http://x" does not match ^https://.*$`}},
		"repetition":          {command("Fetch", with(fetch, "Pair", []any{"a"})), []string{"Command.Pair: number of elements 1 is out of range"}},
		"element's type":      {command("Fetch", with(fetch, "Pair", []any{"a", 1})), []string{"Command.Pair[1]: is integer instead of string"}},
		"alternatives":        {command("Adjust", dict{"Changes": []any{dict{"Item": "Sound", "Mute": true}, dict{"Item": "Light", "Level": 1}}}), []string{}},
		"alternative by item": {command("Adjust", dict{"Changes": []any{dict{"Item": "Sound", "Level": 1}}}), []string{"Command.Changes[0].Mute: required key is missing", "Command.Changes[0].Level: unknown key"}},
		"no alternative":      {command("Adjust", dict{"Changes": []any{dict{"Item": "Smell"}}}), []string{"Command.Changes[0].Level: required key is missing", "Command.Changes[0].Item: Smell is not one of [Light]"}},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, c.want, problems(own(t).CheckCommand(body(t, c.body))))
		})
	}
}

func TestAnswers(t *testing.T) {
	good := dict{"UDID": "u", "CommandUUID": "c", "Status": "Acknowledged", "Answers": dict{"sky": dict{"State": "Good"}}}
	chain := func(link dict) []any { return []any{link} }
	link := dict{"ErrorCode": 1, "ErrorDomain": "d", "LocalizedDescription": "l"}
	for name, c := range map[string]struct {
		requestType string
		body        dict
		want        []string
	}{
		"as it should be":     {"Fetch", good, []string{}},
		"nothing to report":   {"Fetch", with(good, "Answers", dict{}), []string{}},
		"required key":        {"Fetch", with(good, "Answers", nil), []string{"Answers: required key is missing"}},
		"deep down":           {"Fetch", with(good, "Answers", dict{"sky": dict{"State": "Blue"}}), []string{"Answers.sky.State: Blue is not one of [Good Bad]"}},
		"unknown key":         {"Fetch", with(good, "Extra", 1), []string{"Extra: unknown key"}},
		"error":               {"Fetch", dict{"UDID": "u", "CommandUUID": "c", "Status": "Error", "ErrorChain": chain(link)}, []string{}},
		"error without code":  {"Fetch", dict{"UDID": "u", "CommandUUID": "c", "Status": "Error", "ErrorChain": chain(with(link, "ErrorCode", nil))}, []string{"ErrorChain[0].ErrorCode: required key is missing"}},
		"not now":             {"Fetch", dict{"UDID": "u", "CommandUUID": "c", "Status": "NotNow"}, []string{}},
		"no status":           {"Adjust", dict{"UDID": "u", "CommandUUID": "c"}, []string{"Status: required key is missing"}},
		"no such status":      {"Adjust", dict{"UDID": "u", "CommandUUID": "c", "Status": "Fine"}, []string{"Status: Fine is not one of [Acknowledged Error CommandFormatError Idle NotNow]"}},
		"no command":          {"Adjust", dict{"UDID": "u", "Status": "Acknowledged"}, []string{"CommandUUID: required key is missing"}},
		"unknown refused":     {"Dance", dict{"UDID": "u", "CommandUUID": "c", "Status": "Error", "ErrorChain": chain(link)}, []string{}},
		"unknown done":        {"Dance", dict{"UDID": "u", "CommandUUID": "c", "Status": "Acknowledged"}, []string{"Status: the request type is unknown and can't be acknowledged"}},
		"user's key":          {"Adjust", dict{"UDID": "u", "CommandUUID": "c", "Status": "Acknowledged", "UserID": "x"}, []string{"UserID: key is only for the user channel"}},
		"idle":                {"", dict{"UDID": "u", "Status": "Idle"}, []string{}},
		"idle with a command": {"", dict{"UDID": "u", "Status": "Idle", "CommandUUID": "c"}, []string{"CommandUUID: unknown key"}},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, c.want, problems(own(t).CheckAnswer(c.requestType, body(t, c.body))))
		})
	}
}

func TestProfiles(t *testing.T) {
	lamp := dict{"PayloadType": "org.example.lamp", "Watts": 5}
	profile := func(payload dict) []byte {
		return body(t, dict{"PayloadType": "Configuration", "PayloadContent": []any{payload, dict{"PayloadType": "other", "x": 1}}})
	}
	require.Empty(t, own(t).CheckProfile(profile(lamp)))
	require.Equal(t, []string{"PayloadContent[0].Watts: is string instead of integer"}, problems(own(t).CheckProfile(profile(with(lamp, "Watts", "5")))))
	require.NotEmpty(t, own(t).CheckProfile([]byte("x")))
}

func TestBodiesThatAreNoDictionary(t *testing.T) {
	for _, raw := range [][]byte{nil, []byte("<plist"), body(t, []any{"x"})} {
		require.Len(t, own(t).CheckCheckin(raw), 1)
		require.Len(t, own(t).CheckCommand(raw), 1)
		require.Len(t, own(t).CheckAnswer("Fetch", raw), 1)
	}
}

func TestLoadRefusesWhatIsNoSchema(t *testing.T) {
	_, err := appleschema.Load(t.TempDir())
	require.ErrorIs(t, err, os.ErrNotExist)
	for name, text := range map[string]string{"no YAML": "\t:", "no name": "title: x\n"} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			require.NoError(t, os.MkdirAll(filepath.Join(dir, "mdm", "checkin"), 0o700))
			_, err := appleschema.Load(dir)
			require.ErrorContains(t, err, "holds no YAML")
			require.NoError(t, os.WriteFile(filepath.Join(dir, "mdm", "checkin", "a.yaml"), []byte(text), 0o600))
			_, err = appleschema.Load(dir)
			require.ErrorContains(t, err, "a.yaml")
		})
	}
}

// Apple's own files, where they are there: what is right passes, what is wrong doesn't.
func TestAppleSchema(t *testing.T) {
	s, ok := schemaflag.Schema(t)
	if !ok {
		return
	}
	install := func(keys dict) []string {
		return problems(s.CheckCommand(body(t, command("InstallApplication", keys))))
	}
	require.Empty(t, install(dict{"iTunesStoreID": 1, "ManagementFlags": 1, "Options": dict{"PurchaseMethod": 1}}))
	require.NotEmpty(t, install(dict{"iTunesStoreID": "1"}))
	require.NotEmpty(t, install(dict{"InstallAsManaged": true}))
	require.NotEmpty(t, problems(s.CheckCheckin(body(t, dict{"MessageType": "TokenUpdate", "UDID": "u"}))))
	require.Empty(t, problems(s.CheckCommand(body(t, command("DeviceInformation", dict{"Queries": []any{"UDID", "OSVersion"}})))))
	require.NotEmpty(t, problems(s.CheckCommand(body(t, command("DeviceInformation", dict{"Queries": []any{"IsAppleSilicon"}})))))
}
