package settings_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/apple/identity"
	"github.com/muster-mdm/muster/cmd/muster/settings"
	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/store/keyring"
	"github.com/muster-mdm/muster/workflows"
)

func bind(t *testing.T, args []string, environ ...string) (settings.Serve, *pflag.FlagSet, error) {
	t.Helper()
	var s settings.Serve
	flags := pflag.NewFlagSet("serve", pflag.ContinueOnError)
	if err := settings.Bind(flags, &s, environ); err != nil {
		return s, flags, err
	}
	return s, flags, flags.Parse(args)
}

func TestFlagOverridesVariableOverridesDefault(t *testing.T) {
	s, _, err := bind(t, nil)
	require.NoError(t, err)
	require.Equal(t, "127.0.0.1:8080", s.Listen)
	require.Equal(t, []string{"api", "mdm", "worker"}, s.Roles)
	require.Equal(t, 30*time.Minute, s.SetupHold)
	require.Equal(t, identity.DefaultValidity, s.IdentityValidity)
	require.Zero(t, s.IdentityGrace)
	require.Equal(t, s.IdentityValidity/2, s.IdentityRenewBefore)
	require.True(t, s.ReenrollKeepsAssignment)
	require.False(t, s.EnrollInsecureMachineInfo)

	var viaFlag settings.Serve
	flags := pflag.NewFlagSet("serve", pflag.ContinueOnError)
	require.NoError(t, settings.Bind(flags, &viaFlag, []string{"MUSTER_LISTEN=127.0.0.1:1", "MUSTER_RETRY_AFTER=1s,2m", "MUSTER_ROLES=mdm"}))
	require.Equal(t, "127.0.0.1:1", viaFlag.Listen)
	require.Equal(t, []time.Duration{time.Second, 2 * time.Minute}, viaFlag.RetryAfter)
	require.NoError(t, flags.Parse([]string{"--listen=127.0.0.1:2", "--roles=api,worker"}))
	require.Equal(t, "127.0.0.1:2", viaFlag.Listen)
	require.Equal(t, []string{"api", "worker"}, viaFlag.Roles)
}

// A workflow that an operator begins by hand goes by the policy that the settings have by default.
func TestDefaultsAreTheDefaultPolicy(t *testing.T) {
	s, _, err := bind(t, nil)
	require.NoError(t, err)
	set := provision.Policy{
		SetupHold: s.SetupHold, HoldPolicy: provision.HoldPolicy(s.SetupHoldPolicy), RetryAfter: s.RetryAfter, NudgeAfter: s.NudgeAfter,
		ReleaseDelay: s.ReleaseDelay, RemindBefore: s.RemindBefore,
		ReviewFreesSetup: true,
	}
	require.Equal(t, workflows.DefaultPolicy(), set)
}

func TestKeyringIsOptional(t *testing.T) {
	s, _, err := bind(t, nil)
	require.NoError(t, err)
	ring, err := s.Ring()
	require.NoError(t, err)
	require.Nil(t, ring)
	key := keyring.NewKey()
	s, flags, err := bind(t, nil, "MUSTER_KEYRING="+key)
	require.NoError(t, err)
	require.NotContains(t, flags.FlagUsages(), key)
	ring, err = s.Ring()
	require.NoError(t, err)
	require.Equal(t, ring.Primary(), key[:len(ring.Primary())])
}

func TestSecretsComeFromFilesAndStayOutOfHelp(t *testing.T) {
	file := filepath.Join(t.TempDir(), "url")
	require.NoError(t, os.WriteFile(file, []byte("postgres://u:secret@h/db\n"), 0o600))
	s, flags, err := bind(t, nil, "MUSTER_DATABASE_URL_FILE="+file)
	require.NoError(t, err)
	require.Equal(t, "postgres://u:secret@h/db", s.DatabaseURL)
	require.NotContains(t, flags.FlagUsages(), "secret@")

	_, _, err = bind(t, nil, "MUSTER_DATABASE_URL_FILE="+file, "MUSTER_DATABASE_URL=postgres://h/other")
	require.ErrorContains(t, err, "both set")
	_, _, err = bind(t, nil, "MUSTER_DATABASE_URL_FILE="+file+".gone")
	require.ErrorContains(t, err, "MUSTER_DATABASE_URL_FILE")
}

