package provision_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/muster-mdm/muster/provision"
)

// certificate is a self-signed one in DER and base64, as Apple takes it.
func certificate(t testing.TB) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	return base64.StdEncoding.EncodeToString(der)
}

func problemsOf(t require.TestingT, err error) map[string]string {
	var first *provision.Error
	require.ErrorAs(t, err, &first)
	all := map[string]string{}
	for _, e := range append([]*provision.Error{first}, first.Others...) {
		require.Equal(t, provision.DeviceProfileBad, e.Code)
		require.True(t, strings.HasSuffix(e.Message, ".") || strings.HasSuffix(e.Message, "?"), e.Message)
		all[e.Field] = e.Message
	}
	return all
}

func TestDeviceProfilesThatApplesRulesAllow(t *testing.T) {
	for given, kept := range map[string]string{
		`{}`: `{}`,
		`{"profile_name":" Kiosk ","is_supervised":true,"is_mdm_removable":false,"department":null,"devices":[]}`: `{"is_mdm_removable":false,"is_supervised":true,"profile_name":"Kiosk"}`,
		`{"skip_setup_items":["AppleID","TOS","AppleID"]}`:                                                        `{"skip_setup_items":["AppleID","TOS"]}`,
		`{"auto_advance_setup":true,"region":"US","language":"en"}`:                                               `{"auto_advance_setup":true,"language":"en","region":"US"}`,
		`{"language":"haw"}`: `{"language":"haw"}`,
		`{"is_multi_user":true,"await_device_configured":true}`:                                                                         `{"await_device_configured":true,"is_multi_user":true}`,
		`{"support_email_address":"it@zylker.com","support_phone_number":"+1 555 0100"}`:                                                `{"support_email_address":"it@zylker.com","support_phone_number":"+1 555 0100"}`,
		`{"allow_pairing":false,"is_mandatory":true,"is_return_to_service":true,"do_not_use_profile_from_backup":true,"org_magic":"x"}`: `{"allow_pairing":false,"do_not_use_profile_from_backup":true,"is_mandatory":true,"is_return_to_service":true,"org_magic":"x"}`,
	} {
		got, err := provision.CheckDeviceProfile(json.RawMessage(given), provision.ByAdmin)
		require.NoError(t, err, given)
		require.Equal(t, kept, string(got))
	}
}

func TestDeviceProfilesThatAreRefused(t *testing.T) {
	for _, c := range []struct{ fields, mode, at, says string }{
		{`[]`, "", "fields", "must be a JSON object"},
		{`null`, "", "fields", "must be a JSON object"},
		{`{}`, "by_magic", "activation_mode", `"by_magic" is no activation mode; take by_admin or by_user`},
		{`{"is_supervized":true}`, "", "fields.is_supervized", `did you mean "is_supervised"?`},
		{`{"color_of_the_sky":1}`, "", "fields.color_of_the_sky", `is no field of a device profile.`},
		{`{"url":"https://mdm.example.com"}`, "", "fields.url", "Muster fills in its own address"},
		{`{"configuration_web_url":"https://x"}`, "", "fields.configuration_web_url", "sign-in page"},
		{`{"devices":["C07Q853LG9RM"]}`, "", "fields.devices", "by a group or by themselves"},
		{`{"profile_uuid":"88FC"}`, "", "fields.profile_uuid", "Apple gives it"},
		{`{"is_supervised":"yes"}`, "", "fields.is_supervised", "must be true or false"},
		{`{"profile_name":7}`, "", "fields.profile_name", "must be text"},
		{`{"profile_name":"  "}`, "", "fields.profile_name", "is empty; leave it out"},
		{`{"profile_name":"` + strings.Repeat("ü", 126) + `"}`, "", "fields.profile_name", "longer than the 125 characters"},
		{`{"department":"a\nb"}`, "", "fields.department", "control character"},
		{`{"support_phone_number":"` + strings.Repeat("1", 51) + `"}`, "", "fields.support_phone_number", "50 characters"},
		{`{"support_email_address":"IT <it@x.co>"}`, "", "fields.support_email_address", "e-mail address"},
		{`{"language":"en-US"}`, "", "fields.language", "a language such as en"},
		{`{"language":"en","region":"usa"}`, "", "fields.region", "a country such as US"},
		{`{"region":"US"}`, "", "fields.region", `needs "language"`},
		{`{"skip_setup_items":"AppleID"}`, "", "fields.skip_setup_items", "must be a list"},
		{`{"skip_setup_items":["TOS",7]}`, "", "fields.skip_setup_items[1]", "list of texts"},
		{`{"skip_setup_items":["TOS","appleid"]}`, "", "fields.skip_setup_items[1]", `did you mean "AppleID"?`},
		{`{"skip_setup_items":["Aplearance"]}`, "", "fields.skip_setup_items[0]", `did you mean "Appearance"?`},
		{`{"skip_setup_items":["qqqqqqqqqqqq"]}`, "", "fields.skip_setup_items[0]", "can be skipped."},
		{`{"anchor_certs":["!"]}`, "", "fields.anchor_certs[0]", "not in base64"},
		{`{"anchor_certs":["AAAA"]}`, "", "fields.anchor_certs[0]", "not a certificate in DER"},
		{`{"anchor_certs":["-----BEGIN CERTIFICATE-----\nAAAA"]}`, "", "fields.anchor_certs[0]", "is in PEM"},
		{`{"is_mdm_removable":false}`, "", "fields.is_mdm_removable", "supervised devices only"},
		{`{"is_mdm_removable":false,"is_supervised":false}`, "", "fields.is_mdm_removable", "supervised devices only"},
		{`{"is_multi_user":true,"is_supervised":true}`, "", "fields.is_multi_user", "await_device_configured"},
		{`{"auto_advance_setup":true,"language":"en"}`, "", "fields.auto_advance_setup", `needs "language" and "region"`},
		{`{"auto_advance_setup":true,"language":"en","region":"US"}`, provision.ByUser, "fields.auto_advance_setup", "lets nobody sign in"},
		{`{"supervising_host_certs":[]}`, "", "fields.supervising_host_certs", `needs "is_supervised"`},
	} {
		mode := c.mode
		if mode == "" {
			mode = provision.ByAdmin
		}
		_, err := provision.CheckDeviceProfile(json.RawMessage(c.fields), mode)
		problems := problemsOf(t, err)
		require.Len(t, problems, 1, c.fields)
		require.Contains(t, problems[c.at], c.says, c.fields)
	}
}

