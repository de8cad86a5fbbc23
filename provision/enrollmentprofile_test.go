package provision

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestWhatAppleIsToDefine(t *testing.T) {
	both := EnrollmentAddresses{Enroll: "https://m.example/enroll", SignIn: "https://m.example/sign-in"}
	for _, c := range []struct {
		name, mode, fields string
		addresses          EnrollmentAddresses
		want               string
	}{
		{"kiosk", "by_admin", `{}`, both, `{"profile_name":"kiosk","url":"https://m.example/enroll"}`},
		{
			"kiosk", "by_user", `{"await_device_configured":true}`, both,
			`{"profile_name":"kiosk","url":"https://m.example/enroll","configuration_web_url":"https://m.example/sign-in","await_device_configured":true}`,
		},
		{
			"kiosk", "by_admin", `{"allow_pairing":false,"profile_name":"Kiosk of the lobby","url":"https://evil.example","configuration_web_url":"x","devices":["C07Q853LG9RM"]}`,
			both, `{"allow_pairing":false,"profile_name":"Kiosk of the lobby","url":"https://m.example/enroll"}`,
		},
		{"kiosk", "by_admin", `{"skip_setup_items":["TOS"]}`, EnrollmentAddresses{Enroll: "https://m"}, `{"skip_setup_items":["TOS"],"profile_name":"kiosk","url":"https://m"}`},
	} {
		got, err := c.addresses.ForApple(c.name, c.mode, json.RawMessage(c.fields))
		require.NoError(t, err)
		require.JSONEq(t, c.want, string(got))
	}
	got, err := both.ForApple(strings.Repeat("é", 200), "by_admin", json.RawMessage(`{}`))
	require.NoError(t, err)
	require.Contains(t, string(got), `"`+strings.Repeat("é", 125)+`"`)
}

func TestProfilesThatCannotBeDefined(t *testing.T) {
	_, err := EnrollmentAddresses{}.ForApple("kiosk", "by_admin", json.RawMessage(`{}`))
	require.Equal(t, Invalid, CodeOf(err))
	require.ErrorContains(t, err, "MUSTER_PUBLIC_URL")
	_, err = EnrollmentAddresses{Enroll: "https://m"}.ForApple("kiosk", "by_user", json.RawMessage(`{}`))
	require.Equal(t, Invalid, CodeOf(err), "nobody would have to sign in")
	_, err = EnrollmentAddresses{Enroll: "https://m"}.ForApple("kiosk", "by_admin", json.RawMessage(`[`))
	require.Error(t, err)
}
