package serve

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"

	"github.com/muster-mdm/muster/api"
	"github.com/muster-mdm/muster/api/checkin"
	"github.com/muster-mdm/muster/api/enroll"
	"github.com/muster-mdm/muster/api/intake"
	"github.com/muster-mdm/muster/apple/identity"
	"github.com/muster-mdm/muster/cmd/muster/settings"
	"github.com/muster-mdm/muster/directory"
)

// Paths of the endpoints that devices use; enrollment profiles hold them for years, so they never change.
const (
	mdmPath    = "/mdm"
	scepPath   = "/scep"
	enrollPath = "/enroll"
)

// addresses settles the address under which devices reach us, and TLS.
func (svc *Service) addresses(l net.Listener) error {
	s := svc.settings
	scheme := "http"
	if s.TLSCertFile != "" {
		pair, err := tls.LoadX509KeyPair(s.TLSCertFile, s.TLSKeyFile)
		if err != nil {
			return fmt.Errorf("reading the server certificate: %w", err)
		}
		svc.tls = &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}}
		scheme = "https"
	}
	svc.url = strings.TrimSuffix(s.PublicURL, "/")
	if svc.url == "" {
		svc.url = scheme + "://" + l.Addr().String()
	}
	return nil
}

// handler assembles what this process serves in its roles. Every process has health, metrics and version.
func (svc *Service) handler(ctx context.Context) (http.Handler, error) {
	if err := svc.storePushCertificate(ctx); err != nil {
		return nil, err
	}
	authority, err := identity.LoadAuthority(ctx, svc.db, identity.AuthorityConfig{
		Organization: svc.settings.Organization, Validity: svc.settings.IdentityValidity,
	})
	if err != nil {
		return nil, err
	}
	links, err := authority.Secret("document links")
	if err != nil {
		return nil, err
	}
	svc.db.LinkDocuments(svc.url+api.DocumentsPath, links)
	cases, err := intake.New(svc.db, intake.Settings{
		AssignmentRequirement: svc.settings.AssignmentRequirement, UnassignAtReenrollment: !svc.settings.ReenrollKeepsAssignment,
		Organization: svc.settings.Organization, Edition: directory.Edition(svc.settings.Edition), SignInReturn: svc.url + enroll.ReturnPath,
	})
	if err != nil {
		return nil, err
	}
	config := api.Config{
		URL: svc.url, DB: svc.db, Policy: svc.policy(), Temporal: svc.temporalAnswers, Build: build(), Log: svc.log, Registry: svc.metrics,
		RatePerSecond: float64(svc.settings.RatePerSecond), Burst: svc.settings.RateBurst,
	}
	if svc.settings.Has(settings.RoleAPI) {
		config.Intake, config.EnrollmentProfiles = cases, svc.enroller
	}
	if svc.settings.Has(settings.RoleMDM) {
		config.Documents = true
		if config.MDM, err = svc.checkins(authority, cases); err != nil {
			return nil, err
		}
		if config.Enroll, config.SCEP, err = svc.doors(authority, cases); err != nil {
			return nil, err
		}
	}
	return api.New(config) //nolint:contextcheck // requests bring their own
}

func (svc *Service) checkins(authority *identity.Authority, cases *intake.Intake) (http.Handler, error) {
	proxies, err := prefixes(svc.settings.TrustedProxies)
	if err != nil {
		return nil, err
	}
	parts := checkin.Parts{Store: svc.db, Storage: svc.storage, Authority: authority, Facts: cases, Title: api.Title}
	foreign, err := svc.foreign()
	if err != nil {
		return nil, err
	}
	issuers := []*x509.Certificate{authority.Certificate()}
	if foreign != nil {
		parts.Foreign = foreign
		issuers = append(issuers, foreign.Certificates()...)
	}
	svc.askForCertificates(issuers)
	return checkin.New(
		parts,
		checkin.Config{
			ExpiredGrace: svc.settings.IdentityGrace, ClientHeader: svc.settings.ProxyCertHeader, TrustedProxies: proxies, Log: svc.log,
		})
}

// askForCertificates has TLS ask who comes for a certificate. Any is taken; the MDM endpoint decides about it. The authorities are
// named so that browsers don't ask people which of their certificates to show here: none of theirs is meant.
func (svc *Service) askForCertificates(issuers []*x509.Certificate) {
	if svc.tls == nil {
		return
	}
	svc.tls.ClientAuth, svc.tls.ClientCAs = tls.RequestClientCert, x509.NewCertPool()
	for _, issuer := range issuers {
		svc.tls.ClientCAs.AddCert(issuer)
	}
}

func prefixes(texts []string) ([]netip.Prefix, error) {
	var all []netip.Prefix
	for _, text := range texts {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			addr, addrErr := netip.ParseAddr(text)
			if addrErr != nil {
				return nil, fmt.Errorf("%sTRUSTED_PROXIES: %q is neither an address nor a CIDR", settings.Prefix, text)
			}
			p = netip.PrefixFrom(addr, addr.BitLen())
		}
		all = append(all, p)
	}
	return all, nil
}
