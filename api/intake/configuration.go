package intake

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/micromdm/plist"
	"github.com/smallstep/pkcs7"

	"github.com/muster-mdm/muster/provision"
)

// MaxConfiguration is the largest configuration in bytes.
const MaxConfiguration = 5 << 20

// The parsers below recurse; real profiles are nowhere near as deep.
const (
	deepestPlist = 64
	deepestCMS   = 64
)

// profile is what matters of a configuration profile
// (developer.apple.com/documentation/devicemanagement/toplevel).
type profile struct {
	PayloadType             string
	PayloadIdentifier       string
	PayloadUUID             string
	PayloadContent          []payload
	EncryptedPayloadContent []byte
}

type payload struct {
	PayloadType string
}

// CheckConfiguration returns the PayloadIdentifier of a configuration profile, plain or CMS-signed. It fails with
// [provision.ConfigurationBad] and the key at fault, or [provision.PayloadTooLarge].
func CheckConfiguration(raw []byte) (identifier string, err error) {
	if len(raw) > MaxConfiguration {
		return "", TooLarge("The configuration", MaxConfiguration)
	}
	text, err := signedContent(raw)
	if err != nil {
		return "", err
	}
	if bytes.HasPrefix(text, []byte("bplist")) {
		return "", bad("", "The profile is a binary property list; convert it with: plutil -convert xml1.")
	}
	if err := checkXML(text); err != nil {
		return "", err
	}
	var p profile
	if err := plist.Unmarshal(text, &p); err != nil {
		return "", because(err, "The file is not a configuration profile, which is an XML property list with keys such as PayloadType and PayloadContent.")
	}
	return p.PayloadIdentifier, p.check()
}

func bad(key, format string, args ...any) error {
	return provision.Errorf(provision.ConfigurationBad, format, args...).At(key)
}

// because is bad with a cause that a log may show and the caller doesn't see.
func because(cause error, format string, args ...any) error {
	return fmt.Errorf("%w %w", bad("", format, args...), cause)
}

// enrollment is the payload by which a device gives itself into the hands of an MDM server.
const enrollment = "com.apple.mdm"

func (p profile) check() error {
	switch {
	case p.PayloadType != "Configuration":
		return bad("PayloadType", "The profile's PayloadType is %.60q, not \"Configuration\".", p.PayloadType)
	case strings.TrimSpace(p.PayloadIdentifier) == "":
		return bad("PayloadIdentifier", "The profile has no PayloadIdentifier.")
	case len(p.PayloadIdentifier) > 255:
		return bad("PayloadIdentifier", "The profile's PayloadIdentifier is longer than 255 characters.")
	case strings.TrimSpace(p.PayloadUUID) == "":
		return bad("PayloadUUID", "The profile has no PayloadUUID.")
	case len(p.EncryptedPayloadContent) > 0:
		return bad("EncryptedPayloadContent", "The profile is encrypted for one device; upload it in clear.")
	case len(p.PayloadContent) == 0:
		return bad("PayloadContent", "The profile's PayloadContent is missing or empty.")
	}
	for n, inner := range p.PayloadContent {
		key := fmt.Sprintf("PayloadContent[%d].PayloadType", n)
		switch inner.PayloadType {
		case "":
			return bad(key, "Payload %d of the profile has no PayloadType.", n+1)
		case enrollment:
			return bad(key, "The profile holds a %s payload; Muster enrolls devices itself.", enrollment)
		}
	}
	return nil
}

const unreadable = "The signed profile can't be read; it may be damaged. Export it again."

// signedContent returns what a CMS-signed profile holds; a plain one as it is. The signature must be sound; who signed is
// for the devices to judge.
func signedContent(raw []byte) (content []byte, err error) {
	trimmed := bytes.TrimLeft(bytes.TrimPrefix(raw, []byte("\xef\xbb\xbf")), " \t\r\n")
	if len(trimmed) == 0 {
		return nil, bad("", "The configuration is empty.")
	}
	if raw[0] != 0x30 { // ASN.1 SEQUENCE
		return trimmed, nil
	}
	if err := checkDepth(raw); err != nil {
		return nil, because(err, unreadable)
	}
	defer func() {
		if recover() != nil { // the parser indexes what it did not measure
			content, err = nil, bad("", unreadable)
		}
	}()
	p7, err := pkcs7.Parse(raw)
	if err != nil {
		return nil, because(err, unreadable)
	}
	if len(p7.Signers) == 0 {
		return nil, bad("", "The CMS message is not signed.")
	}
	if err := p7.Verify(); err != nil {
		return nil, because(err, "The profile's signature is not sound: what it holds was changed after it was signed, or a certificate in it is not valid.")
	}
	if len(p7.Content) == 0 {
		return nil, bad("", "The signed profile is empty.")
	}
	return p7.Content, nil
}

// checkXML refuses what is nested so deep that a recursive parser would use up the stack.
func checkXML(text []byte) error {
	d := xml.NewDecoder(bytes.NewReader(text))
	for depth := 0; ; {
		token, err := d.RawToken()
		if errors.Is(err, io.EOF) {
			return nil
		}
		var syntax *xml.SyntaxError
		switch {
		case errors.As(err, &syntax):
			return because(err, "The file is not a property list: its XML is broken or ends early at line %d.", syntax.Line)
		case err != nil:
			return because(err, "The file is not a property list.")
		}
		switch token.(type) {
		case xml.StartElement:
			depth++
		case xml.EndElement:
			depth--
		}
		if depth > deepestPlist {
			return bad("", "The profile is nested more than %d deep.", deepestPlist)
		}
	}
}

var errCMS = errors.New("its lengths don't add up")

// checkDepth walks BER without recursion and refuses what is nested deeper than any signature.
func checkDepth(ber []byte) error {
	ends := []int{len(ber)}
	for at := 0; at < len(ber); {
		for len(ends) > 1 && at >= ends[len(ends)-1] {
			ends = ends[:len(ends)-1]
		}
		if len(ends) > 1 && ends[len(ends)-1] == len(ber)+1 && at+1 < len(ber) && ber[at] == 0 && ber[at+1] == 0 {
			ends, at = ends[:len(ends)-1], at+2
			continue
		}
		constructed := ber[at]&0x20 != 0
		next, length, err := header(ber, at)
		if err != nil {
			return err
		}
		switch {
		case !constructed && length < 0:
			return errCMS
		case !constructed:
			at = next + length
		case length < 0: // indefinite: ends with two zeros
			ends, at = append(ends, len(ber)+1), next
		default:
			ends, at = append(ends, next+length), next
		}
		if len(ends) > deepestCMS {
			return fmt.Errorf("it is nested more than %d deep", deepestCMS)
		}
	}
	return nil
}

// header reads a tag and a length and returns where the content begins; -1 is an indefinite length.
func header(ber []byte, at int) (next, length int, err error) {
	multi := ber[at]&0x1f == 0x1f
	at++
	for multi && at < len(ber) && ber[at] >= 0x80 {
		at++
	}
	if multi {
		at++
	}
	if at >= len(ber) {
		return 0, 0, errCMS
	}
	first := ber[at]
	at++
	if first == 0x80 {
		return at, -1, nil
	}
	if first < 0x80 {
		length = int(first)
	} else {
		count := int(first & 0x7f)
		if count > 4 || at+count > len(ber) {
			return 0, 0, errCMS
		}
		for _, b := range ber[at : at+count] {
			length = length<<8 | int(b)
		}
		at += count
	}
	if length > len(ber)-at {
		return 0, 0, errCMS
	}
	return at, length, nil
}
