package directories

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/go-ldap/ldap/v3"

	"github.com/muster-mdm/muster/devstack"
)

// Samba is a running Active Directory domain controller. It serves LDAP only: no Kerberos, no files, no names.
type Samba struct {
	*devstack.Program
	Server
	// Dir is its folder, which Stop removes.
	Dir     string
	release func()
}

// Server is what whoever signs in must know of a directory.
type Server struct {
	URL      string // ldaps://…
	PlainURL string // ldap://…, which takes StartTLS, too
	CA       string // the authority of its certificate, in PEM
	Password string // of all accounts
}

// sambaPorts are fixed in Samba: LDAP, LDAPS, and those of the global catalogue.
var sambaPorts = []string{"389", "636", "3268", "3269"}

// startAttempts is how often Samba is started anew when its address was taken in the last moment.
const startAttempts = 5

// StartSamba starts a domain controller and returns when it answers. The context bounds the start, not the life.
func StartSamba(ctx context.Context, progress devstack.Progress) (*Samba, error) {
	if runtime.GOOS != "linux" {
		return nil, fmt.Errorf("samba's domain controller runs on Linux only, not on %s: run these tests there, or in a container of debian", runtime.GOOS)
	}
	if os.Geteuid() != 0 {
		return nil, errors.New("samba's ports are below 1024, so it must be started by root: run these tests with `sudo -E env PATH=$PATH go test`")
	}
	found, err := devstack.FindPrograms(ctx, sambaPrograms, progress)
	if err != nil {
		return nil, err
	}
	for attempt := 1; ; attempt++ {
		s, err := startSamba(ctx, found, progress)
		var crash *devstack.CrashError
		if err == nil || attempt == startAttempts || !errors.As(err, &crash) || !strings.Contains(crash.Log, "ADDRESS_ALREADY_ASSOCIATED") {
			return s, err
		}
	}
}

func startSamba(ctx context.Context, found programs, progress devstack.Progress) (*Samba, error) {
	dir, release, err := devstack.ThrowAway("samba")
	if err != nil {
		return nil, err
	}
	s, err := startSambaIn(ctx, found, dir, progress)
	if err != nil {
		release()
		return nil, err
	}
	s.Dir, s.release = dir, release
	return s, nil
}

func startSambaIn(ctx context.Context, found programs, dir string, progress devstack.Progress) (*Samba, error) {
	d, err := furnish(ctx, found, filepath.Join(dir, "domain"), progress)
	if err != nil {
		return nil, err
	}
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	ca, err := NewAuthority()
	if err != nil {
		return nil, err
	}
	if err := errors.Join(ca.write(dir, address), d.configure(address)); err != nil {
		return nil, err
	}
	program, err := devstack.StartProgram(devstack.ProgramConfig{
		Name: "Samba", Log: filepath.Join(dir, "samba.log"), Env: environment(dir),
		// A single process has no children that would outlive it.
		Args: []string{found["samba"], "--configfile=" + d.config(), "--foreground", "--model=single", "--no-process-group", "--debug-stdout"},
	})
	if err != nil {
		return nil, err
	}
	s := &Samba{Program: program, Server: Server{
		URL: "ldaps://" + net.JoinHostPort(address, "636"), PlainURL: "ldap://" + net.JoinHostPort(address, "389"),
		CA: ca.PEM, Password: d.password,
	}}
	if err := program.Await(ctx, s.answers); err != nil {
		return nil, errors.Join(err, program.Stop())
	}
	return s, nil
}

// Stop ends the domain controller and removes its folder.
func (s *Samba) Stop() error {
	err := s.Program.Stop()
	s.release()
	return err
}

func (s *Samba) answers(context.Context) error {
	conn, err := s.Dial()
	if err != nil {
		return err
	}
	defer conn.Close()
	return conn.Bind(Domain+`\`+Andrew, s.Password)
}

// Dial connects by LDAPS, without binding.
func (s Server) Dial() (*ldap.Conn, error) {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(s.CA))
	host, _, err := net.SplitHostPort(strings.TrimPrefix(s.URL, "ldaps://"))
	if err != nil {
		return nil, err
	}
	return ldap.DialURL(s.URL, ldap.DialWithTLSConfig(&tls.Config{RootCAs: roots, ServerName: host, MinVersion: tls.VersionTLS12}))
}
