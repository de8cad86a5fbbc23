package sim

import (
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"net/http"
)

const (
	domainSCEP  = "MCSCEPErrorDomain"
	scepRefused = 22013
)

// Identity is the certificate that the device proves itself by to its server, with the key; nil when it has none.
func (d *Device) Identity() (*x509.Certificate, crypto.Signer) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.state.enrolment == nil {
		return nil, nil
	}
	id := d.state.enrolment.identity
	return id.cert, id.key
}

// renewal is an update of the enrollment profile, made ready to take its place.
type renewal struct {
	profile  *profile
	mdm      dict
	identity *identity
	client   *http.Client
}

// renew makes an update of the enrollment profile ready: by it the device gets a new identity, whatever the one that it has
// is worth. Server and topic must stay, and rights can't be gained (Apple: MDM payload).
func (d *Device) renew(ctx context.Context, e *enrolment, boot int, p *profile) (*renewal, error) {
	n := &renewal{profile: p, mdm: p.management()}
	for _, field := range []string{"ServerURL", "Topic", "CheckInURL"} {
		if text(n.mdm, field) != text(e.mdm, field) {
			return nil, mdmError(mdmMismatch, "The MDM payload's "+field+" can't be changed.")
		}
	}
	if had, has := rightsOf(e.mdm), rightsOf(n.mdm); has&^had != 0 {
		return nil, mdmError(mdmMismatch, "The MDM payload can't gain access rights.")
	}
	credential := p.payloadByUUID(text(n.mdm, "IdentityCertificateUUID"))
	if credential == nil || text(credential, "PayloadType") != scepType {
		return nil, mdmError(mdmMismatch, "The MDM payload names no identity.")
	}
	var err error
	if n.identity, err = d.obtainIdentity(ctx, boot, child(credential, "PayloadContent")); err != nil {
		if errors.Is(err, ErrRestarted) || ctx.Err() != nil {
			return nil, err
		}
		return nil, &deviceError{domainSCEP, scepRefused, "The SCEP server gave no certificate: " + err.Error()}
	}
	n.client, err = d.cfg.client(text(n.mdm, "ServerURL"), n.identity)
	return n, err
}

// replace puts an update of the enrollment profile in its place. The caller holds mu.
func (d *Device) replace(e *enrolment, n *renewal) {
	for i, p := range d.state.profiles {
		if p == e.profile {
			d.state.profiles[i] = n.profile
		}
	}
	n.profile.managed = true
	if e.client != n.client && e.client.Transport != d.cfg.Client.Transport {
		e.client.CloseIdleConnections()
	}
	e.profile, e.mdm, e.identity, e.client = n.profile, n.mdm, n.identity, n.client
}

// introduce are the check-ins by which a device makes its new identity known.
func (d *Device) introduce(e *enrolment) ([]message, error) {
	var first []message
	for _, body := range []dict{d.authenticate(), d.tokens(e)} {
		m, err := d.checkinMessage(e, body)
		if err != nil {
			return nil, err
		}
		first = append(first, m)
	}
	return first, nil
}
