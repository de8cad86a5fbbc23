package mdm_test

import (
	"strings"
	"testing"

	"github.com/micromdm/plist"
	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/apple/mdm"
	"github.com/muster-mdm/muster/provision"
)

type dict = map[string]any

func marshal(t testing.TB, v any) []byte {
	t.Helper()
	raw, err := plist.Marshal(v)
	require.NoError(t, err)
	return raw
}

func failed(domain string, code int) dict {
	return dict{"Status": "Error", "UDID": "U", "CommandUUID": uuid, "ErrorChain": []any{
		dict{"ErrorCode": code, "ErrorDomain": domain, "LocalizedDescription": "Das Profil\n fehlt.", "USEnglishDescription": "The profile\n is missing."},
		dict{"ErrorCode": 7, "ErrorDomain": "Inner", "LocalizedDescription": "Weil eben."},
	}}
}

func TestParseAnswerReadsErrorsInOneLine(t *testing.T) {
	a, info, err := mdm.ParseAnswer(marshal(t, failed("MCInstallationErrorDomain", 4001)), provision.InstallProfile)
	require.NoError(t, err)
	require.Nil(t, info)
	require.Equal(t, provision.Answer{
		Status: provision.AnswerError,
		Detail: "The profile is missing. (MCInstallationErrorDomain 4001); Weil eben. (Inner 7)",
	}, a)
}

func TestParseAnswerBoundsWhatADeviceSays(t *testing.T) {
	in := dict{"Status": "Error", "ErrorChain": []any{dict{"ErrorCode": 1, "ErrorDomain": "D", "USEnglishDescription": strings.Repeat("ä", 5000)}}}
	a, _, err := mdm.ParseAnswer(marshal(t, in), provision.InstallProfile)
	require.NoError(t, err)
	require.Len(t, []rune(a.Detail), 1001)
}

func TestParseAnswerKnowsWhatWasNotThere(t *testing.T) {
	for _, tt := range []struct {
		command provision.RequestType
		domain  string
		code    int
		absent  bool
	}{
		{provision.RemoveProfile, "MCMDMErrorDomain", 12075, true},
		{provision.RemoveProfile, "MCInstallationErrorDomain", 4024, true},
		{provision.RemoveProfile, "MDMClientError", 89, true},
		{provision.RemoveProfile, "MCMDMErrorDomain", 12013, false}, // there, but not ours
		{provision.RemoveProfile, "Other", 12075, false},
		{provision.InstallProfile, "MCMDMErrorDomain", 12075, false},
		{provision.RemoveApplication, "MCMDMErrorDomain", 12029, true},
		{provision.RemoveApplication, "MCMDMErrorDomain", 12038, true},
		{provision.RemoveApplication, "MCMDMErrorDomain", 12036, false},
	} {
		a, _, err := mdm.ParseAnswer(marshal(t, failed(tt.domain, tt.code)), tt.command)
		require.NoError(t, err)
		require.Equal(t, tt.absent, a.Absent, "%+v", tt)
	}
}

func TestParseAnswerReadsLists(t *testing.T) {
	a, _, err := mdm.ParseAnswer(marshal(t, dict{"Status": "Acknowledged", "ProfileList": []any{
		dict{"PayloadIdentifier": "com.example.one", "PayloadUUID": "1", "SignerCertificates": []any{[]byte("x")}},
		dict{"PayloadIdentifier": "com.example.two", "PayloadUUID": "2"},
	}}), provision.ProfileList)
	require.NoError(t, err)
	require.Equal(t, []string{"com.example.one", "com.example.two"}, a.Profiles)

	a, _, err = mdm.ParseAnswer(marshal(t, dict{"Status": "Acknowledged", "ManagedApplicationList": dict{
		"com.example.app": dict{"Status": "Installing", "ManagementFlags": 1, "HasConfiguration": false},
		"com.example.old": dict{"Status": "Managed"},
	}}), provision.ManagedApplicationList)
	require.NoError(t, err)
	require.Equal(t, map[string]string{"com.example.app": "Installing", "com.example.old": "Managed"}, a.Apps)
}

