package dep

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"regexp"
	"strings"

	"github.com/muster-mdm/muster/provision"
)

// maxUpload is many times a server token's size, two kilobytes.
const maxUpload = 1 << 20

func invalid(what string) error {
	return provision.Errorf(provision.ABMTokenInvalid, "%s. Download the server token in Apple Business Manager, under this device management service's settings, and upload the file, which ends in .p7m, as it is.", what)
}

func damaged() error {
	return invalid("The file isn't a server token, or not all of one: it may have been cut off or changed on its way")
}

// unwrap takes the encrypted message out of an upload: as Apple gives it (S/MIME in base64), or as PEM, bare base64 or
// bare bytes. What people upload by mistake is named.
func unwrap(upload []byte) ([]byte, error) {
	const longForm = 0x80
	switch {
	case len(upload) > maxUpload:
		return nil, invalid("The file is too large to be a server token")
	case len(upload) > 1 && upload[0] == 0x30 && upload[1] >= longForm: // a sequence, in DER or BER; no text begins so
		return upload, nil
	}
	text := bytes.TrimSpace(bytes.TrimPrefix(upload, []byte("\xef\xbb\xbf")))
	text = bytes.ReplaceAll(bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n")), []byte("\r"), []byte("\n"))
	switch {
	case len(text) == 0:
		return nil, invalid("The file is empty")
	case text[0] == '{':
		return nil, unwrapJSON(text)
	case text[0] == '<':
		return nil, invalid("The file is a web page or a property list, not a server token")
	case bytes.HasPrefix(text, []byte("-----BEGIN ")):
		return unwrapPEM(text)
	}
	if mimeHeader.Match(text) {
		_, body, found := bytes.Cut(text, []byte("\n\n"))
		if !found {
			return nil, damaged()
		}
		text = body
	}
	return unwrapBase64(text)
}

var mimeHeader = regexp.MustCompile(`^(?i:MIME-Version|Content-[A-Za-z-]+)[ \t]*:`)

func unwrapJSON(text []byte) error {
	if bytes.Contains(text, []byte(`"consumer_key"`)) {
		return invalid("The file is a server token that was decrypted already; it takes the encrypted one")
	}
	return invalid("The file is JSON, not a server token")
}

func unwrapPEM(text []byte) ([]byte, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, damaged()
	}
	switch {
	case block.Type == "PKCS7" || block.Type == "CMS":
		return block.Bytes, nil
	case block.Type == "CERTIFICATE":
		return nil, invalid("The file is a certificate, perhaps the one that you upload at Apple to get the server token")
	case strings.HasSuffix(block.Type, "PRIVATE KEY"):
		return nil, invalid("The file is a private key, not a server token; keep it to yourself")
	}
	return nil, damaged()
}

func unwrapBase64(text []byte) ([]byte, error) {
	packed := strings.Join(strings.Fields(string(text)), "")
	raw, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(packed, "="))
	if err != nil || len(raw) == 0 {
		return nil, damaged()
	}
	var content struct {
		Token string `json:"token"`
	}
	if raw[0] == '{' && json.Unmarshal(raw, &content) == nil && content.Token != "" {
		return nil, invalid("The file is a content token, from Apps and Books, which buys apps but knows no devices")
	}
	return raw, nil
}
