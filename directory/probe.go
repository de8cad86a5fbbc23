package directory

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"syscall"

	"github.com/go-ldap/ldap/v3"

	"github.com/muster-mdm/muster/provision"
)

// activeDirectoryCapability is LDAP_CAP_ACTIVE_DIRECTORY_OID of [MS-ADTS] 3.1.1.3.4.3.
const activeDirectoryCapability = "1.2.840.113556.1.4.800"

// Test asks every server, not only the first that answers, for what it tells anybody: whether it can be reached and trusted, is
// of the kind that the settings say, and holds the base DN. It knows no password, so what a server hides from strangers is taken for
// right until somebody signs in. Each failure is a sentence for administrators that names the server, with the code
// [provision.DirectoryUnavailable] or [provision.DirectoryInvalid]; several are joined.
func (l *LDAP) Test(ctx context.Context) error {
	var failures []error
	for _, s := range l.servers {
		err := s.do(ctx, l.probe)
		var told *provision.Error
		switch {
		case err == nil:
		case errors.As(err, &told):
			failures = append(failures, because(provision.Errorf(told.Code, "%s: %s", s.url, told.Message), err))
		default:
			failures = append(failures, because(provision.Errorf(provision.DirectoryUnavailable, "%s: %s", s.url, s.trouble(err)), err))
		}
	}
	return errors.Join(failures...)
}

func (l *LDAP) probe(conn *ldap.Conn) error {
	root, err := conn.Search(ldap.NewSearchRequest(
		"", ldap.ScopeBaseObject, ldap.NeverDerefAliases, 1, 0, false, "(objectClass=*)", []string{"namingContexts", "supportedCapabilities"}, nil,
	))
	if err != nil {
		if isOutage(err) {
			return err
		}
		return nil // it tells strangers nothing
	}
	if len(root.Entries) == 0 {
		return nil
	}
	about := root.Entries[0]
	isAD := slices.Contains(about.GetEqualFoldAttributeValues("supportedCapabilities"), activeDirectoryCapability)
	switch {
	case isAD && l.config.Kind != ActiveDirectory:
		return provision.Errorf(provision.DirectoryInvalid, "This is an Active Directory: set the kind to active_directory.").At("kind")
	case !isAD && l.config.Kind == ActiveDirectory:
		return provision.Errorf(provision.DirectoryInvalid, "This is no Active Directory: set the kind to ldap.").At("kind")
	}
	return l.probeBase(conn, about.GetEqualFoldAttributeValues("namingContexts"))
}

func (l *LDAP) probeBase(conn *ldap.Conn, contexts []string) error {
	if len(contexts) > 0 && !slices.ContainsFunc(contexts, l.config.isBelow) {
		return provision.Errorf(provision.DirectoryInvalid, "The base DN %s is not in this directory, which holds %s.",
			l.config.BaseDN, strings.Join(contexts, " and ")).At("base_dn")
	}
	_, err := conn.Search(ldap.NewSearchRequest(
		l.config.BaseDN, ldap.ScopeBaseObject, ldap.NeverDerefAliases, 1, 0, false, "(objectClass=*)", []string{noAttributes}, nil,
	))
	// A server that hides an entry says that it doesn't exist, but not then how far the path to it leads.
	var answer *ldap.Error
	if errors.As(err, &answer) && answer.ResultCode == ldap.LDAPResultNoSuchObject && answer.MatchedDN != "" {
		return provision.Errorf(provision.DirectoryInvalid, "The base DN %s does not exist; the nearest that does is %s.", l.config.BaseDN, answer.MatchedDN).At("base_dn")
	}
	if err != nil && (answer == nil || isLocal(answer)) {
		return err
	}
	return nil
}

// isBelow reports whether the base DN is a naming context or below it.
func (c LDAPConfig) isBelow(context string) bool {
	base, err := ldap.ParseDN(c.BaseDN)
	if err != nil {
		return false
	}
	above, err := ldap.ParseDN(context)
	return err == nil && (above.EqualFold(base) || above.AncestorOfFold(base))
}

// trouble says in a sentence why a server could not be asked.
func (s server) trouble(err error) string {
	var name *net.DNSError
	var unknown x509.UnknownAuthorityError
	var wrongHost x509.HostnameError
	var invalid x509.CertificateInvalidError
	var notTLS tls.RecordHeaderError
	var answer *ldap.Error
	isAnswer := errors.As(err, &answer) && !isLocal(answer)
	text := err.Error() // StartTLS wraps nothing, and says the same in words
	says := func(words string) bool { return strings.Contains(text, words) }
	switch {
	case errors.As(err, &name):
		return fmt.Sprintf("The name %s can't be resolved.", name.Name)
	case errors.Is(err, syscall.ECONNREFUSED):
		return "Nothing listens there: the connection is refused. Check host, port, and whether the server runs."
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Sprintf("There was no answer within %s.", s.timeout)
	case errors.Is(err, context.Canceled):
		return "The test was given up before it answered."
	case errors.As(err, &wrongHost), says("x509: certificate is valid for"), says("x509: cannot validate certificate for"):
		return fmt.Sprintf("Its certificate is made out to another name than %s.", s.tls.ServerName)
	case errors.As(err, &unknown), says("x509: certificate signed by unknown authority"):
		return "Its certificate is of an unknown authority: give the authority's certificate as the CA."
	case errors.As(err, &invalid), says("x509: certificate has expired or is not yet valid"):
		return "Its certificate is past its time, or not valid for other reasons."
	case errors.As(err, &notTLS):
		return "It doesn't speak TLS at this port: take port 636, or ldap:// with StartTLS."
	case isAnswer && s.startTLS:
		return fmt.Sprintf("It does not do StartTLS, or is not ready: it answered %q.", ldap.LDAPResultCodeMap[answer.ResultCode])
	case isAnswer:
		return fmt.Sprintf("It is not ready: it answered %q.", ldap.LDAPResultCodeMap[answer.ResultCode])
	}
	return "The connection broke off. Check the port, and whether the server speaks LDAP there."
}
