package abm

import (
	"maps"
	"strconv"
	"strings"
	"time"
)

// The kinds of faults. The first six hit whole requests. What is garbled, cut or reset has been done before: the answer
// is lost, not the effect.
const (
	FaultSlow      = "slow"      // the answer waits for Seconds
	FaultError     = "error"     // Status, 503 if none, before anything is done; Seconds become its Retry-After
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
