package enroll

import (
	"cmp"
	"context"
	"crypto/x509"
	"fmt"
	"net/url"
	"time"

	"github.com/muster-mdm/muster/apple/identity"
	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/store"
)

// Config says what enrollment profiles hold.
type Config struct {
	// ServerURL is where devices check in and answer commands; SCEPURL where they get their identity.
	ServerURL, SCEPURL string
	// StaticChallenge is that of an external SCEP service, which knows none of ours; "" = SCEPURL is ours.
	StaticChallenge string
	// Identifier of the profile; "" = [identity.DefaultProfileIdentifier]. It must be the one that plans verify.
	Identifier string
	// Organization is shown to people.
	Organization string
	// Roots are installed as trusted, for a server whose TLS certificate no public authority issued.
	Roots []*x509.Certificate
	// Signer, if any, signs profiles.
	Signer *identity.Signer
	// ChallengeValidity is how long a profile can be installed; 0 = [identity.DefaultChallengeValidity].
	ChallengeValidity time.Duration
}

// Devices are those that may enroll.
type Devices interface {
	Device(ctx context.Context, serial string) (provision.Device, error)
	// Renew queues a renewal: see [store.DB.Renew].
	Renew(ctx context.Context, serial string, compose func(epoch int) (store.Renewal, error)) (bool, error)
	identity.Ledger
}

// Topics knows the push topic.
type Topics interface {
	Topic(ctx context.Context) (string, error)
}

// Enroller makes enrollment profiles.
type Enroller struct {
	config  Config
	devices Devices
	topics  Topics
}

// New returns an enroller. It fails when an address is missing.
func New(d Devices, t Topics, c Config) (*Enroller, error) {
	for name, address := range map[string]string{"MDM": c.ServerURL, "SCEP": c.SCEPURL} {
		u, err := url.Parse(address)
		if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
			return nil, fmt.Errorf("the %s address %q of enrollment profiles is not an http or https one", name, address)
		}
	}
	return &Enroller{config: c, devices: d, topics: t}, nil
}

// Identifier is the payload identifier of the profiles, by which a plan verifies that a device is enrolled.
func (e *Enroller) Identifier() string {
	if e.config.Identifier == "" {
		return identity.DefaultProfileIdentifier
	}
	return e.config.Identifier
}

// EnrollmentProfile makes a profile (application/x-apple-aspen-config) by which one device can enroll once. It fails with
// [provision.SerialInvalid], [provision.DeviceNotFound], [provision.DeviceReleased] and
// [provision.PushCertificateMissing].
func (e *Enroller) EnrollmentProfile(ctx context.Context, serial string) ([]byte, error) {
	serial, err := provision.ParseSerial(serial)
	if err != nil {
		return nil, err
	}
	device, err := e.devices.Device(ctx, serial)
	if err != nil {
		return nil, err
	}
	if device.Withdrawn() {
		return nil, device.CheckChange()
	}
	if device.Leaving() {
		return nil, provision.Errorf(provision.DeviceReleased, "Device %s was released, or is about to be, so it can't enroll.", serial)
	}
	return e.profileFor(ctx, serial)
}

func (e *Enroller) organization() string { return cmp.Or(e.config.Organization, "Muster") }

// profileFor makes a profile for a device that was found to be one that may enroll.
func (e *Enroller) profileFor(ctx context.Context, serial string) ([]byte, error) {
	topic, err := e.topics.Topic(ctx)
	if err != nil {
		return nil, err
	}
	return e.profileBy(ctx, e.devices, serial, topic)
}

// profileBy makes the profile with a challenge that is kept where the caller says.
func (e *Enroller) profileBy(ctx context.Context, keep identity.Challenges, serial, topic string) ([]byte, error) {
	challenge := e.config.StaticChallenge
	if challenge == "" {
		var err error
		if challenge, err = identity.NewChallenge(ctx, keep, serial, e.config.ChallengeValidity); err != nil {
			return nil, err
		}
	}
	return e.encode(identity.Profile{Serial: serial, Topic: topic, Challenge: challenge})
}

// encode writes a profile of which what is the device's is given.
func (e *Enroller) encode(p identity.Profile) ([]byte, error) {
	p.Identifier, p.Organization, p.Roots, p.Signer = e.Identifier(), e.config.Organization, e.config.Roots, e.config.Signer
	p.ServerURL, p.CheckInURL, p.SCEPURL = e.config.ServerURL, e.config.ServerURL, e.config.SCEPURL
	profile, err := p.Encode()
	if err != nil {
		return nil, fmt.Errorf("making the enrollment profile of %s: %w", p.Serial, err)
	}
	return profile, nil
}
