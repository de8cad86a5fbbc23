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

	"github.com/muster-mdm/muster/devstack/directories"
)

func bind(t *testing.T, s directories.Server, name, password string) error {
	t.Helper()
	conn, err := s.Dial()
	require.NoError(t, err)
	defer conn.Close()
	return conn.Bind(name, password)
}

// Each account is refused, or not, as its comment says.
func TestAccountsOfActiveDirectory(t *testing.T) {
	ad := ActiveDirectory(t)
	for account, data := range map[string]string{
		directories.Andrew: "", directories.Nomail: "", directories.Lockable: "", directories.Disabled: "533", directories.Expired: "701", directories.Stale: "532", directories.MustChange: "773", directories.Nohours: "530", directories.Elsewhere: "531",
	} {
		err := bind(t, ad.Server, directories.Domain+`\`+account, ad.Password)
		if data == "" {
			require.NoError(t, err, account)
			continue
		}
		require.ErrorContains(t, err, "data "+data+",", account)
		require.ErrorContains(t, bind(t, ad.Server, directories.Domain+`\`+account, "wrong"), "data 52e,", account)
	}
	require.Same(t, ad, ActiveDirectory(t))
	require.NoError(t, ad.Err())
}

func TestLocksAfterWrongPasswords(t *testing.T) {
	ad, err := directories.StartSamba(t.Context(), say)
	require.NoError(t, err)
	defer func() { require.NoError(t, ad.Stop()) }()
	for range directories.LockedAfter {
		require.ErrorContains(t, bind(t, ad.Server, directories.Domain+`\`+directories.Lockable, "wrong"), "data 52e,")
	}
	require.ErrorContains(t, bind(t, ad.Server, directories.Domain+`\`+directories.Lockable, ad.Password), "data 775,")
}

func TestAccountsOfOpenLDAP(t *testing.T) {
	s := OpenLDAP(t)
	for account, code := range map[string]uint16{directories.Andrew: 0, directories.Nomail: 0, directories.MustChange: 0, directories.Lockable: 0, directories.Stale: ldap.LDAPResultInvalidCredentials} {
		err := bind(t, s.Server, "uid="+account+","+directories.PeopleDN, s.Password)
		require.Equal(t, code != 0, ldap.IsErrorWithCode(err, code), "%s: %v", account, err)
		require.Equal(t, code == 0, err == nil, "%s: %v", account, err)
	}
	conn, err := ldap.DialURL(s.PlainURL)
	require.NoError(t, err)
	defer conn.Close()
	require.True(t, ldap.IsErrorWithCode(conn.Bind("uid="+directories.Andrew+","+directories.PeopleDN, s.Password), ldap.LDAPResultConfidentialityRequired))
	require.NoError(t, s.Err())
}

func commandLine(pid int) string {
	raw, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	return string(raw)
}

func TestNothingIsLeft(t *testing.T) {
	ad, err := directories.StartSamba(t.Context(), say)
	require.NoError(t, err)
	plain, err := directories.StartSlapd(t.Context(), say)
	require.NoError(t, err)
	require.DirExists(t, ad.Dir)
	require.DirExists(t, plain.Dir)
	require.NoError(t, ad.Stop())
	require.NoError(t, plain.Stop())
	require.NoDirExists(t, ad.Dir)
	require.NoDirExists(t, plain.Dir)
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

func TestMoreAccountsOfOpenLDAP(t *testing.T) {
	s, err := directories.StartSlapd(t.Context(), say, directories.Account{Name: "mia", Mail: "mia@zylker.com", Group: "fleet"},
		directories.Account{Name: "noah", Mail: "noah@zylker.com", Group: "fleet"}, directories.Account{Name: "olga", Mail: "olga@zylker.com"})
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Stop()) }()
	conn, err := s.Dial()
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, conn.Bind("uid=olga,"+directories.PeopleDN, s.Password))
	found, err := conn.Search(ldap.NewSearchRequest(directories.BaseDN, ldap.ScopeWholeSubtree, ldap.NeverDerefAliases, 0, 0, false,
		"(cn=fleet)", []string{"member"}, nil))
	require.NoError(t, err)
	require.Len(t, found.Entries, 1)
	require.Equal(t, []string{"uid=mia," + directories.PeopleDN, "uid=noah," + directories.PeopleDN}, found.Entries[0].GetAttributeValues("member"))
}
