package identity

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"strings"
	"time"

	"github.com/micromdm/plist"
	"github.com/smallstep/pkcs7"

	"github.com/muster-mdm/muster/apple/cms"
	"github.com/muster-mdm/muster/provision"
)

// MachineInfo is what a device says of itself when it asks for its enrollment profile (Apple: MachineInfo). Serial has the
// form of a serial number; everything else is as the device says it, empty where it says nothing.
type MachineInfo struct {
	Serial, UDID, Product string
	// OSVersion is said from iOS 17, tvOS 17 and macOS 14 on.
	OSVersion, BuildVersion                            string
	SupplementalBuildVersion, SupplementalVersionExtra string
	SoftwareUpdateDeviceID                             string
	Language, IMEI, MEID                               string
	// CanUpdate: the server may have the device update itself before it enrolls.
	CanUpdate bool
}

// Machines tells signed MachineInfo of Apple's devices from anything else.
type Machines struct {
	anchors  []*x509.Certificate
	insecure bool
	now      func() time.Time
}

// appleRoot begins the names of Apple's root authorities. Whoever has a developer account has a certificate that goes back to one.
const appleRoot = "Apple Root CA"

// NewMachines returns what believes devices whose certificates go back to those in the PEM text: for Apple's devices, that
// of the "Apple iPhone Device CA", which certifies Macs and Apple TVs, too. It fails for Apple's root authorities, which certify
// others than devices.
func NewMachines(anchors []byte) (*Machines, error) {
	certs, err := parsePEM(anchors)
	if err != nil {
		return nil, fmt.Errorf("reading the trust anchors of devices: %w", err)
	}
	for _, c := range certs {
		if strings.HasPrefix(c.Subject.CommonName, appleRoot) {
			return nil, fmt.Errorf("reading the trust anchors of devices: %s certifies developers, too, who could enroll as any device; name the Apple iPhone Device CA", c.Subject.CommonName)
		}
	}
	return &Machines{anchors: certs, now: time.Now}, nil
}

// NewInsecureMachines returns what believes anybody who signs for himself. It is for simulators, that have no certificate of
// Apple's.
func NewInsecureMachines() *Machines { return &Machines{insecure: true, now: time.Now} }

// Insecure reports whether anybody is believed.
func (m *Machines) Insecure() bool { return m.insecure }

// At sets the clock, for tests.
func (m *Machines) At(now func() time.Time) *Machines {
	m.now = now
	return m
}

// maxHeader bounds the base64 of a MachineInfo in a header; with its certificates one has some 5 KiB.
const maxHeader = 32 << 10

// OpenHeader is [Machines.Open] for the value of x-apple-aspen-deviceinfo.
func (m *Machines) OpenHeader(value string) (MachineInfo, error) {
	der, err := base64.StdEncoding.DecodeString(strings.TrimSpace(value))
	if err != nil || len(value) > maxHeader {
		return MachineInfo{}, unbelievable("the header isn't base64")
	}
	return m.Open(der)
}

// Open reads a CMS message with a MachineInfo in it. It fails with [provision.MachineInfoRefused] unless a device of the
// anchors has signed it, within a day of now if it says when; the reason is for the log and begins in lower case.
//
// The signature proves that some device of Apple's vouches for what the message says, not that the serial number in it is its
// own, nor that the message is new: nothing in it is the server's. Whoever sends one again gets a profile at most by which
// the device that it names can enroll, with a challenge that works once, and which ends when the device enrolls.
func (m *Machines) Open(message []byte) (MachineInfo, error) {
	signed, err := cms.Parse(message)
	if err != nil {
		return MachineInfo{}, unbelievable("reading the message: %w", err)
	}
	signer := signed.GetOnlySigner()
	if signer == nil {
		return MachineInfo{}, unbelievable("the message has no signer")
	}
	// The library would hold the signing time against the certificate's dates, which don't count.
	undated(signed.Certificates)
	if err := cms.Safely(signed.Verify); err != nil {
		return MachineInfo{}, unbelievable("verifying the signature: %w", err)
	}
	if err := m.verifySigner(signer, signed.Certificates); err != nil {
		return MachineInfo{}, unbelievable("verifying the certificate: %w", err)
	}
	if err := m.checkTime(signed); err != nil {
		return MachineInfo{}, err
	}
	return readMachineInfo(signed.Content)
}

