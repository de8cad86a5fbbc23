package devstack

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// fakeApt records how it was called and what the machine's settings were at that moment; it fails for the package $FAIL.
const fakeApt = `#!/bin/sh
echo "$* policy=$(test -x "$MUSTER_ROOT/usr/sbin/policy-rc.d" && echo yes) no_cluster=$(grep -c '^create_main_cluster = false' "$MUSTER_ROOT/etc/postgresql-common/createcluster.conf")" >>"$MUSTER_ROOT/calls"
case "$*" in *"install "*" $FAIL") exit 100 ;; esac
`

func runInstallScript(t *testing.T, root, fail string) error {
	t.Helper()
	bin := filepath.Join(root, "bin")
	require.NoError(t, os.MkdirAll(bin, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(bin, "apt-get"), []byte(fakeApt), 0o755))
	cmd := exec.CommandContext(t.Context(), "sh", "-c", installScript)
	cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"), "MUSTER_ROOT="+root, "FAIL="+fail)
	return quiet(cmd)
}

func debianRoot(t *testing.T) (root, conf string) {
	t.Helper()
	root = t.TempDir()
	conf = filepath.Join(root, "etc/postgresql-common/createcluster.conf")
	require.NoError(t, os.MkdirAll(filepath.Dir(conf), 0o755))
	require.NoError(t, os.MkdirAll(filepath.Join(root, "usr/sbin"), 0o755))
	require.NoError(t, os.WriteFile(conf, []byte("ssl = on\n"), 0o644))
	return root, conf
}

func TestInstallScriptStartsNoServiceAndLeavesSettingsAlone(t *testing.T) {
	for _, fail := range []string{"nothing", "postgresql"} {
		t.Run("failing "+fail, func(t *testing.T) {
			root, conf := debianRoot(t)
			err := runInstallScript(t, root, fail)
			require.Equal(t, fail == "postgresql", err != nil, "error: %v", err)

			calls, err := os.ReadFile(filepath.Join(root, "calls"))
			require.NoError(t, err)
			require.Regexp(t, `(?m) update policy=yes no_cluster=0$`, string(calls))
			require.Regexp(t, `(?m) postgresql-common policy=yes no_cluster=0$`, string(calls))
			require.Regexp(t, `(?m) postgresql policy=yes no_cluster=1$`, string(calls))

			after, err := os.ReadFile(conf)
			require.NoError(t, err)
			require.Equal(t, "ssl = on\n", string(after))
			require.NoFileExists(t, filepath.Join(root, "usr/sbin/policy-rc.d"))
		})
	}
}

func TestInstallScriptKeepsTheMachinesOwnPolicy(t *testing.T) {
	root, _ := debianRoot(t)
	policy := filepath.Join(root, "usr/sbin/policy-rc.d")
	require.NoError(t, os.WriteFile(policy, []byte("#!/bin/sh\nexit 0\n"), 0o755))
	require.NoError(t, runInstallScript(t, root, "nothing"))
	kept, err := os.ReadFile(policy)
	require.NoError(t, err)
	require.Equal(t, "#!/bin/sh\nexit 0\n", string(kept))
}

// Of two installers at once, the first to end would take the policy away that the second needs.
func TestInstallersAreAlone(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	first, err := installAlone()
	require.NoError(t, err)
	other, err := os.Open(first.Name())
	require.NoError(t, err)
	defer other.Close()
	require.ErrorIs(t, syscall.Flock(int(other.Fd()), syscall.LOCK_EX|syscall.LOCK_NB), syscall.EWOULDBLOCK)
	require.NoError(t, first.Close())
	require.NoError(t, syscall.Flock(int(other.Fd()), syscall.LOCK_EX|syscall.LOCK_NB))
}
