package sim

import (
	"crypto/x509"
	"errors"
)

// Activation is what Apple tells a device that is switched on, if it is assigned to an MDM server: the device profile.
type Activation struct {
	URL    string // where the device gets its enrollment profile
	WebURL string // the page that its user gets it by; empty: none
	// Await has the device wait in Setup Assistant for DeviceConfigured; Supervised makes it so.
	Await, Supervised bool
	Anchors           [][]byte // certificates in DER that the device trusts at URL, beside its own
}

// ActivationSource stands for Apple's activation servers.
type ActivationSource interface {
	// Activate tells where the device with a serial number enrolls; false when nobody manages it.
	Activate(serial string) (Activation, bool)
}

var (
	// ErrUnmanaged ends a PowerOn that Apple has no profile for: the device was set up without management.
	ErrUnmanaged = errors.New("no device profile is assigned to the device, so it sets itself up unmanaged")
	// ErrUnrecognized is returned when the server answered that it doesn't know the device.
	ErrUnrecognized = errors.New("the server doesn't recognize the device")
	// ErrUpdate is returned when the server wants a version of the operating system that the device can't get.
	ErrUpdate = errors.New("the device can't update itself to the version that the server requires")
)

// setup is how the device is set up; it stays until the device is erased.
type setup struct {
	automated  bool // by Apple's device profile
	supervised bool
	await      bool
}

func (c Config) setup() setup {
	return setup{automated: c.AutomatedEnrollment, supervised: c.AutomatedEnrollment, await: c.Await}
}

// trusting adds anchors to what a device trusts.
func (c Config) trusting(anchors [][]byte) (Config, error) {
	if len(anchors) == 0 {
		return c, nil
	}
	if c.Roots != nil {
		c.Roots = c.Roots.Clone()
	} else {
		roots, err := x509.SystemCertPool()
		if err != nil {
			roots = x509.NewCertPool()
		}
		c.Roots = roots
	}
	for _, der := range anchors {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return c, errors.New("the device profile's anchor_certs hold something that is no certificate")
		}
		c.Roots.AddCert(cert)
	}
	return c, nil
}
