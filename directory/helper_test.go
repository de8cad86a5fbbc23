package directory_test

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/muster-mdm/muster/devstack/directories"
	"github.com/muster-mdm/muster/directory"
	"github.com/muster-mdm/muster/provision"
)

// refused is the end of every test that expects no sign-in: the code, and nobody.
func refused(t *testing.T, code provision.Code, p directory.Person, err error) {
	t.Helper()
	require.Equal(t, code, provision.CodeOf(err), "%v", err)
	require.Zero(t, p)
}

// told is the sentence for people.
func told(t *testing.T, err error) string {
	t.Helper()
	var rule *provision.Error
	require.ErrorAs(t, err, &rule)
	return rule.Message
}

func newLDAP(t *testing.T, config directory.LDAPConfig) *directory.LDAP {
	t.Helper()
	l, err := directory.NewLDAP(config)
	require.NoError(t, err)
	return l
}

// noLeaks fails the test if anything goes on after it.
func noLeaks(t *testing.T) {
	t.Helper()
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, before) })
}

func pool(t *testing.T, ca string) *x509.CertPool {
	t.Helper()
	roots := x509.NewCertPool()
	require.True(t, roots.AppendCertsFromPEM([]byte(ca)))
	return roots
}

// listen serves each connection by a function, until the test ends. It returns host:port.
func listen(t *testing.T, serve func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var open sync.Map
	var all sync.WaitGroup
	all.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			open.Store(conn, nil)
			all.Go(func() {
				defer conn.Close()
				serve(conn)
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		open.Range(func(conn, _ any) bool {
			_ = conn.(net.Conn).Close()
			return true
		})
		all.Wait()
	})
	return l.Addr().String()
}

// silent takes what comes, and never answers.
func silent(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }

// under serves connections by TLS.
func under(config *tls.Config, serve func(net.Conn)) func(net.Conn) {
	return func(conn net.Conn) {
		encrypted := tls.Server(conn, config)
		if encrypted.Handshake() == nil {
			serve(encrypted)
		}
	}
}

// serverTLS is for a server at an address with a certificate of the authority.
func serverTLS(t *testing.T, ca *directories.Authority, address string, until time.Time) *tls.Config {
	t.Helper()
	certificate, key, err := ca.Issue(address, until)
	require.NoError(t, err)
	pair, err := tls.X509KeyPair(certificate, key)
	require.NoError(t, err)
	return &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
}

func authority(t *testing.T) *directories.Authority {
	t.Helper()
	ca, err := directories.NewAuthority()
	require.NoError(t, err)
	return ca
}

// relay passes connections on to an address, and counts them.
func relay(t *testing.T, to string) (address string, count *atomic.Int32) {
	t.Helper()
	count = new(atomic.Int32)
	return listen(t, func(conn net.Conn) {
		count.Add(1)
		onward, err := net.Dial("tcp", to)
		if err != nil {
			return
		}
		defer onward.Close()
		back := make(chan struct{})
		go func() {
			defer close(back)
			_, _ = io.Copy(conn, onward)
			_ = conn.Close()
		}()
		_, _ = io.Copy(onward, conn)
		_ = onward.Close()
		<-back
	}), count
}

// nobodyListens is an address at which the connection is refused: a free port of the kernel's choice could be given to the next who asks.
const nobodyListens = "127.0.0.1:1"