func unbelievable(format string, args ...any) error {
	refused := provision.Errorf(provision.MachineInfoRefused, "The request is not signed by a device that this server trusts.")
	return fmt.Errorf(format+": %w", append(args, refused)...)
}

// signingSlack is how far a device's clock may be off; one that reached Apple to be told of this server has set it.
const signingSlack = 24 * time.Hour

// checkTime refuses what was signed another day, as far as the message says when: it was kept, and is sent again.
func (m *Machines) checkTime(signed *pkcs7.PKCS7) error {
	var at time.Time
	if err := signed.UnmarshalSignedAttribute(pkcs7.OIDAttributeSigningTime, &at); err != nil {
		return nil //nolint:nilerr // it is left out, as it may be
	}
	if off := m.now().Sub(at).Abs(); off > signingSlack {
		return unbelievable("the message was signed at %s", at.UTC().Format(time.RFC3339))
	}
	return nil
}

// machineInfo has Apple's names.
type machineInfo struct {
	Serial                   string `plist:"SERIAL"`
	UDID                     string `plist:"UDID"`
	Product                  string `plist:"PRODUCT"`
	Version                  string `plist:"VERSION"`
	OSVersion                string `plist:"OS_VERSION"`
	SupplementalBuildVersion string `plist:"SUPPLEMENTAL_BUILD_VERSION"`
	SupplementalVersionExtra string `plist:"SUPPLEMENTAL_OS_VERSION_EXTRA"`
	SoftwareUpdateDeviceID   string `plist:"SOFTWARE_UPDATE_DEVICE_ID"`
	Language                 string `plist:"LANGUAGE"`
	IMEI                     string `plist:"IMEI"`
	MEID                     string `plist:"MEID"`
	CanUpdate                bool   `plist:"MDM_CAN_REQUEST_SOFTWARE_UPDATE"`
}

// longestValue is far more than devices say in one; what they say is logged and kept.
const longestValue = 255

// tooLong names a key whose value is too long; "" = none is.
func (in machineInfo) tooLong() string {
	for key, value := range map[string]string{
		"UDID": in.UDID, "PRODUCT": in.Product, "VERSION": in.Version, "OS_VERSION": in.OSVersion, "LANGUAGE": in.Language,
		"SUPPLEMENTAL_BUILD_VERSION": in.SupplementalBuildVersion, "SUPPLEMENTAL_OS_VERSION_EXTRA": in.SupplementalVersionExtra,
		"SOFTWARE_UPDATE_DEVICE_ID": in.SoftwareUpdateDeviceID, "IMEI": in.IMEI, "MEID": in.MEID,
	} {
		if len(value) > longestValue {
			return key
		}
	}
	return ""
}

func readMachineInfo(content []byte) (MachineInfo, error) {
	// Devices send XML. The library follows the references of a binary list however they lead, and one that leads back to
	// itself ends the process, which nothing can catch.
	if bytes.HasPrefix(content, []byte("bplist")) {
		return MachineInfo{}, unbelievable("what is signed is a binary property list")
	}
	var in machineInfo
	err := cms.Safely(func() error { return plist.Unmarshal(content, &in) })
	if err != nil {
		return MachineInfo{}, unbelievable("reading what is signed: %w", err)
	}
	serial, err := provision.ParseSerial(in.Serial)
	if err != nil {
		return MachineInfo{}, unbelievable("reading the serial number: %s", err)
	}
	if key := in.tooLong(); key != "" {
		return MachineInfo{}, unbelievable("%s is longer than %d bytes", key, longestValue)
	}
	return MachineInfo{
		Serial: serial, UDID: in.UDID, Product: in.Product, OSVersion: in.OSVersion, BuildVersion: in.Version,
		SupplementalBuildVersion: in.SupplementalBuildVersion, SupplementalVersionExtra: in.SupplementalVersionExtra,
		SoftwareUpdateDeviceID: in.SoftwareUpdateDeviceID, Language: in.Language, IMEI: in.IMEI, MEID: in.MEID,
		CanUpdate: in.CanUpdate,
	}, nil
}
