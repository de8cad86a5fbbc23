package appleschema

import (
	"bytes"
	"io"
	"maps"
	"net/http"
	"strings"
	"sync"
)

const (
	checkinType = "application/x-apple-aspen-mdm-checkin"
	answerType  = "application/x-apple-aspen-mdm"
	// A longer body is passed on without being looked at.
	watchLimit = 32 << 20
)

// Watcher looks at the MDM traffic that passes it, at either end, and keeps what breaks the schema.
// It changes nothing of the traffic, and is safe for concurrent use.
type Watcher struct {
	schema *Schema

	mu           sync.Mutex
	requestTypes map[string]string // by CommandUUID
	seen         map[string]int
	violations   []Violation
}

// NewWatcher returns a watcher that checks against s.
func NewWatcher(s *Schema) *Watcher {
	return &Watcher{schema: s, requestTypes: map[string]string{}, seen: map[string]int{}}
}

// Violations returns what was found so far, in the order of the traffic.
func (w *Watcher) Violations() []Violation {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]Violation(nil), w.violations...)
}

// Seen counts the messages that were checked, by names such as "check-in TokenUpdate",
// "command ProfileList", "answer ProfileList" and "idle".
func (w *Watcher) Seen() map[string]int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return maps.Clone(w.seen)
}

// Handler watches the requests and responses of an MDM server.
func (w *Watcher) Handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		kind := mediaKind(r)
		if kind == "" {
			next.ServeHTTP(rw, r)
			return
		}
		w.request(kind, peek(&r.Body))
		recorder := &recorder{ResponseWriter: rw, status: http.StatusOK}
		next.ServeHTTP(recorder, r)
		w.response(kind, recorder.status, recorder.body.Bytes())
	})
}

// Transport watches the requests and responses of a device.
func (w *Watcher) Transport(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		kind := mediaKind(r)
		if kind == "" {
			return next.RoundTrip(r)
		}
		out := r.Clone(r.Context())
		w.request(kind, peek(&out.Body))
		resp, err := next.RoundTrip(out)
		if err != nil {
			return nil, err
		}
		w.response(kind, resp.StatusCode, peek(&resp.Body))
		return resp, nil
	})
}

func (w *Watcher) request(kind string, body []byte) {
	switch kind {
	case checkinType:
		w.note("check-in "+stringAt(body, "MessageType"), w.schema.CheckCheckin(body))
	case answerType:
		uuid := stringAt(body, "CommandUUID")
		if uuid == "" {
			w.note("idle", w.schema.CheckAnswer("", body))
			return
		}
		w.mu.Lock()
		name, known := w.requestTypes[uuid]
		w.mu.Unlock()
		if known { // an answer to a command that passed elsewhere can't be judged
			w.note("answer "+name, w.schema.CheckAnswer(name, body))
		}
	}
}

func (w *Watcher) response(kind string, status int, body []byte) {
	if kind != answerType || status != http.StatusOK || len(bytes.TrimSpace(body)) == 0 {
		return
	}
	name := requestTypeOf(body)
	w.mu.Lock()
	w.requestTypes[stringAt(body, "CommandUUID")] = name
	w.mu.Unlock()
	w.note("command "+name, w.schema.CheckCommand(body))
}

func (w *Watcher) note(message string, found []Violation) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seen[message]++
	w.violations = append(w.violations, found...)
}

func mediaKind(r *http.Request) string {
	media, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";")
	switch media = strings.TrimSpace(media); media {
	case checkinType, answerType:
		return media
	}
	return ""
}

// peek reads a body and puts it back.
func peek(body *io.ReadCloser) []byte {
	if *body == nil {
		return nil
	}
	read, err := io.ReadAll(io.LimitReader(*body, watchLimit))
	rest := io.MultiReader(bytes.NewReader(read), *body)
	if err != nil {
		rest = io.MultiReader(bytes.NewReader(read), failingReader{err})
	}
	*body = struct {
		io.Reader
		io.Closer
	}{rest, *body}
	return read
}

type failingReader struct{ err error }

func (f failingReader) Read([]byte) (int, error) { return 0, f.err }

func stringAt(body []byte, name string) string {
	dict, err := decode(body)
	if err != nil {
		return ""
	}
	s, _ := dict[name].(string)
	return s
}

func requestTypeOf(body []byte) string {
	dict, err := decode(body)
	if err != nil {
		return ""
	}
	command, _ := dict["Command"].(map[string]any)
	s, _ := command["RequestType"].(string)
	return s
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

type recorder struct {
	http.ResponseWriter
	status int
	body   bytes.Buffer
}

func (r *recorder) WriteHeader(status int) {
	r.status = status
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(b []byte) (int, error) {
	if r.body.Len() < watchLimit {
		r.body.Write(b)
	}
	return r.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController reach the writer below.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }
