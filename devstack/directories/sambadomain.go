package directories

import (
	"context"
	"crypto/rand"
	_ "embed"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/muster-mdm/muster/devstack"
)

// sambaSettings is smb.conf; its only verbs are the folder of the domain and the address. With "interfaces" as a bare address Samba
// would look for an interface that has it; with a mask it takes it as it is.
const sambaSettings = `[global]
	netbios name = DC
	realm = ` + realm + `
	workgroup = ` + Domain + `
	server role = active directory domain controller
	server services = ldap
	interfaces = %[2]s/8
	bind interfaces only = yes
	tls certfile = %[1]s/../cert.pem
	tls keyfile = %[1]s/../key.pem
	tls cafile = %[1]s/../ca.pem
	private dir = %[1]s/private
	state directory = %[1]s/state
	cache directory = %[1]s/cache
	lock directory = %[1]s/lock
	pid directory = %[1]s/run
	ncalrpc dir = %[1]s/ncalrpc
	binddns dir = %[1]s/binddns
	log file = %[1]s/samba.log
	panic action =
	load printers = no
	printcap name = /dev/null
[sysvol]
	path = %[1]s/state/sysvol
[netlogon]
	path = %[1]s/state/netlogon
`

// accountsScript is for what samba-tool can't do.
//
//go:embed special_accounts.py
var accountsScript string

// domain is a folder with what makes a Samba a certain domain.
type domain struct {
	dir      string
	password string // of all accounts; kept beside the databases
}

func (d domain) config() string { return filepath.Join(d.dir, "smb.conf") }

func (d domain) passwordFile() string { return filepath.Join(d.dir, "password") }

// configure writes the settings for an address.
func (d domain) configure(address string) error {
	return os.WriteFile(d.config(), fmt.Appendf(nil, sambaSettings, d.dir, address), 0o600)
}

// makeDomain makes the domain and its accounts by samba-tool.
func makeDomain(ctx context.Context, found programs, dir string) (domain, error) {
	d := domain{dir: dir, password: newPassword()}
	for _, folder := range []string{"", "private", "state", "cache", "lock", "run", "binddns"} {
		if err := os.Mkdir(filepath.Join(dir, folder), 0o700); err != nil {
			return d, err
		}
	}
	if err := os.WriteFile(d.passwordFile(), []byte(d.password), 0o600); err != nil {
		return d, err
	}
	if err := d.configure("127.0.0.1"); err != nil {
		return d, err
	}
	for _, step := range recipe(newPassword(), d.password) {
		if err := d.run(ctx, append(append([]string{found["samba-tool"]}, step...), "--configfile="+d.config())...); err != nil {
			return d, fmt.Errorf("samba-tool %s %s: %w", step[0], step[1], err)
		}
	}
	python, err := interpreter(found["samba-tool"])
	if err != nil {
		return d, err
	}
	return d, d.run(ctx, python, "-c", accountsScript, d.config())
}

// interpreter is the Python that a script begins with: another one on the machine wouldn't have Samba's modules.
func interpreter(script string) (string, error) {
	raw, err := os.ReadFile(script)
	if err != nil {
		return "", err
	}
	first, _, _ := strings.Cut(string(raw), "\n")
	python, ok := strings.CutPrefix(first, "#!")
	if !ok {
		return "", fmt.Errorf("%s doesn't say which Python runs it: it begins with %q", script, first)
	}
	return strings.TrimSpace(python), nil
}

func (d domain) run(ctx context.Context, args ...string) error {
	return devstack.RunProgram(ctx, devstack.ProgramConfig{
		Name: filepath.Base(args[0]), Args: args, Env: environment(d.dir), Log: filepath.Join(d.dir, "make.log"),
	})
}

// newPassword begins with what satisfies Samba's rules; the rest is secret.
func newPassword() string { return "Aa1-" + rand.Text() }

// recipe is what samba-tool is told, in order.
func recipe(admin, password string) [][]string {
	steps := [][]string{
		{
			"domain", "provision", "--server-role=dc", "--use-rfc2307", "--dns-backend=NONE", "--realm=" + realm, "--domain=" + Domain,
			"--host-name=dc", "--host-ip=127.0.0.1", "--adminpass=" + admin,
		},
		// What is kept for long mustn't expire.
		{"domain", "passwordsettings", "set", "--min-pwd-age=0", "--max-pwd-age=0", "--account-lockout-threshold=0"},
		{"user", "create", Andrew, password, "--given-name=Andrew", "--surname=Fuller", "--mail-address=andrew@zylker.com"},
		{"user", "create", Nomail, password},
	}
	for _, name := range []string{Disabled, MustChange, Expired, Stale, Nohours, Elsewhere, Lockable} {
		steps = append(steps, []string{"user", "create", name, password, "--mail-address=" + name + "@zylker.com"})
	}
	policy := func(name string, precedence int, settings ...string) {
		steps = append(
			steps,
			append([]string{"domain", "passwordsettings", "pso", "create", name, strconv.Itoa(precedence)}, settings...),
			[]string{"domain", "passwordsettings", "pso", "apply", name, name},
		)
	}
	policy(Lockable, 1, "--account-lockout-threshold="+strconv.Itoa(LockedAfter), "--account-lockout-duration=30", "--reset-account-lockout-after=30")
	policy(Stale, 2, "--min-pwd-age=0", "--max-pwd-age=2") // Samba takes a single day for never
	return append(
		steps,
		[]string{"user", "disable", Disabled},
		[]string{"user", "setpassword", MustChange, "--newpassword=" + password, "--must-change-at-next-login"},
		[]string{"user", "setexpiry", Expired, "--days=-1"},
		[]string{"group", "add", "Staff"},
		[]string{"group", "add", "Drivers"},
		[]string{"group", "addmembers", "Staff", "Drivers"},
		[]string{"group", "addmembers", "Drivers", Andrew},
	)
}

// environment is all that the directories' programs see of ours: nothing steers them from outside.
func environment(home string) []string {
	return []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=" + home, "LC_ALL=C"}
}
