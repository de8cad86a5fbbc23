package sim

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	pushPath    = "/3/device/"
	maxPushBody = 4096
)

// refusal is an answer of the provider API other than 200; the reasons are Apple's.
type refusal struct {
	status    int
	reason    string
	timestamp time.Time // of a 410: since when the token is dead
}

type push struct {
	magic   string
	expires time.Time // zero: no time given, kept until it can be delivered
	once    bool      // expiration 0: never kept
}

func (a *APNs) serve(w http.ResponseWriter, r *http.Request) {
	id := r.Header.Get("apns-id")
	if id == "" {
		id = randomUUID()
	}
	w.Header().Set("apns-id", id)
	if no := a.accept(r, id); no != nil {
		a.count(func(c *APNsCounts) { c.Rejected++ })
		no.write(w)
	}
}

func (no *refusal) write(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(no.status)
	body := map[string]any{"reason": no.reason}
	if !no.timestamp.IsZero() {
		body["timestamp"] = no.timestamp.UnixMilli()
	}
	_ = json.NewEncoder(w).Encode(body) // the client has gone away; nothing is left to do
}

// accept goes through Apple's checks in the order of what is asked first: the request, its sender, the push, the token.
func (a *APNs) accept(r *http.Request, id string) *refusal {
	a.count(func(c *APNsCounts) { c.Received++ })
	switch token := strings.TrimPrefix(r.URL.Path, pushPath); {
	case !strings.HasPrefix(r.URL.Path, pushPath):
		return &refusal{status: http.StatusNotFound, reason: "BadPath"}
	case r.Method != http.MethodPost:
		return &refusal{status: http.StatusMethodNotAllowed, reason: "MethodNotAllowed"}
	case token == "":
		return badRequest("MissingDeviceToken")
	}
	topic, no := a.sender(r)
	if no != nil {
		return no
	}
	p, no := readPush(r, id)
	if no != nil {
		return no
	}
	return a.route(strings.ToLower(strings.TrimPrefix(r.URL.Path, pushPath)), topic, p)
}

func badRequest(reason string) *refusal {
	return &refusal{status: http.StatusBadRequest, reason: reason}
}

// sender settles the topic: that of the certificate, which the header may repeat but not change.
func (a *APNs) sender(r *http.Request) (string, *refusal) {
	if len(r.TLS.PeerCertificates) == 0 {
		return "", &refusal{status: http.StatusForbidden, reason: "MissingProviderToken"}
	}
	topic, ok := a.authority.topicOf(r.TLS.PeerCertificates[0])
	if !ok {
		return "", &refusal{status: http.StatusForbidden, reason: "BadCertificate"}
	}
	header := r.Header.Get("apns-topic")
	switch {
	case header == "" && topic == "":
		return "", badRequest("MissingTopic")
	case header != "" && header != topic:
		return "", badRequest("TopicDisallowed")
	}
	return topic, nil
}

func readPush(r *http.Request, id string) (push, *refusal) {
	var p push
	if !isUUID(id) {
		return p, badRequest("BadMessageId")
	}
	if kind := r.Header.Get("apns-push-type"); kind != "" && kind != "mdm" {
		return p, badRequest("InvalidPushType")
	}
	if priority := r.Header.Get("apns-priority"); priority != "" && priority != "1" && priority != "5" && priority != "10" {
		return p, badRequest("BadPriority")
	}
	if expiration := r.Header.Get("apns-expiration"); expiration != "" {
		seconds, err := strconv.ParseInt(expiration, 10, 64)
		if err != nil || seconds < 0 {
			return p, badRequest("BadExpirationDate")
		}
		p.once, p.expires = seconds == 0, time.Unix(seconds, 0)
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxPushBody+1))
	if err != nil {
		return p, badRequest("PayloadEmpty")
	}
	if len(body) > maxPushBody {
		return p, &refusal{status: http.StatusRequestEntityTooLarge, reason: "PayloadTooLarge"}
	}
	var payload struct {
		MDM string `json:"mdm"`
	}
	if err := json.Unmarshal(body, &payload); err != nil || payload.MDM == "" {
		return p, badRequest("PayloadEmpty")
	}
	p.magic = payload.MDM
	return p, nil
}

// randomUUID makes a version 4 UUID in Apple's upper case.
func randomUUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails, by its contract
	return formatUUID(b)
}

func formatUUID(b [16]byte) string {
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%X-%X-%X-%X-%X", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

func isUUID(s string) bool {
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return false
	}
	_, err := hex.DecodeString(strings.ReplaceAll(s, "-", ""))
	return err == nil
}