func TestCertificatesOfADeviceProfile(t *testing.T) {
	der := certificate(t)
	given, err := json.Marshal(map[string]any{"is_supervised": true, "anchor_certs": []string{der[:64] + "\n " + der[64:]}, "supervising_host_certs": []string{der}})
	require.NoError(t, err)
	kept, err := provision.CheckDeviceProfile(given, provision.ByUser)
	require.NoError(t, err)
	require.JSONEq(t, `{"is_supervised":true,"anchor_certs":["`+der+`"],"supervising_host_certs":["`+der+`"]}`, string(kept))
}

func TestAllProblemsOfADeviceProfileAreNamed(t *testing.T) {
	_, err := provision.CheckDeviceProfile(json.RawMessage(`{"is_mdm_removable":false,"region":"us","url":"https://x","nonsense":1}`), "")
	problems := problemsOf(t, err)
	for _, at := range []string{"activation_mode", "fields.is_mdm_removable", "fields.region", "fields.url", "fields.nonsense"} {
		require.Contains(t, problems, at)
		delete(problems, at)
	}
	require.Empty(t, problems)
}

// What is kept is taken again as it is, and nothing that is given makes the check fall over.
func TestKeptDeviceProfilesAreTakenAgain(t *testing.T) {
	names := []string{
		"allow_pairing", "is_supervised", "is_mdm_removable", "await_device_configured", "is_multi_user", "auto_advance_setup",
		"language", "region", "profile_name", "department", "skip_setup_items", "support_email_address", "anchor_certs", "nonsense",
	}
	value := rapid.OneOf(
		rapid.Just[any](true), rapid.Just[any](false), rapid.Just[any](nil), rapid.Just[any](1.5),
		rapid.Map(rapid.SampledFrom([]string{"en", "US", "it@x.co", " x ", "", "AppleID"}), func(s string) any { return s }),
		rapid.Map(rapid.SliceOf(rapid.SampledFrom([]string{"AppleID", "TOS", "tos"})), func(s []string) any { return s }),
	)
	rapid.Check(t, func(t *rapid.T) {
		given, err := json.Marshal(rapid.MapOf(rapid.SampledFrom(names), value).Draw(t, "fields"))
		require.NoError(t, err)
		mode := rapid.SampledFrom([]string{provision.ByAdmin, provision.ByUser}).Draw(t, "mode")
		kept, err := provision.CheckDeviceProfile(given, mode)
		if err != nil {
			require.NotEmpty(t, problemsOf(t, err))
			return
		}
		again, err := provision.CheckDeviceProfile(kept, mode)
		require.NoError(t, err)
		require.Equal(t, string(kept), string(again))
	})
}

func FuzzDeviceProfile(f *testing.F) {
	f.Add([]byte(`{"skip_setup_items":["AppleID"],"anchor_certs":["` + certificate(f) + `"]}`))
	f.Fuzz(func(t *testing.T, fields []byte) {
		kept, err := provision.CheckDeviceProfile(fields, provision.ByAdmin)
		if err != nil {
			require.NotEmpty(t, problemsOf(t, err))
			return
		}
		require.True(t, json.Valid(kept))
	})
}
