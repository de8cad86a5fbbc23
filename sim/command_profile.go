package sim

import (
	"context"
	"fmt"
	"slices"
)

func (d *Device) installProfile(c *command) result {
	p := c.profile
	own := d.state.enrolment.profile
	switch {
	case c.renewal != nil:
		d.replace(d.state.enrolment, c.renewal)
		return acknowledged(nil)
	case p.management() != nil:
		return failed(mdmError(mdmSecondServer, "The device is managed already."))
	case p.identifier == own.identifier:
		return failed(mdmError(mdmMismatch, "The replacement lacks the MDM payload."))
	}
	p.managed = true
	d.state.profiles = slices.DeleteFunc(d.state.profiles, func(have *profile) bool { return have.identifier == p.identifier })
	d.state.profiles = append(d.state.profiles, p)
	return acknowledged(nil)
}

func (d *Device) removeProfile(c *command) result {
	i := slices.IndexFunc(d.state.profiles, func(p *profile) bool { return p.identifier == c.target })
	if i < 0 {
		return failed(mdmError(mdmProfileAbsent, fmt.Sprintf("The profile “%s” is not installed.", c.target)))
	}
	res := acknowledged(nil)
	if d.state.profiles[i] == d.state.enrolment.profile {
		tell := flag(d.state.enrolment.mdm, "CheckOutWhenRemoved")
		res.after = func(ctx context.Context) bool {
			_ = d.leave(ctx, tell) // best effort, as with real devices
			return true
		}
		return res
	}
	d.state.profiles = slices.Delete(d.state.profiles, i, i+1)
	return res
}

func (d *Device) profileList(c *command) result {
	listed := []any{}
	for _, p := range d.state.profiles {
		if p.managed || !flag(c.body, "ManagedOnly") {
			listed = append(listed, p.describe())
		}
	}
	return acknowledged(dict{"ProfileList": listed})
}

func (p *profile) describe() dict {
	item := dict{
		"PayloadUUID":              p.uuid,
		"PayloadIdentifier":        p.identifier,
		"PayloadVersion":           p.version,
		"PayloadRemovalDisallowed": flag(p.top, "PayloadRemovalDisallowed"),
		"HasRemovalPasscode":       flag(p.top, "HasRemovalPasscode"),
		"IsEncrypted":              p.encrypted,
		"IsManaged":                p.managed,
	}
	copyTexts(item, p.top, "PayloadDisplayName", "PayloadOrganization", "PayloadDescription")
	signers := make([]any, 0, len(p.signers))
	for _, der := range p.signers {
		signers = append(signers, der)
	}
	if len(signers) > 0 {
		item["SignerCertificates"] = signers
	}
	contents := make([]any, 0, len(p.payloads))
	for _, payload := range p.payloads {
		version, _ := integer(payload, "PayloadVersion")
		content := dict{"PayloadVersion": version}
		copyTexts(content, payload, "PayloadType", "PayloadIdentifier", "PayloadUUID",
			"PayloadDisplayName", "PayloadDescription", "PayloadOrganization")
		contents = append(contents, content)
	}
	item["PayloadContent"] = contents
	return item
}

func copyTexts(to, from dict, keys ...string) {
	for _, key := range keys {
		if s := text(from, key); s != "" {
			to[key] = s
		}
	}
}

func (d *Device) certificateList(*command) result {
	id := d.state.enrolment.identity
	listed := []any{dict{"CommonName": id.cert.Subject.CommonName, "IsIdentity": true, "Data": id.cert.Raw}}
	for _, ca := range id.ca {
		listed = append(listed, dict{"CommonName": ca.Subject.CommonName, "IsIdentity": false, "Data": ca.Raw})
	}
	return acknowledged(dict{"CertificateList": listed})
}
