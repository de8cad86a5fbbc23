package sim

import (
	"context"
	"crypto/rsa"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
)

const mdmType = "com.apple.mdm"

// Enroll takes the device from an enrollment profile, plain or CMS-signed, to being enrolled: Prepare, Authenticate,
// TokenUpdate. Outages of the network and of the server are sat out as long as ctx lasts; a refusal is an *HTTPError.
func (d *Device) Enroll(ctx context.Context, mobileconfig []byte) error {
	if err := d.Prepare(ctx, mobileconfig); err != nil {
		return err
	}
	if err := d.Authenticate(ctx); err != nil {
		return err
	}
	return d.TokenUpdate(ctx)
}

// Prepare reads an enrollment profile and gets the device's identity from the SCEP server it names.
// It replaces an earlier preparation that was not completed.
func (d *Device) Prepare(ctx context.Context, mobileconfig []byte) error {
	return d.prepareAs(ctx, mobileconfig, d.cfg.setup())
}

func (d *Device) prepareAs(ctx context.Context, mobileconfig []byte, as setup) error {
	release, err := d.acquire(ctx)
	if err != nil {
		return err
	}
	defer release()
	boot, err := d.unenrolled()
	if err != nil {
		return err
	}
	p, err := parseProfile(mobileconfig, func([]byte) ([]byte, error) {
		return nil, errors.New("an enrollment profile can't be encrypted")
	})
	if err != nil {
		return fmt.Errorf("reading enrollment profile: %w", err)
	}
	e, err := d.prepare(ctx, boot, p)
	if err != nil {
		return err
	}
	return d.adopt(e, boot, as)
}

func (d *Device) unenrolled() (boot int, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.state.enrolled {
		return 0, ErrEnrolled
	}
	return d.state.boot, nil
}

func (d *Device) prepare(ctx context.Context, boot int, p *profile) (*enrolment, error) {
	e := &enrolment{profile: p, mdm: p.management()}
	if e.mdm == nil {
		return nil, errors.New("reading enrollment profile: it has no com.apple.mdm payload")
	}
	for _, field := range []string{"ServerURL", "Topic", "IdentityCertificateUUID"} {
		if text(e.mdm, field) == "" {
			return nil, fmt.Errorf("reading enrollment profile: the MDM payload lacks %s", field)
		}
	}
	credential := p.payloadByUUID(text(e.mdm, "IdentityCertificateUUID"))
	if credential == nil || text(credential, "PayloadType") != scepType {
		return nil, errors.New("reading enrollment profile: IdentityCertificateUUID names no SCEP payload")
	}
	var err error
	if e.identity, err = d.obtainIdentity(ctx, boot, child(credential, "PayloadContent")); err != nil {
		return nil, err
	}
	if e.client, err = d.cfg.client(text(e.mdm, "ServerURL"), e.identity); err != nil {
		return nil, err
	}
	return e, nil
}

// obtainIdentity repeats what a network or a server in trouble made fail; a server's refusal ends it.
func (d *Device) obtainIdentity(ctx context.Context, boot int, payload dict) (*identity, error) {
	client, err := d.cfg.client(text(payload, "URL"), nil)
	if err != nil {
		return nil, err
	}
	if client.Transport != d.cfg.Client.Transport {
		defer client.CloseIdleConnections()
	}
	s := &scepClient{http: client, payload: payload}
	key, err := d.key(s)
	if err != nil {
		return nil, err
	}
	var id *identity
	err = d.persist(ctx, boot, "SCEP", func(ctx context.Context) (err error) {
		id, err = s.enroll(ctx, key)
		return err
	})
	return id, err
}

func (d *Device) key(s *scepClient) (*rsa.PrivateKey, error) {
	if d.cfg.Keys != nil {
		return d.cfg.Keys.Get()
	}
	if d.cfg.KeyBits > 0 {
		return generateKey(d.cfg.KeyBits)
	}
	return generateKey(s.keyBits())
}

// adopt makes the preparation the device's own, with a push token that no device and no earlier life of it had.
func (d *Device) adopt(e *enrolment, boot int, as setup) error {
	d.mu.Lock()
	if d.state.boot != boot {
		d.mu.Unlock()
		return ErrRestarted
	}
	old := d.forget()
	d.state.resets++
	n := strconv.Itoa(d.state.resets)
	token := d.chance.bytes("token", d.cfg.Serial, n)
	e.token, e.magic = token[:], d.chance.uuid("magic", d.cfg.Serial, n)
	if d.cfg.APNs != nil {
		e.push = d.cfg.APNs.register(e.token, text(e.mdm, "Topic"), d.pushed)
	}
	e.profile.managed = true
	d.state.enrolment, d.state.setup, d.state.awaiting = e, as, as.await
	d.state.profiles = append(d.state.profiles, e.profile)
	online := d.state.online
	d.mu.Unlock()
	old.release()
	if e.push != nil && !online {
		e.push.setOnline(false)
	}
	return nil
}

// transient tells what may go better the next time from a refusal.
func transient(err error) bool {
	var refused *HTTPError
	if errors.As(err, &refused) {
		return refused.Status >= http.StatusInternalServerError || refused.Status == http.StatusTooManyRequests
	}
	var untrusted *tls.CertificateVerificationError
	var network *url.Error
	return errors.Is(err, errOffline) || errors.Is(err, errLost) || errors.As(err, &network) && !errors.As(err, &untrusted)
}
