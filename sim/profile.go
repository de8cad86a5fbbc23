package sim

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/micromdm/plist"
	"github.com/smallstep/pkcs7"
)

// profile is a configuration profile as a device reads it.
type profile struct {
	identifier, uuid string
	version          int64
	top              dict
	payloads         []dict
	signers          [][]byte // certificates of a signed profile, in DER
	encrypted        bool
	managed          bool // came by MDM
	raw              []byte
}

// opener decrypts a profile that was encrypted for the device's identity.
type opener func(enveloped []byte) ([]byte, error)

// parseProfile reads a profile that is plain or CMS-signed; its errors are those that a device reports.
func parseProfile(raw []byte, open opener) (*profile, error) {
	p := &profile{raw: raw}
	content, err := p.unsign(raw)
	if err != nil {
		return nil, err
	}
	top, err := decode(content)
	if err != nil {
		return nil, profileError(profileMalformed, "The profile is malformed: "+err.Error())
	}
	p.top = top
	p.identifier, p.uuid = text(top, "PayloadIdentifier"), text(top, "PayloadUUID")
	p.version, _ = integer(top, "PayloadVersion")
	if err := requireFields(top, "PayloadType", "PayloadIdentifier", "PayloadUUID"); err != nil {
		return nil, err
	}
	if kind := text(top, "PayloadType"); kind != "Configuration" {
		return nil, profileError(profileBadValue, fmt.Sprintf("The field “PayloadType” contains the unsupported value “%s”.", kind))
	}
	if p.version != 1 {
		return nil, profileError(profileBadVersion, "The profile version is not supported.")
	}
	contents, err := p.contents(open)
	if err != nil {
		return nil, err
	}
	return p, p.readPayloads(contents)
}

func (p *profile) unsign(raw []byte) ([]byte, error) {
	if trimmed := bytes.TrimSpace(raw); bytes.HasPrefix(trimmed, []byte("<")) || bytes.HasPrefix(trimmed, []byte("bplist")) {
		return trimmed, nil
	}
	message, err := pkcs7.Parse(raw)
	if err != nil {
		return nil, profileError(profileMalformed, "The profile is malformed.")
	}
	if err := message.Verify(); err != nil {
		return nil, profileError(profileBadSignature, "The profile's signature is invalid.")
	}
	for _, cert := range message.Certificates {
		p.signers = append(p.signers, cert.Raw)
	}
	return bytes.TrimSpace(message.Content), nil
}

func (p *profile) contents(open opener) ([]any, error) {
	sealed := data(p.top, "EncryptedPayloadContent")
	if len(sealed) == 0 {
		contents, ok := p.top["PayloadContent"].([]any)
		if !ok {
			return nil, profileError(profileMissingField, "The required field “PayloadContent” is missing.")
		}
		return contents, nil
	}
	p.encrypted = true
	var contents []any
	opened, err := open(sealed)
	if err == nil {
		err = plist.Unmarshal(opened, &contents)
	}
	if err != nil {
		return nil, profileError(profileSealed, "The profile could not be decrypted.")
	}
	return contents, nil
}

func (p *profile) readPayloads(contents []any) error {
	if len(contents) == 0 {
		return profileError(profileEmpty, "The profile is empty.")
	}
	seen := map[string]bool{}
	for _, content := range contents {
		payload, ok := content.(dict)
		if !ok {
			return profileError(profileBadType, "The field “PayloadContent” is of the wrong type.")
		}
		if err := requireFields(payload, "PayloadType", "PayloadIdentifier", "PayloadUUID"); err != nil {
			return err
		}
		uuid := text(payload, "PayloadUUID")
		if seen[uuid] {
			return profileError(profileDuplicateUUID, "The profile contains two payloads of the same UUID.")
		}
		seen[uuid] = true
		p.payloads = append(p.payloads, payload)
	}
	return nil
}

func requireFields(d dict, fields ...string) error {
	for _, field := range fields {
		if text(d, field) == "" {
			return profileError(profileMissingField, fmt.Sprintf("The required field “%s” is missing.", field))
		}
	}
	return nil
}

// management returns the MDM payload, or nil.
func (p *profile) management() dict {
	i := slices.IndexFunc(p.payloads, func(d dict) bool { return text(d, "PayloadType") == mdmType })
	if i < 0 {
		return nil
	}
	return p.payloads[i]
}

func (p *profile) payloadByUUID(uuid string) dict {
	i := slices.IndexFunc(p.payloads, func(d dict) bool { return text(d, "PayloadUUID") == uuid })
	if i < 0 {
		return nil
	}
	return p.payloads[i]
}
