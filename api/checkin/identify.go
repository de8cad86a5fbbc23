package checkin

import (
	"context"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	httpmdm "github.com/micromdm/nanomdm/http/mdm"
	nanomdm "github.com/micromdm/nanomdm/mdm"

	"github.com/muster-mdm/muster/apple/identity"
	"github.com/muster-mdm/muster/apple/mdm"
	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/store"
)

// Authority tells the certificates that it issued from all others.
type Authority interface {
	Verify(cert *x509.Certificate) error
}

// doorkeeper finds out which device sends a request.
type doorkeeper struct {
	config    Config
	authority Authority
	foreign   Authority
	store     *store.DB
	facts     Facts
}

// caller is the device that sends a request.
type caller struct {
	store.Identity
	cert *x509.Certificate
	// over: it checked out, which ended the certificate; it may only say so again.
	over bool
}

func refused(format string, args ...any) error {
	return provision.Errorf(provision.IdentityRefused, format, args...)
}

// proof is by what a caller shows which device it is, before its message is read.
type proof struct {
	cert *x509.Certificate
	// signature is that of the message; nil = TLS or the proxy has seen that the certificate is the caller's.
	signature *mdm.Signature
	// ours: this server's authority issued the certificate, not another one that counts.
	ours bool
}

// proof finds what a caller shows. Whoever shows nothing that an authority issued which counts is refused with that, so that their
// message, of megabytes, needn't be read.
func (d *doorkeeper) proof(r *http.Request) (proof, error) {
	p, err := d.shown(r)
	if err != nil {
		return p, err
	}
	p.ours = d.authority.Verify(p.cert) == nil
	if !p.ours && (d.foreign == nil || d.foreign.Verify(p.cert) != nil) {
		return p, refused("The certificate was not issued by this server's authority.")
	}
	return p, nil
}

// identify finds the device that sends a message.
func (d *doorkeeper) identify(ctx context.Context, p proof, body []byte) (caller, error) {
	if p.signature != nil {
		if err := p.signature.Verify(body, clockSlack+d.config.ExpiredGrace); err != nil {
			return caller{}, refused("The message's signature is wrong: %s.", err)
		}
	}
	cert := p.cert
	id, err := d.issued(ctx, p)
	if err != nil {
		return caller{}, err
	}
	over := false
	switch now := d.config.Now(); {
	case id.Released:
		return caller{}, provision.Errorf(provision.DeviceReleased, "Device %s was released.", id.Serial)
	case id.Revoked && id.Current && id.Management == provision.Unmanaged:
		over = true
	case id.Revoked:
		return caller{}, refused("The certificate of device %s was revoked.", id.Serial)
	case now.After(id.NotAfter.Add(d.config.ExpiredGrace)):
		return caller{}, refused("The certificate of device %s expired on %s.", id.Serial, id.NotAfter.Format(time.DateOnly))
	case now.Before(cert.NotBefore):
		return caller{}, refused("The certificate of device %s is not valid yet; the server's clock may be wrong.", id.Serial)
	}
	return caller{Identity: id, cert: cert, over: over}, nil
}

// issued finds what a certificate amounts to. One of another authority becomes known here when a device enrolls by it.
func (d *doorkeeper) issued(ctx context.Context, p proof) (store.Identity, error) {
	cert := p.cert
	id, err := d.store.Identity(ctx, mdm.CertificateHash(cert))
	if p.ours || provision.CodeOf(err) != provision.IdentityRefused {
		return id, err
	}
	serial, err := provision.ParseSerial(cert.Subject.CommonName)
	if err != nil {
		return id, refused("The common name of the certificate, %.40q, is not a serial number.", cert.Subject.CommonName)
	}
	return d.store.ForeignIdentity(ctx, serial, cert, identity.RenewalOf(cert))
}

// clockSlack is how wrong a device's clock may be when it signs.
const clockSlack = 24 * time.Hour

// shown takes the signature first, the only proof that covers the message. One that is there must be right.
func (d *doorkeeper) shown(r *http.Request) (proof, error) {
	if header := r.Header.Get("Mdm-Signature"); header != "" {
		signature, err := mdm.ReadSignature(header)
		if err != nil {
			return proof{}, refused("The message's signature is wrong: %s.", err)
		}
		return proof{cert: signature.Signer(), signature: signature}, nil
	}
	if r.TLS != nil && len(r.TLS.PeerCertificates) > 0 {
		return proof{cert: r.TLS.PeerCertificates[0]}, nil
	}
	if values := r.Header.Values(d.config.ClientHeader); d.config.ClientHeader != "" && strings.Join(values, "") != "" && d.trusted(r) {
		cert, err := d.handedOver(values)
		return proof{cert: cert}, err
	}
	return proof{}, refused("The message comes without a certificate: neither signed nor over TLS with one.")
}

// handedOver is the certificate that a proxy hands over. One that adds its header to what the caller sent, instead of replacing
// that, would have the caller choose the certificate.
func (d *doorkeeper) handedOver(values []string) (*x509.Certificate, error) {
	if len(values) > 1 {
		return nil, refused("The header %s comes more than once: the proxy must replace what it is sent.", d.config.ClientHeader)
	}
	cert, err := headerCertificate(values[0])
	if err != nil {
		return nil, refused("The header %s holds no certificate.", d.config.ClientHeader)
	}
	return cert, nil
}

func (d *doorkeeper) trusted(r *http.Request) bool {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return false
	}
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return false
	}
	addr = addr.Unmap().WithZone("")
	for _, proxy := range d.config.TrustedProxies {
		if proxy.Contains(addr) {
			return true
		}
	}
	return false
}