func TestCheckNamesTheSettingAtFault(t *testing.T) {
	const db = "MUSTER_DATABASE_URL=postgres://h/db"
	for _, c := range []struct{ variable, says string }{
		{"MUSTER_ROLES=api,gardener", "gardener"},
		{"MUSTER_TLS_CERT_FILE=x", "MUSTER_TLS_KEY_FILE"},
		{"MUSTER_PUSH_CERT_FILE=x", "MUSTER_PUSH_KEY_FILE"},
		{"MUSTER_PROXY_CERT_HEADER=X-Cert", "MUSTER_TRUSTED_PROXIES"},
		{"MUSTER_ASSIGNMENT_REQUIREMENT=nobody", "MUSTER_ASSIGNMENT_REQUIREMENT"},
		{"MUSTER_SETUP_HOLD_POLICY=perhaps", "MUSTER_SETUP_HOLD_POLICY"},
		{"MUSTER_LOG_LEVEL=loud", "MUSTER_LOG_LEVEL"},
		{"MUSTER_IDENTITY_VALIDITY=1h", "MUSTER_IDENTITY_VALIDITY"},
		{"MUSTER_IDENTITY_VALIDITY=-87600h", "MUSTER_IDENTITY_VALIDITY"},
		{"MUSTER_IDENTITY_GRACE=-1h", "MUSTER_IDENTITY_GRACE"},
		{"MUSTER_KEYRING=one", "MUSTER_KEYRING: Key 1 of the keyring has no id"},
		{"MUSTER_ABM_URL=apple.com", "MUSTER_ABM_URL"},
		{"MUSTER_ABM_BUSINESS_URL=ftp://apple.com", "MUSTER_ABM_BUSINESS_URL"},
		{"MUSTER_ABM_TOKEN_URL=://", "MUSTER_ABM_TOKEN_URL"},
		{"MUSTER_ABM_MISSING_AFTER=-1h", "MUSTER_ABM_MISSING_AFTER"},
		{"MUSTER_RELEASE_DELAY=-1s", "MUSTER_RELEASE_DELAY"},
		{"MUSTER_REMIND_BEFORE=24h,72h", "MUSTER_REMIND_BEFORE must be times that get shorter"},
		{"MUSTER_REMIND_BEFORE=24h,24h", "MUSTER_REMIND_BEFORE"},
		{"MUSTER_REMIND_BEFORE=-1h", "MUSTER_REMIND_BEFORE"},
		{"MUSTER_EDITION=home", `MUSTER_EDITION: "home"`},
		{"MUSTER_IDENTITY_RENEW_BEFORE=-1h", "MUSTER_IDENTITY_RENEW_BEFORE"},
		{"MUSTER_ENROLL_MINIMUM_OS=ios=17,windows=11", `MUSTER_ENROLL_MINIMUM_OS: "windows"`},
		{"MUSTER_PROFILE_SIGN_KEY_FILE=x", "MUSTER_PROFILE_SIGN_CERT_FILE"},
		{"MUSTER_SCEP_URL=https://ca.example.com/scep", "MUSTER_SCEP_CHALLENGE"},
		{"MUSTER_SCEP_CA_FILE=x", "MUSTER_SCEP_URL"},
	} {
		s, _, err := bind(t, nil, db, c.variable)
		require.NoError(t, err)
		require.ErrorContains(t, s.Check(), c.says, c.variable)
	}
	s, _, err := bind(t, nil)
	require.NoError(t, err)
	require.ErrorContains(t, s.Check(), "MUSTER_DATABASE_URL")
	s, _, err = bind(t, nil, db)
	require.NoError(t, err)
	require.NoError(t, s.Check())

	scep := []string{db, "MUSTER_SCEP_CHALLENGE=x", "MUSTER_SCEP_CA_FILE=y"}
	s, _, err = bind(t, nil, append(scep, "MUSTER_SCEP_URL=ca.example.com")...)
	require.NoError(t, err)
	require.ErrorContains(t, s.Check(), "MUSTER_SCEP_URL is")
	s, _, err = bind(t, nil, append(scep, "MUSTER_SCEP_URL=https://ca.example.com")...)
	require.NoError(t, err)
	require.NoError(t, s.Check())
	s, _, err = bind(t, nil, db, "MUSTER_ENROLL_ANCHORS_FILE=x", "MUSTER_ENROLL_INSECURE_MACHINE_INFO=true")
	require.NoError(t, err)
	require.ErrorContains(t, s.Check(), "MUSTER_ENROLL_INSECURE_MACHINE_INFO")

	_, _, err = bind(t, nil, "MUSTER_SETUP_HOLD=soon", "MUSTER_RATE_BURST=many", "MUSTER_RETRY_AFTER=1m,x")
	require.EqualError(t, err, `MUSTER_SETUP_HOLD is "soon"; give a time such as 30m or 6h
MUSTER_RETRY_AFTER is "1m,x"; give times such as 1m,5m,1h
MUSTER_RATE_BURST is "many"; give a number`)
}
