package abm

import (
	"bytes"
	"maps"
	"math"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// The kinds of faults. The first six hit whole requests. What is garbled, cut or reset has been done before: the answer
// is lost, not the effect.
const (
	FaultSlow      = "slow"      // the answer waits for Seconds
	FaultError     = "error"     // Status, 503 if none, before anything is done
	FaultTooMany   = "too_many"  // 429 with Retry-After, and again until Seconds are over
	FaultGarbage   = "garbage"   // 200 with a web page
	FaultTruncated = "truncated" // half of the answer, then the connection ends
	FaultReset     = "reset"     // the connection is reset instead of an answer

	FaultSameCursor = "same_cursor" // a page comes with the cursor that it was asked for with, and more to follow
	FaultRepeat     = "repeat"      // a record of a page comes twice
	FaultDisorder   = "disorder"    // a page's records come in reverse order

	FaultThrottled          = "throttled"           // a device's profile can't be assigned for Seconds
	FaultAssignFailed       = "assign_failed"       // a device's profile assignment answers FAILED
	FaultAssignInaccessible = "assign_inaccessible" // … answers NOT_ACCESSIBLE

	FaultActivityFailed  = "activity_failed"  // an activity ends FAILED, without effect
	FaultActivityStopped = "activity_stopped" // an activity ends STOPPED, without effect
	FaultActivitySlow    = "activity_slow"    // an activity takes Seconds
)

// Fault is something that goes wrong now and then.
type Fault struct {
	Kind    string  `json:"kind"`
	Share   float64 `json:"share"`             // of the occasions, in (0,1]
	Path    string  `json:"path,omitempty"`    // only requests to paths that begin so, or the serial that begins so
	Times   int     `json:"times,omitempty"`   // how often at most; 0 is without end
	Seconds float64 `json:"seconds,omitempty"` // how long, where the kind has a duration
	Status  int     `json:"status,omitempty"`
}

func (f Fault) duration() time.Duration { return time.Duration(f.Seconds * float64(time.Second)) }

// Counts are what has been asked for and what has gone wrong since the beginning.
type Counts struct {
	Requests  map[string]int `json:"requests"`  // by method and path
	Faults    map[string]int `json:"faults"`    // by kind
	Impatient int            `json:"impatient"` // came back before a throttle's time was over
}

func newCounts() Counts { return Counts{Requests: map[string]int{}, Faults: map[string]int{}} }

// faultPlan is what may go wrong and what has.
type faultPlan struct {
	list  []Fault
	hits  []int
	drawn map[string]int       // draws by kind and subject
	until map[string]time.Time // ends of throttles by API
}

// SetFaults replaces the faults; none ends them all, running throttles of whole APIs included.
func (o *Organization) SetFaults(faults ...Fault) {
	defer o.lock()()
	o.faults.list, o.faults.hits = faults, make([]int, len(faults))
	clear(o.faults.until)
}

// Counts returns the counts so far.
func (o *Organization) Counts() Counts {
	defer o.lock()()
	counts := o.counts
	counts.Requests, counts.Faults = maps.Clone(counts.Requests), maps.Clone(counts.Faults)
	return counts
}

// strike draws whether a fault of the kind hits the subject this time; the fault, or nil. The caller holds mu.
func (o *Organization) strike(kind, subject string) *Fault {
	for i := range o.faults.list {
		f := &o.faults.list[i]
		if f.Kind != kind || !strings.HasPrefix(subject, f.Path) || f.Times > 0 && o.faults.hits[i] >= f.Times {
			continue
		}
		draw := kind + " " + subject
		o.faults.drawn[draw]++
		if o.chance.of(draw, strconv.Itoa(o.faults.drawn[draw])) >= f.Share {
			continue
		}
		o.faults.hits[i]++
		o.counts.Faults[kind]++
		return f
	}
	return nil
}

// disturbed applies the faults of pages.
func (c *call) disturbed(request listRequest, page listResponse) listResponse {
	path := c.request.URL.Path
	if request.Cursor != "" && c.strike(FaultSameCursor, path) != nil {
		page.Cursor, page.MoreToFollow = request.Cursor, true
	}
	if len(page.Devices) > 0 && c.strike(FaultRepeat, path) != nil {
		page.Devices = append(page.Devices, page.Devices[0])
	}
	if c.strike(FaultDisorder, path) != nil {
		for i, j := 0, len(page.Devices)-1; i < j; i, j = i+1, j-1 {
			page.Devices[i], page.Devices[j] = page.Devices[j], page.Devices[i]
		}
	}
	return page
}

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
	}
	return "assignment"
}

// collapse leaves out identifiers, so that counts stay few.
func collapse(path string) string {
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
		if t.slow > 0 {
			timer := time.NewTimer(t.slow)
			defer timer.Stop()
			select {
			case <-timer.C:
			case <-r.Context().Done():
				return
			}
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
