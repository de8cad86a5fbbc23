package directory_test

import (
	"context"
	"crypto/tls"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/devstack/directories"
	"github.com/muster-mdm/muster/directory"
	"github.com/muster-mdm/muster/provision"
)

// quick is a time-out that a test may wait for.
const quick = 200 * time.Millisecond

func clientTLS(t *testing.T, s directories.Server) *tls.Config {
	t.Helper()
	host, _, err := net.SplitHostPort(strings.TrimPrefix(s.URL, "ldaps://"))
	require.NoError(t, err)
	return &tls.Config{RootCAs: pool(t, s.CA), ServerName: host, MinVersion: tls.VersionTLS12}
}

func hostPort(url string) string { return url[strings.Index(url, "://")+3:] }

// Whatever is between us and the directory, nobody is told that a password is wrong, and the test says what it is.
func TestOutageIsNotAWrongPassword(t *testing.T) {
	config, ad := zylker(t)
	stranger, own := authority(t), authority(t)
	overnight := time.Now().Add(time.Hour)
	relayed, _ := relay(t, hostPort(ad.URL))
	relayedPlain, _ := relay(t, hostPort(ad.PlainURL))

	mute := listen(t, silent)
	hangUp := listen(t, func(net.Conn) {})
	muteAfterTLS := listen(t, under(serverTLS(t, own, "127.0.0.1", overnight), silent))
	hangUpAfterTLS := listen(t, under(serverTLS(t, own, "127.0.0.1", overnight), func(net.Conn) {}))
	outOfDate := listen(t, under(serverTLS(t, own, "127.0.0.1", time.Now().Add(-time.Minute)), silent))
	answerHTTP := func(conn net.Conn) {
		_, _ = conn.Read(make([]byte, 1))
		_, _ = conn.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"))
	}
	unTLS, unLDAP := listen(t, answerHTTP), listen(t, under(serverTLS(t, own, "127.0.0.1", overnight), answerHTTP))

	for name, c := range map[string]struct {
		url      string
		startTLS bool
		ca       string
		says     string // the test of the directory
	}{
		"server down":                           {"ldaps://" + nobodyListens, false, ad.CA, "Nothing listens there: the connection is refused. Check host, port, and whether the server runs."},
		"name unknown":                          {"ldaps://dc1.invalid", false, ad.CA, "The name dc1.invalid can't be resolved."},
		"certificate of a stranger":             {ad.URL, false, stranger.PEM, "Its certificate is of an unknown authority: give the authority's certificate as the CA."},
		"certificate of a stranger by StartTLS": {ad.PlainURL, true, stranger.PEM, "Its certificate is of an unknown authority: give the authority's certificate as the CA."},
		"wrong host name":                       {"ldaps://" + relayed, false, ad.CA, "Its certificate is made out to another name than 127.0.0.1."},
		"wrong host name by StartTLS":           {"ldap://" + relayedPlain, true, ad.CA, "Its certificate is made out to another name than 127.0.0.1."},
		"certificate out of date":               {"ldaps://" + outOfDate, false, own.PEM, "Its certificate is past its time, or not valid for other reasons."},
		"no answer at all":                      {"ldaps://" + mute, false, ad.CA, "There was no answer within 200ms."},
		"no answer to StartTLS":                 {"ldap://" + mute, true, ad.CA, "There was no answer within 200ms."},
		"no answer after the handshake":         {"ldaps://" + muteAfterTLS, false, own.PEM, "There was no answer within 200ms."},
		"hangs up":                              {"ldaps://" + hangUp, false, ad.CA, "The connection broke off. Check the port, and whether the server speaks LDAP there."},
		"hangs up after the handshake":          {"ldaps://" + hangUpAfterTLS, false, own.PEM, "The connection broke off. Check the port, and whether the server speaks LDAP there."},
		"port without TLS":                      {"ldaps://" + hostPort(ad.PlainURL), false, ad.CA, "The connection broke off. Check the port, and whether the server speaks LDAP there."},
		"no TLS at this port":                   {"ldaps://" + unTLS, false, ad.CA, "It doesn't speak TLS at this port: take port 636, or ldap:// with StartTLS."},
		"no LDAP at this port":                  {"ldaps://" + unLDAP, false, own.PEM, "The connection broke off. Check the port, and whether the server speaks LDAP there."},
	} {
		t.Run(name, func(t *testing.T) {
			noLeaks(t)
			c2 := config
			c2.URLs, c2.StartTLS, c2.Trust = []string{c.url}, c.startTLS, directory.Trust{CA: c.ca}
			if strings.HasPrefix(c.says, "There was no answer") {
				c2.Timeout = quick
			}
			l := newLDAP(t, c2)
			p, err := l.SignIn(t.Context(), "andrew", ad.Password)
			refused(t, provision.DirectoryUnavailable, p, err)
			require.Equal(t, "The directory of ZYLKER can't be asked at the moment. That says nothing about your password; try again later.", told(t, err))

			err = l.Test(t.Context())
			require.Equal(t, provision.DirectoryUnavailable, provision.CodeOf(err))
			require.Equal(t, c.url+": "+c.says, told(t, err), "%v", err)
		})
	}
}

