package directorytest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/go-ldap/ldap/v3"
	"github.com/stretchr/testify/require"
)

func bind(t *testing.T, s Server, name, password string) error {
	t.Helper()
	conn, err := s.dial()
	require.NoError(t, err)
	defer conn.Close()
	return conn.Bind(name, password)
}

// Each account is refused, or not, as its comment says.
func TestAccountsOfActiveDirectory(t *testing.T) {
	ad := ActiveDirectory(t)
	for account, data := range map[string]string{
		Andrew: "", Nomail: "", Lockable: "", Disabled: "533", Expired: "701", Stale: "532", MustChange: "773", Nohours: "530", Elsewhere: "531",
	} {
		err := bind(t, ad.Server, Domain+`\`+account, ad.Password)
		if data == "" {
			require.NoError(t, err, account)
			continue
		}
		require.ErrorContains(t, err, "data "+data+",", account)
		require.ErrorContains(t, bind(t, ad.Server, Domain+`\`+account, "wrong"), "data 52e,", account)
	}
	require.Same(t, ad, ActiveDirectory(t))
	require.NoError(t, ad.Err())
}

func TestLocksAfterWrongPasswords(t *testing.T) {
	ad, err := StartSamba(t.Context(), say)
	require.NoError(t, err)
	defer func() { require.NoError(t, ad.Stop()) }()
	for range LockedAfter {
		require.ErrorContains(t, bind(t, ad.Server, Domain+`\`+Lockable, "wrong"), "data 52e,")
	}
	require.ErrorContains(t, bind(t, ad.Server, Domain+`\`+Lockable, ad.Password), "data 775,")
}

func TestAccountsOfOpenLDAP(t *testing.T) {
	s := OpenLDAP(t)
	for account, code := range map[string]uint16{Andrew: 0, Nomail: 0, MustChange: 0, Lockable: 0, Stale: ldap.LDAPResultInvalidCredentials} {
		err := bind(t, s.Server, "uid="+account+","+PeopleDN, s.Password)
		require.Equal(t, code != 0, ldap.IsErrorWithCode(err, code), "%s: %v", account, err)
		require.Equal(t, code == 0, err == nil, "%s: %v", account, err)
	}
	conn, err := ldap.DialURL(s.PlainURL)
	require.NoError(t, err)
	defer conn.Close()
	require.True(t, ldap.IsErrorWithCode(conn.Bind("uid="+Andrew+","+PeopleDN, s.Password), ldap.LDAPResultConfidentialityRequired))
	require.NoError(t, s.Err())
}

func commandLine(pid int) string {
	raw, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	return string(raw)
}

func TestNothingIsLeft(t *testing.T) {
	ad, err := StartSamba(t.Context(), say)
	require.NoError(t, err)
	plain, err := StartSlapd(t.Context(), say)
	require.NoError(t, err)
	require.DirExists(t, ad.dir)
	require.DirExists(t, plain.dir)
	require.NoError(t, ad.Stop())
	require.NoError(t, plain.Stop())
	require.NoDirExists(t, ad.dir)
	require.NoDirExists(t, plain.dir)
	require.Empty(t, commandLine(ad.Pid())+commandLine(plain.Pid()))
	require.NoError(t, ad.Err())
}

func TestDirectoriesOfAKilledParentEnd(t *testing.T) {
	dir := t.TempDir()
	parent := exec.CommandContext(t.Context(), os.Args[0])
	parent.Env = append(os.Environ(), childVariable+"="+dir)
	parent.Stderr = os.Stderr
	require.NoError(t, parent.Start())
	var pids [2]int
	var dirs [2]string
	require.Eventually(t, func() bool {
		raw, err := os.ReadFile(filepath.Join(dir, "ready"))
		if err != nil {
			return false
		}
		_, err = fmt.Sscan(string(raw), &pids[0], &pids[1], &dirs[0], &dirs[1])
		return err == nil
	}, 2*time.Minute, 20*time.Millisecond, "the parent's directories don't come up")
	require.Contains(t, commandLine(pids[0]), "samba")
	require.Contains(t, commandLine(pids[1]), "slapd")
	require.NoError(t, parent.Process.Signal(syscall.SIGKILL))
	_ = parent.Wait()
	for _, pid := range pids {
		require.Eventually(t, func() bool { return commandLine(pid) == "" }, 30*time.Second, 20*time.Millisecond, "process %d outlives its parent", pid)
	}
	for _, dir := range dirs { // the next run would remove them once they are an hour old
		require.DirExists(t, dir)
		require.NoError(t, os.RemoveAll(dir))
	}
}
