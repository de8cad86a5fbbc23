package abm

import (
	"bytes"
	"io"
	"maps"
	"math"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// trouble is what goes wrong with one request.
type trouble struct {
	slow    time.Duration
	status  int
	retry   time.Duration
	answers string // kind of fault that spoils the answer
}

func (o *Organization) draw(r *http.Request) trouble {
	defer o.lock()()
	path := r.URL.Path
	o.counts.Requests[r.Method+" "+collapse(path)]++
	var t trouble
	if f := o.strike(FaultSlow, path); f != nil {
		t.slow = f.duration()
	}
	if t.retry = o.tooMany(path); t.retry > 0 {
		t.status = http.StatusTooManyRequests
		return t
	}
	if f := o.strike(FaultError, path); f != nil {
		t.status = f.Status
		t.retry = f.duration()
		setDefault(&t.status, http.StatusServiceUnavailable)
		return t
	}
	for _, kind := range []string{FaultGarbage, FaultTruncated, FaultReset} {
		if o.strike(kind, path) != nil {
			t.answers = kind
			return t
		}
	}
	return t
}

// tooMany says for how long the path's API is throttled.
func (o *Organization) tooMany(path string) time.Duration {
	api, now := apiOf(path), o.now()
	if until := o.faults.until[api]; until.After(now) {
		o.counts.Impatient++
		return until.Sub(now)
	}
	f := o.strike(FaultTooMany, path)
	if f == nil {
		return 0
	}
	wait := max(f.duration(), time.Second)
	o.faults.until[api] = now.Add(wait)
	return wait
}

func apiOf(path string) string {
	switch {
	case strings.HasPrefix(path, "/v1/"):
		return "business"
	case strings.HasPrefix(path, "/auth/"):
		return "token"
	case strings.HasPrefix(path, downloadPath):
		return "download"
	}
	return "assignment"
}

// collapse leaves out identifiers, so that counts stay few.
func collapse(path string) string {
	if strings.HasPrefix(path, downloadPath) {
		return downloadPath + "{id}"
	}
	parts := strings.Split(path, "/")
	if len(parts) > 3 && parts[1] == "v1" {
		parts[3] = "{id}"
	}
	return strings.Join(parts, "/")
}

// troubled has requests meet the faults before and after they are served.
func (o *Organization) troubled(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t := o.draw(r)
		if t.slow > 0 && !linger(w, r, t.slow) {
			return
		}
		switch {
		case t.status != 0:
			o.writeTrouble(w, r, t)
		case t.answers != "":
			spoil(w, r, next, t.answers)
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// linger waits; false when the client has gone meanwhile. That only shows once the body has been read.
func linger(w http.ResponseWriter, r *http.Request, wait time.Duration) bool {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		return true // the handler meets the same error
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-r.Context().Done():
		return false
	}
}

func (o *Organization) writeTrouble(w http.ResponseWriter, r *http.Request, t trouble) {
	code := strings.ToUpper(strings.ReplaceAll(http.StatusText(t.status), " ", "_"))
	if t.retry > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(t.retry.Seconds()))))
	}
	switch {
	case apiOf(r.URL.Path) != "business":
		o.writeRefusal(w, &refusal{status: t.status, code: code})
	case t.status == http.StatusTooManyRequests:
		writeAPIError(w, apiError{status: t.status, code: "RATE_LIMIT_EXCEEDED", title: "The request rate limit has been reached.", detail: "Wait before you try again."})
	default:
		writeAPIError(w, apiError{status: t.status, code: code, title: http.StatusText(t.status), detail: "An unexpected error occurred on the server side."})
	}
}

// heldAnswer is a response that is held back.
type heldAnswer struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (a *heldAnswer) Header() http.Header         { return a.header }
func (a *heldAnswer) WriteHeader(status int)      { a.status = status }
func (a *heldAnswer) Write(b []byte) (int, error) { return a.body.Write(b) }

// spoil serves the request and then loses the answer.
func spoil(w http.ResponseWriter, r *http.Request, next http.Handler, kind string) {
	held := &heldAnswer{header: http.Header{}, status: http.StatusOK}
	next.ServeHTTP(held, r)
	switch kind {
	case FaultGarbage:
		w.Header().Set("Content-Type", "text/html")
		_, _ = w.Write([]byte("<html><head><title>Maintenance</title></head><body>We'll be back soon.</body></html>"))
	case FaultTruncated:
		maps.Copy(w.Header(), held.header)
		w.Header().Set("Content-Length", strconv.Itoa(held.body.Len()))
		w.WriteHeader(held.status)
		_, _ = w.Write(held.body.Bytes()[:held.body.Len()/2])
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler) // the way to end a connection in the middle of an answer
	case FaultReset:
		resetConnection(w)
	}
}

func resetConnection(w http.ResponseWriter) {
	connection, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if tcp, ok := connection.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // a close without lingering is a reset
	}
	_ = connection.Close()
}
