package identity

import (
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/google/uuid"
	"github.com/micromdm/plist"
	"github.com/smallstep/pkcs7"
)

// DefaultProfileIdentifier is the payload identifier of the enrollment profile. Devices list it in ProfileList, and
// removing it un-enrolls them, so it must not change while devices are enrolled.
const DefaultProfileIdentifier = "com.github.muster-mdm.enrollment"

// AllRights are all access rights of an MDM server (Apple, com.apple.mdm, AccessRights).
const AllRights = 8191

// LoadSigner reads the signer whose certificate, with its intermediates after it, and key are in the PEM texts.
func LoadSigner(certificates, key []byte) (*Signer, error) {
	pair, err := tls.X509KeyPair(certificates, key)
	if err != nil {
		return nil, fmt.Errorf("reading the certificate that signs profiles: %w", err)
	}
	s := &Signer{Key: pair.PrivateKey}
	for i, der := range pair.Certificate {
		cert, err := x509.ParseCertificate(der)
		switch {
		case err != nil:
			return nil, fmt.Errorf("reading the certificate that signs profiles: %w", err)
		case i == 0:
			s.Certificate = cert
		default:
			s.Chain = append(s.Chain, cert)
		}
	}
	if _, err := s.sign(nil); err != nil { // of a kind that can't sign
		return nil, err
	}
	return s, nil
}

// Signer signs profiles, so that devices show who they are from.
type Signer struct {
	Certificate *x509.Certificate
	// Chain are the intermediates.
	Chain []*x509.Certificate
	Key   crypto.PrivateKey
}

// Profile is an enrollment profile for one device.
type Profile struct {
	// Identifier is the payload identifier; "" = [DefaultProfileIdentifier].
	Identifier string
	// Organization is shown to people; "" = Muster.
	Organization string
	// ServerURL takes answers, CheckInURL check-ins ("" = ServerURL); SCEPURL issues the identity.
	ServerURL, CheckInURL, SCEPURL string
	// Topic is that of the push certificate.
	Topic string
	// Serial and Challenge make it this device's.
	Serial, Challenge string
	// Renews is the enrollment of the device in which it gets a new identity by the profile; 0 = it enrolls by it.
	Renews int
	// Roots are installed as trusted, for servers whose TLS certificate no public authority issued.
	Roots []*x509.Certificate
	// Signer, if any, signs the profile.
	Signer *Signer
}

// Encode writes the profile as an XML property list, in a CMS envelope when there is a signer. The same profile always
// has the same payload identifiers and UUIDs.
func (p Profile) Encode() ([]byte, error) {
	return p.complete().encode()
}

func (p Profile) encode() ([]byte, error) {
	if err := p.check(); err != nil {
		return nil, fmt.Errorf("writing the enrollment profile: %w", err)
	}
	content := []any{p.scepPayload(), p.mdmPayload()}
	for i, root := range p.Roots {
		content = append(content, p.rootPayload(i, root))
	}
	raw, err := plist.MarshalIndent(topLevel{
		common:         p.payload("Configuration", "", p.Organization+" enrollment", "Lets "+p.Organization+" manage this device."),
		PayloadScope:   "System",
		PayloadContent: content,
	}, "\t")
	if err != nil {
		return nil, fmt.Errorf("writing the enrollment profile: %w", err)
	}
	if p.Signer == nil {
		return raw, nil
	}
	return p.Signer.sign(raw)
}

func (p Profile) complete() Profile {
	if p.Identifier == "" {
		p.Identifier = DefaultProfileIdentifier
	}
	if p.Organization == "" {
		p.Organization = "Muster"
	}
	return p
}

func (p Profile) check() error {
	for _, needed := range []struct{ name, value string }{
		{"server URL", p.ServerURL},
		{"SCEP URL", p.SCEPURL},
		{"push topic", p.Topic},
		{"serial number", p.Serial},
		{"challenge", p.Challenge},
	} {
		if needed.value == "" {
			return errors.New("it has no " + needed.name)
		}
	}
	return nil
}

// common are the keys of every payload (Apple, CommonPayloadKeys).
type common struct {
	PayloadType         string
	PayloadVersion      int
	PayloadIdentifier   string
	PayloadUUID         string
	PayloadDisplayName  string
	PayloadDescription  string `plist:",omitempty"`
	PayloadOrganization string
}

type topLevel struct {
	common
	PayloadScope   string
	PayloadContent []any
}

func (p Profile) payload(kind, part, name, description string) common {
	identifier := p.Identifier
	if part != "" {
		identifier += "." + part
	}
	return common{
		PayloadType: kind, PayloadVersion: 1, PayloadIdentifier: identifier, PayloadUUID: p.uuid(part),
		PayloadDisplayName: name, PayloadDescription: description, PayloadOrganization: p.Organization,
	}
}

// uuid derives a payload's UUID, so that the same device gets the same ones.
func (p Profile) uuid(part string) string {
	id := uuid.NewSHA1(uuid.NameSpaceURL, []byte("muster:profile:"+p.Identifier+":"+part+":"+p.Serial))
	return strings.ToUpper(id.String())
}

const (
	scepPart = "scep"
	mdmPart  = "mdm"
)

type scepPayload struct {
	common
	PayloadContent scepContent
}

type scepContent struct {
	URL              string
	Name             string
	Subject          [][][]string
	Challenge        string
	Keysize          int
	KeyType          string `plist:"Key Type"`
	KeyUsage         int    `plist:"Key Usage"`
	KeyIsExtractable bool
}

func (p Profile) scepPayload() scepPayload {
	const signAndEncrypt = 5
	return scepPayload{
		common: p.payload("com.apple.security.scep", scepPart, "Device identity", "The certificate by which the device proves who it is."),
		PayloadContent: scepContent{
			URL: p.SCEPURL, Name: p.Organization, Subject: p.subject(), Challenge: p.Challenge,
			Keysize: minKeyBits, KeyType: "RSA", KeyUsage: signAndEncrypt,
		},
	}
}

// subject is what the device asks the SCEP service to be named; ours doesn't mind.
func (p Profile) subject() [][][]string {
	name := [][][]string{{{"CN", p.Serial}}}
	if p.Renews > 0 {
		name = append(name, [][]string{{"OU", renewalUnit + strconv.Itoa(p.Renews)}})
	}
	return name
}

type mdmPayload struct {
	common
	IdentityCertificateUUID string
	Topic                   string
	ServerURL               string
	CheckInURL              string `plist:",omitempty"`
	SignMessage             bool
	AccessRights            int
	CheckOutWhenRemoved     bool
	ServerCapabilities      []string
}

func (p Profile) mdmPayload() mdmPayload {
	return mdmPayload{
		common:                  p.payload("com.apple.mdm", mdmPart, "Device management", ""),
		IdentityCertificateUUID: p.uuid(scepPart),
		Topic:                   p.Topic,
		ServerURL:               p.ServerURL,
		CheckInURL:              p.CheckInURL,
		SignMessage:             true,
		AccessRights:            AllRights,
		CheckOutWhenRemoved:     true,
		// Must be there for Macs and Shared iPads; users' check-ins are kept, and nothing is sent to them.
		ServerCapabilities: []string{"com.apple.mdm.per-user-connections", "com.apple.mdm.bootstraptoken"},
	}
}

type rootPayload struct {
	common
	PayloadContent             []byte
	PayloadCertificateFileName string
}

func (p Profile) rootPayload(i int, root *x509.Certificate) rootPayload {
	part := fmt.Sprintf("root.%d", i+1)
	return rootPayload{
		common:                     p.payload("com.apple.security.root", part, root.Subject.CommonName, "Lets the device trust the server."),
		PayloadContent:             root.Raw,
		PayloadCertificateFileName: part + ".cer",
	}
}

func (s *Signer) sign(raw []byte) ([]byte, error) {
	signed, err := pkcs7.NewSignedData(raw)
	if err != nil {
		return nil, fmt.Errorf("signing the enrollment profile: %w", err)
	}
	signed.SetDigestAlgorithm(pkcs7.OIDDigestAlgorithmSHA256)
	if err := signed.AddSignerChain(s.Certificate, s.Key, s.Chain, pkcs7.SignerInfoConfig{}); err != nil {
		return nil, fmt.Errorf("signing the enrollment profile: %w", err)
	}
	der, err := signed.Finish()
	if err != nil {
		return nil, fmt.Errorf("signing the enrollment profile: %w", err)
	}
	return der, nil
}