// A caller that gives up isn't kept waiting for the directory's own time-out.
func TestSignInEndsWithItsContext(t *testing.T) {
	config, _ := zylker(t)
	noLeaks(t)
	ctx, cancel := context.WithCancel(t.Context())
	config.URLs = []string{"ldaps://" + listen(t, func(conn net.Conn) {
		cancel()
		silent(conn)
	}), "ldaps://" + nobodyListens}
	config.Timeout = time.Hour
	p, err := newLDAP(t, config).SignIn(ctx, "andrew", "any")
	refused(t, provision.DirectoryUnavailable, p, err)
	require.ErrorIs(t, err, context.Canceled)
}

func TestServersAreTriedUntilOneAnswers(t *testing.T) {
	config, ad := zylker(t)
	relayed, asked := relay(t, hostPort(ad.PlainURL))
	config.StartTLS = true
	// Behind a relay the certificate has another name; the silent one runs into the time-out, which the real one must not.
	config.Timeout = 2 * time.Second
	config.URLs = []string{"ldap://" + nobodyListens, "ldap://" + relayed, "ldap://" + listen(t, silent), ad.PlainURL}
	p, err := newLDAP(t, config).SignIn(t.Context(), "andrew", ad.Password)
	require.NoError(t, err)
	require.Equal(t, "andrew", p.Name)
	require.EqualValues(t, 1, asked.Load())

	config.URLs = slices.Delete(config.URLs, 2, 3)
	var failures interface{ Unwrap() []error }
	require.ErrorAs(t, newLDAP(t, config).Test(t.Context()), &failures)
	require.Len(t, failures.Unwrap(), 2, "each server is tested by itself")
}

// An account that is locked after three wrong passwords mustn't be locked by one person's first.
func TestWrongPasswordIsTriedOnce(t *testing.T) {
	second := make(chan struct{}, 1)
	config := directory.LDAPConfig{
		Kind: directory.ActiveDirectory, Domain: "ZYLKER", BaseDN: directories.BaseDN, InsecurePlain: true,
		URLs: []string{
			"ldap://" + listen(t, answerBind(49, "80090308: LdapErr: DSID-0C0903A9, comment: AcceptSecurityContext error, data 52e, v1db1")),
			"ldap://" + listen(t, func(net.Conn) { second <- struct{}{} }),
		},
	}
	p, err := newLDAP(t, config).SignIn(t.Context(), "andrew", "wrong")
	refused(t, provision.SignInRefused, p, err)
	require.Empty(t, second)
}

// A bind with a name and no password would succeed as nobody, so none is made.
func TestEmptyPasswordIsNotEvenSent(t *testing.T) {
	asked := make(chan struct{}, 1)
	l := newLDAP(t, directory.LDAPConfig{
		Kind: directory.ActiveDirectory, Domain: "ZYLKER", BaseDN: directories.BaseDN, InsecurePlain: true,
		URLs: []string{"ldap://" + listen(t, func(net.Conn) { asked <- struct{}{} })},
	})
	for _, password := range []string{"", "\x00", "\x00secret", "secret\x00"} {
		p, err := l.SignIn(t.Context(), "andrew", password)
		refused(t, provision.SignInRefused, p, err)
	}
	require.Empty(t, asked)
}