func TestParseAnswerReadsBooks(t *testing.T) {
	a, _, err := mdm.ParseAnswer(marshal(t, dict{"Status": "Acknowledged", "Books": []any{
		dict{"iTunesStoreID": 0, "PersistentID": "com.example.handbook", "State": "Managed", "Version": "3", "Kind": "pdf"},
		dict{"iTunesStoreID": 361309726, "State": "Installed"},
	}}), provision.ManagedMediaList)
	require.NoError(t, err)
	require.Equal(t, provision.Book{State: "Managed", Version: "3"}, a.Books["com.example.handbook"])
	a, _, err = mdm.ParseAnswer(marshal(t, dict{"Status": "Acknowledged", "Books": []any{}}), provision.ManagedMediaList)
	require.NoError(t, err)
	require.NotNil(t, a.Books)
	require.Empty(t, a.Books)

	for _, status := range []string{"Acknowledged", "Error"} {
		a, _, err = mdm.ParseAnswer(marshal(t, dict{"Status": status, "State": "Failed", "RejectionReason": "DownloadInvalid"}), provision.InstallMedia)
		require.NoError(t, err)
		require.Equal(t, "DownloadInvalid", a.Rejection, status)
	}
	a, _, err = mdm.ParseAnswer(marshal(t, dict{"Status": "Error", "RejectionReason": "AppAlreadyInstalled"}), provision.InstallApplication)
	require.NoError(t, err)
	require.Empty(t, a.Rejection, "apps say it in their error chain")
}

func TestParseAnswerReadsDeviceInformation(t *testing.T) {
	_, info, err := mdm.ParseAnswer(marshal(t, dict{"Status": "Acknowledged", "QueryResponses": dict{
		"DeviceName": "Ada's iPhone", "ModelName": "iPhone", "Model": "MLPF3", "ProductName": "iPhone14,5",
		"OSVersion": "18.1", "BuildVersion": "22B83", "BatteryLevel": 0.5,
	}}), provision.DeviceInformationQuery)
	require.NoError(t, err)
	require.Equal(t, &mdm.Information{Name: "Ada's iPhone", Model: "MLPF3", ProductName: "iPhone14,5", OSVersion: "18.1", BuildVersion: "22B83"}, info)
}

func TestParseAnswerKeepsNotNowAndFormatErrorsApart(t *testing.T) {
	a, _, err := mdm.ParseAnswer(marshal(t, dict{"Status": "NotNow"}), provision.InstallApplication)
	require.NoError(t, err)
	require.False(t, a.Status.Final())
	a, _, err = mdm.ParseAnswer(marshal(t, dict{"Status": "CommandFormatError"}), provision.InstallApplication)
	require.NoError(t, err)
	require.Equal(t, "The device could not read the command.", a.Detail)
}

func TestParseAnswerRefusesWhatIsNoAnswer(t *testing.T) {
	for name, raw := range map[string][]byte{
		"no plist":       []byte("<?xml version=\"1.0\"?><html/>"),
		"empty":          nil,
		"unknown status": marshal(t, dict{"Status": "Perhaps"}),
		"idle":           marshal(t, dict{"Status": "Idle"}),
		"wrong type":     marshal(t, dict{"Status": "Acknowledged", "ProfileList": "none"}),
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := mdm.ParseAnswer(raw, provision.ProfileList)
			require.Equal(t, provision.CheckinMalformed, provision.CodeOf(err), "%v", err)
		})
	}
}

func FuzzParseAnswer(f *testing.F) {
	f.Add(marshal(f, failed("MCMDMErrorDomain", 12075)), "RemoveProfile")
	f.Add(marshal(f, dict{"Status": "Acknowledged", "ProfileList": []any{dict{"PayloadIdentifier": "a"}}}), "ProfileList")
	f.Add(marshal(f, dict{"Status": "Acknowledged", "ManagedApplicationList": dict{"a": dict{"Status": "Managed"}}}), "ManagedApplicationList")
	f.Add(marshal(f, dict{"Status": "Acknowledged", "Books": []any{dict{"PersistentID": "a", "State": "Managed", "Version": "1"}}}), "ManagedMediaList")
	f.Add(marshal(f, dict{"Status": "Error", "RejectionReason": "DownloadInvalid"}), "InstallMedia")
	f.Fuzz(func(t *testing.T, raw []byte, kind string) {
		a, _, err := mdm.ParseAnswer(raw, provision.RequestType(kind))
		if err != nil {
			require.Equal(t, provision.CheckinMalformed, provision.CodeOf(err))
			return
		}
		require.NotContains(t, a.Detail, "\n")
		require.Contains(t, []provision.AnswerStatus{provision.AnswerAcknowledged, provision.AnswerError, provision.AnswerFormatError, provision.AnswerNotNow}, a.Status)
	})
}
