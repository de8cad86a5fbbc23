package directory

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"time"

	"github.com/go-ldap/ldap/v3"

	"github.com/muster-mdm/muster/provision"
)

// server is one of a directory's servers.
type server struct {
	url      string
	address  string // host:port
	ldaps    bool
	startTLS bool
	tls      *tls.Config
	timeout  time.Duration
}

func newServer(text string, config LDAPConfig) (server, error) {
	address, err := url.Parse(text)
	if err != nil {
		return server{}, err
	}
	roots, err := config.pool()
	if err != nil {
		return server{}, err
	}
	s := server{url: text, ldaps: address.Scheme == "ldaps", timeout: config.Timeout}
	s.startTLS = config.StartTLS && !s.ldaps
	port := address.Port()
	switch {
	case port != "":
	case s.ldaps:
		port = ldap.DefaultLdapsPort
	default:
		port = ldap.DefaultLdapPort
	}
	s.address = net.JoinHostPort(address.Hostname(), port)
	s.tls = &tls.Config{ServerName: address.Hostname(), RootCAs: roots, MinVersion: tls.VersionTLS12}
	return s, nil
}

// outageError says that a server did not answer, or had no answer.
type outageError struct {
	server string
	cause  error
}

func (e *outageError) Error() string { return fmt.Sprintf("%s: %v", e.server, e.cause) }

func (e *outageError) Unwrap() error { return e.cause }

// do connects, does something, and disconnects, all within the server's time. It fails with an *outageError when that wasn't possible,
// with what do returned when the server has answered.
func (s server) do(ctx context.Context, do func(*ldap.Conn) error) error {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	conn, err := s.connect(ctx)
	if err == nil {
		defer conn.Close()
		err = do(conn)
	}
	var told *provision.Error
	if err == nil || errors.As(err, &told) || !isOutage(err) {
		return err
	}
	if ctx.Err() != nil { // closing the connection is how a deadline makes itself felt
		err = fmt.Errorf("%w: %w", ctx.Err(), err)
	}
	return &outageError{s.url, err}
}

// connect opens a connection that ends with the context, encrypted as the settings say.
func (s server) connect(ctx context.Context) (*ldap.Conn, error) {
	var dialer net.Dialer
	raw, err := dialer.DialContext(ctx, "tcp", s.address)
	if err != nil {
		return nil, err
	}
	context.AfterFunc(ctx, func() { _ = raw.Close() }) // the library knows no contexts
	if !s.ldaps {
		conn := ldap.NewConn(raw, false)
		conn.Start()
		if !s.startTLS {
			return conn, nil
		}
		if err := conn.StartTLS(s.tls); err != nil {
			_ = conn.Close()
			return nil, err
		}
		return conn, nil
	}
	encrypted := tls.Client(raw, s.tls)
	if err := encrypted.HandshakeContext(ctx); err != nil {
		_ = raw.Close()
		return nil, err
	}
	conn := ldap.NewConn(encrypted, true)
	conn.Start()
	return conn, nil
}

// errMisfit is an answer that doesn't fit the settings.
var errMisfit = errors.New("the answer doesn't fit the settings")

// isOutage tells that a server didn't answer, or answered that it can't, from every other answer. What is no answer of LDAP at all
// is the network's.
func isOutage(err error) bool {
	if errors.Is(err, errMisfit) {
		return false
	}
	var answer *ldap.Error
	if !errors.As(err, &answer) {
		return true
	}
	switch answer.ResultCode {
	case ldap.LDAPResultInvalidCredentials:
		return subCodeOf(answer) == noLogonServers
	case ldap.LDAPResultOperationsError, ldap.LDAPResultTimeLimitExceeded, ldap.LDAPResultAdminLimitExceeded, ldap.LDAPResultBusy,
		ldap.LDAPResultUnavailable, ldap.LDAPResultUnwillingToPerform, ldap.LDAPResultOther:
		return true
	}
	return isLocal(answer)
}

// isLocal reports whether the library says this, not the server: its own codes, and those that LDAP's C interface reserves for clients.
func isLocal(answer *ldap.Error) bool {
	return answer.ResultCode >= ldap.ErrorNetwork ||
		answer.ResultCode >= ldap.LDAPResultServerDown && answer.ResultCode <= ldap.LDAPResultReferralLimitExceeded
}
