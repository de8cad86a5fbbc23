package directories

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/muster-mdm/muster/devstack"
)

// PeopleDN is where slapd's accounts are: uid=andrew,ou=people,…
const PeopleDN = "ou=people," + BaseDN

// Slapd is a running OpenLDAP server. Of a password it demands encryption.
type Slapd struct {
	*devstack.Program
	Server
	// Dir is its folder, which Stop removes.
	Dir     string
	release func()
}

// StartSlapd starts an OpenLDAP server that has more accounts than the usual ones if asked, and returns
// when it answers. The context bounds the start, not the life.
func StartSlapd(ctx context.Context, progress devstack.Progress, more ...Account) (*Slapd, error) {
	found, err := devstack.FindPrograms(ctx, slapdPrograms, progress)
	if err != nil {
		return nil, err
	}
	dir, release, err := devstack.ThrowAway("slapd")
	if err != nil {
		return nil, err
	}
	s, err := startSlapdIn(ctx, found, dir, more)
	if err != nil {
		release()
		return nil, err
	}
	s.Dir, s.release = dir, release
	return s, nil
}

func startSlapdIn(ctx context.Context, found programs, dir string, more []Account) (*Slapd, error) {
	ca, err := NewAuthority()
	if err != nil {
		return nil, err
	}
	server := Server{CA: ca.PEM, Password: rand.Text()}
	for _, address := range []struct {
		url    *string
		scheme string
	}{{&server.URL, "ldaps"}, {&server.PlainURL, "ldap"}} {
		port, err := devstack.FreePort()
		if err != nil {
			return nil, err
		}
		*address.url = fmt.Sprintf("%s://127.0.0.1:%d", address.scheme, port)
	}
	config := filepath.Join(dir, "slapd.conf")
	if err := errors.Join(
		ca.write(dir, "127.0.0.1"),
		os.WriteFile(config, fmt.Appendf(nil, slapdSettings, dir), 0o600),
		os.WriteFile(filepath.Join(dir, "entries.ldif"), fmt.Appendf(nil, slapdEntries+entriesOf(more), server.Password), 0o600),
		os.Mkdir(filepath.Join(dir, "data"), 0o700),
	); err != nil {
		return nil, err
	}
	if err := devstack.RunProgram(ctx, devstack.ProgramConfig{
		Name: "slapadd", Log: filepath.Join(dir, "slapadd.log"), Env: environment(dir),
		Args: []string{found["slapadd"], "-f", config, "-l", filepath.Join(dir, "entries.ldif")},
	}); err != nil {
		return nil, fmt.Errorf("filling OpenLDAP: %w", err)
	}
	program, err := devstack.StartProgram(devstack.ProgramConfig{
		Name: "OpenLDAP", Log: filepath.Join(dir, "slapd.log"), Env: environment(dir),
		// -d keeps it in the foreground.
		Args: []string{found["slapd"], "-d", "stats", "-f", config, "-h", server.URL + " " + server.PlainURL},
	})
	if err != nil {
		return nil, err
	}
	s := &Slapd{Program: program, Server: server}
	if err := program.Await(ctx, s.answers); err != nil {
		return nil, errors.Join(err, program.Stop())
	}
	return s, nil
}

func (s *Slapd) answers(context.Context) error {
	conn, err := s.Dial()
	if err != nil {
		return err
	}
	defer conn.Close()
	return conn.Bind("uid="+Andrew+","+PeopleDN, s.Password)
}

// Stop ends the server and removes its folder.
func (s *Slapd) Stop() error {
	err := s.Program.Stop()
	s.release()
	return err
}
