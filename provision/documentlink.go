package provision

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// DocumentLinkLife is how long the address of a document works that a device was sent. A command may lie in the queue of a
// device that is switched off; one that comes later than this is turned down, and the next round of retries brings a new
// address.
const DocumentLinkLife = 30 * 24 * time.Hour

// DocumentLink lets one device fetch one content of a document, in one enrollment, for a while.
type DocumentLink struct {
	Serial   string
	Epoch    int
	Document string
	Content  int
	Until    time.Time
}

// documentLinkPurpose keeps a signature from being taken for one of another thing by the same key.
const documentLinkPurpose = "muster document link"

// linkEncoding reads each token in one spelling only.
var linkEncoding = base64.RawURLEncoding.Strict()

// Token writes the link so that nobody without the key can make or change one.
func (l DocumentLink) Token(key []byte) string {
	text := strings.Join([]string{
		l.Serial, strconv.Itoa(l.Epoch), strconv.Itoa(l.Content), strconv.FormatInt(l.Until.Unix(), 10), l.Document,
	}, "\n")
	encode := linkEncoding.EncodeToString
	return encode([]byte(text)) + "." + encode(signLink(key, text))
}

// ParseDocumentLink reads a token. It fails with [DocumentLinkRefused] when the token wasn't made with the key, or is over.
func ParseDocumentLink(token string, key []byte, now time.Time) (DocumentLink, error) {
	refused := Errorf(DocumentLinkRefused, "The address of the document is not one that Muster gave, or is over.")
	encoded, signature, _ := strings.Cut(token, ".")
	text, err := linkEncoding.DecodeString(encoded)
	if err != nil {
		return DocumentLink{}, refused
	}
	sum, err := linkEncoding.DecodeString(signature)
	if err != nil || !hmac.Equal(sum, signLink(key, string(text))) {
		return DocumentLink{}, refused
	}
	l, err := readLink(string(text))
	if err != nil || !now.Before(l.Until) {
		return DocumentLink{}, refused
	}
	return l, nil
}

func readLink(text string) (DocumentLink, error) {
	const fields = 5
	parts := strings.SplitN(text, "\n", fields)
	if len(parts) != fields {
		return DocumentLink{}, fmt.Errorf("the link has %d fields", len(parts))
	}
	var numbers [3]int64
	for i := range numbers {
		var err error
		if numbers[i], err = strconv.ParseInt(parts[i+1], 10, 64); err != nil {
			return DocumentLink{}, fmt.Errorf("reading the link: %w", err)
		}
	}
	return DocumentLink{
		Serial: parts[0], Epoch: int(numbers[0]), Content: int(numbers[1]), Until: time.Unix(numbers[2], 0), Document: parts[4],
	}, nil
}

func signLink(key []byte, text string) []byte {
	mac := hmac.New(sha256.New, key)
	_, _ = fmt.Fprintf(mac, "%s\n%s", documentLinkPurpose, text)
	return mac.Sum(nil)
}