func headerCertificate(value string) (*x509.Certificate, error) {
	if strings.HasPrefix(value, ":") {
		cert, err := httpmdm.ExtractRFC9440(value)
		if err != nil {
			return nil, fmt.Errorf("reading RFC 9440: %w", err)
		}
		return cert, nil
	}
	cert, err := httpmdm.ExtractQueryEscapedPEM(value)
	if err != nil {
		return nil, fmt.Errorf("reading escaped PEM: %w", err)
	}
	return cert, nil
}

// renew lets a device go on with a certificate that renews its enrollment. Devices tell of it in no message of its own: some
// authenticate with the new certificate, others just use it. One of another authority may not say itself that it renews;
// whether it was asked for does, then, unless the device authenticates, which one that was set up anew would do as well.
func (d *doorkeeper) renew(ctx context.Context, c caller, authenticates bool) (caller, error) {
	unsaid := c.Foreign != nil && !authenticates && c.Management == provision.Managed && len(c.Enrollments) == 0
	if c.Current || !c.RenewsNow() && !unsaid {
		return c, nil
	}
	news, err := d.facts.Renewed(ctx, c.Identity)
	if err != nil {
		return c, err
	}
	if news {
		d.config.Log.InfoContext(ctx, "identity renewed", "serial", c.Serial, "epoch", c.Epoch, "not_after", c.NotAfter)
	}
	c.Renews, c.Enrollments = c.Epoch, append(c.Enrollments, c.UDID)
	return c, nil
}

func checkedOut(serial string) error {
	return refused("The certificate of device %s ended when the device checked out.", serial)
}

// mayCheckin makes sure that a check-in is about the device that sends it.
func (c caller) mayCheckin(message any) error {
	if _, leaves := message.(*nanomdm.CheckOut); c.over && !leaves {
		return checkedOut(c.Serial)
	}
	switch m := message.(type) {
	case *nanomdm.Authenticate:
		return c.mayAuthenticate(m)
	case *nanomdm.TokenUpdate:
		return c.speaksFor(&m.Enrollment)
	case *nanomdm.UserAuthenticate:
		return c.speaksFor(&m.Enrollment)
	case *nanomdm.DeclarativeManagement:
		return c.speaksFor(&m.Enrollment)
	case *nanomdm.GetToken:
		return c.speaksFor(&m.Enrollment)
	case *nanomdm.CheckOut:
		return c.speaksAlone(&m.Enrollment)
	case *nanomdm.SetBootstrapToken:
		return c.speaksAlone(&m.Enrollment)
	case *nanomdm.GetBootstrapToken:
		return c.speaksAlone(&m.Enrollment)
	}
	return malformed("The check-in is of a kind that this server doesn't know.")
}

// mayAuthenticate: the certificate says which device it is; a serial number in the message, which Apple leaves optional,
// must say the same. Under which id it enrolls is the device's choice.
func (c caller) mayAuthenticate(m *nanomdm.Authenticate) error {
	resolved, err := checkEnrollment(&m.Enrollment)
	switch {
	case err != nil:
		return err
	case resolved.IsUserChannel:
		return malformed("Only a device authenticates, not its user.")
	case c.Renews > 0 && (!c.RenewsNow() || resolved.DeviceChannelID != c.UDID):
		return refused("The certificate of device %s renews an enrollment that is over.", c.Serial)
	case m.SerialNumber != "" && !strings.EqualFold(strings.TrimSpace(m.SerialNumber), c.Serial):
		return refused("The certificate belongs to device %s, but the message names %.40q.", c.Serial, m.SerialNumber)
	}
	return nil
}

// mayTake makes sure that the identifier under which a device enrolls isn't one that another device is managed under:
// NanoMDM would hand that enrollment over, and lock out whoever has it. A main board may move on when its device has
// left. Which device it is only the log learns.
func (d *doorkeeper) mayTake(ctx context.Context, c caller, m *nanomdm.Authenticate) error {
	wanted := m.Resolved().DeviceChannelID
	if wanted == c.UDID {
		return nil
	}
	holder, err := d.store.EnrolledUnder(ctx, wanted)
	if err != nil || holder == "" {
		return err
	}
	return fmt.Errorf("device %s asks for the identifier of device %s: %w", c.Serial, holder,
		refused("The identifier %.80q belongs to another device, which is enrolled; end its enrollment first.", wanted))
}

// request is what NanoMDM is asked on the caller's behalf.
func (c caller) request(ctx context.Context) *nanomdm.Request {
	return nanomdm.NewRequestWithContext(withIdentity(ctx, c.Identity), c.cert)
}

// speaksFor makes sure that the message comes from the enrollment that the certificate's device has, or from a user of it.
func (c caller) speaksFor(e *nanomdm.Enrollment) error {
	resolved, err := checkEnrollment(e)
	switch {
	case err != nil:
		return err
	case resolved.DeviceChannelID != c.UDID:
		return refused("Device %s is not enrolled under the identifier %.80q.", c.Serial, resolved.DeviceChannelID)
	}
	return nil
}

func (c caller) speaksAlone(e *nanomdm.Enrollment) error {
	if err := c.speaksFor(e); err != nil {
		return err
	}
	if e.Resolved().IsUserChannel {
		return malformed("Only a device sends this, not its user.")
	}
	return nil
}

type identityKey struct{}

// withIdentity carries the identity through NanoMDM's service, and what was read of the certificate's enrollments.
func withIdentity(ctx context.Context, id store.Identity) context.Context {
	ctx = context.WithValue(ctx, identityKey{}, id)
	return mdm.WithAssociation(ctx, id.Hash, id.Enrollments)
}

func identityOf(r *nanomdm.Request) (store.Identity, error) {
	id, ok := r.Context().Value(identityKey{}).(store.Identity)
	if !ok {
		return id, fmt.Errorf("the request carries no identity")
	}
	return id, nil
}
