package directories

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// fakeTools stand in for Debian's: they record how they were called, and whether services were kept from starting at that moment. apt-get
// fails when $FAIL says so; dpkg-query knows the packages in $INSTALLED.
var fakeTools = map[string]string{
	"apt-get": `echo "apt-get $* policy=$(test -x "$MUSTER_ROOT/usr/sbin/policy-rc.d" && echo yes)" >>"$MUSTER_ROOT/calls"
case "$*" in *" install "*) [ -z "$FAIL" ] || exit 100 ;; esac`,
	"apt-cache":              `case " $KNOWN " in *" $2 "*) ;; *) exit 100 ;; esac`,
	"dpkg-query":             `for last; do :; done; case " $INSTALLED " in *" $last "*) printf installed ;; *) exit 1 ;; esac`,
	"debconf-set-selections": `echo "debconf $(cat)" >>"$MUSTER_ROOT/calls"`,
	"systemctl":              `echo "systemctl $*" >>"$MUSTER_ROOT/calls"`,
}

func runInstallScript(t *testing.T, root string, env ...string) (calls string, err error) {
	t.Helper()
	return runInstallScriptFor(t, root, nil, env...)
}

func runInstallScriptFor(t *testing.T, root string, wanted []string, env ...string) (calls string, err error) {
	t.Helper()
	bin := filepath.Join(root, "bin")
	require.NoError(t, os.MkdirAll(bin, 0o755))
	require.NoError(t, os.MkdirAll(filepath.Join(root, "usr/sbin"), 0o755))
	for name, script := range fakeTools {
		require.NoError(t, os.WriteFile(filepath.Join(bin, name), []byte("#!/bin/sh\n"+script+"\n"), 0o755))
	}
	cmd := exec.CommandContext(t.Context(), "sh", append([]string{"-c", installScript, "install"}, wanted...)...)
	cmd.Env = append(append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"), "MUSTER_ROOT="+root, "FAIL=", "INSTALLED=", "KNOWN="), env...)
	out, err := cmd.CombinedOutput()
	t.Log(string(out))
	raw, readErr := os.ReadFile(filepath.Join(root, "calls"))
	require.NoError(t, readErr)
	return string(raw), err
}

func TestInstallScriptStartsNoServiceNowOrLater(t *testing.T) {
	root := t.TempDir()
	calls, err := runInstallScript(t, root, "KNOWN=samba-ad-dc samba-ad-provision")
	require.NoError(t, err)
	require.Equal(t, `apt-get -o DPkg::Lock::Timeout=300 update policy=yes
debconf slapd slapd/no_configuration boolean true
apt-get -o DPkg::Lock::Timeout=300 install -y --no-install-recommends samba winbind samba-dsdb-modules samba-vfs-modules samba-ad-dc samba-ad-provision slapd policy=yes
systemctl disable smbd
systemctl disable nmbd
systemctl disable samba-ad-dc
systemctl disable winbind
systemctl disable slapd
`, calls)
	require.NoFileExists(t, filepath.Join(root, "usr/sbin/policy-rc.d"))
}

func TestInstallScriptInstallsOneOfThem(t *testing.T) {
	root := t.TempDir()
	calls, err := runInstallScriptFor(t, root, []string{"slapd"})
	require.NoError(t, err)
	require.Equal(t, `apt-get -o DPkg::Lock::Timeout=300 update policy=yes
debconf slapd slapd/no_configuration boolean true
apt-get -o DPkg::Lock::Timeout=300 install -y --no-install-recommends slapd policy=yes
systemctl disable slapd
`, calls)

	root = t.TempDir()
	calls, err = runInstallScriptFor(t, root, []string{"samba"})
	require.NoError(t, err)
	require.NotContains(t, calls, "slapd")
	require.Contains(t, calls, "install -y --no-install-recommends samba winbind samba-dsdb-modules samba-vfs-modules policy=yes")
	require.Contains(t, calls, "systemctl disable samba-ad-dc")

	root = t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(root, "calls"), nil, 0o600))
	calls, err = runInstallScriptFor(t, root, []string{"samba", "novell"})
	require.Error(t, err)
	require.Empty(t, calls)
}

// Somebody's own servers go on as they were.
func TestInstallScriptLeavesServicesAlone(t *testing.T) {
	root := t.TempDir()
	calls, err := runInstallScript(t, root, "INSTALLED=slapd samba")
	require.NoError(t, err)
	require.NotContains(t, calls, "debconf")
	require.NotContains(t, calls, "slapd samba-ad-dc")
	require.NotRegexp(t, "disable (smbd|nmbd|samba-ad-dc|slapd)", calls)
	require.Contains(t, calls, "systemctl disable winbind")
}

func TestInstallScriptThatFailsLeavesNoPolicy(t *testing.T) {
	root := t.TempDir()
	_, err := runInstallScript(t, root, "FAIL=yes")
	require.Error(t, err)
	require.NoFileExists(t, filepath.Join(root, "usr/sbin/policy-rc.d"))

	policy := filepath.Join(root, "usr/sbin/policy-rc.d")
	require.NoError(t, os.WriteFile(policy, []byte("#!/bin/sh\nexit 0\n"), 0o755))
	_, err = runInstallScript(t, root)
	require.NoError(t, err)
	kept, err := os.ReadFile(policy)
	require.NoError(t, err)
	require.Equal(t, "#!/bin/sh\nexit 0\n", string(kept))
}
