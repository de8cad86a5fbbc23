package provision

import (
	"fmt"
	"time"
)

// Undelivered is what was recorded of a device and hasn't reached its workflow.
type Undelivered struct {
	// Since is when the oldest such fact was recorded; zero = there is none.
	Since time.Time
	// Ahead counts the facts of other devices that are delivered before, up to [MostAhead].
	Ahead int
	// Refused: Temporal refused the oldest, Failed: its delivery broke down; it is tried again.
	Refused, Failed bool
}

// MostAhead is up to how many facts are counted that go before another one.
const MostAhead = 10_000

// DeliveryTakes is how long a fact may take to its workflow without anybody being told.
const DeliveryTakes = 5 * time.Second

// Explain says that the workflow doesn't know yet what happened to its device, and why; nothing when that is only a moment ago.
func (u Undelivered) Explain(now time.Time) []Wait {
	if u.Since.IsZero() || now.Sub(u.Since) < DeliveryTakes {
		return nil
	}
	const who = "an administrator: see that Temporal and a worker run, with muster doctor and the worker's log"
	what := "What happened to the device has not reached its workflow yet"
	switch {
	case u.Refused:
		return []Wait{{For: what + ": Temporal refused it, and it is tried again.", Since: u.Since, Who: who}}
	case u.Failed:
		return []Wait{{For: what + ": Temporal could not be reached, and it is tried again.", Since: u.Since, Who: who}}
	case u.Ahead == 0:
		return []Wait{{For: what + ", although nothing goes before.", Since: u.Since, Who: who}}
	case u.Ahead == 1:
		what += ": one fact of another device goes before."
	case u.Ahead < MostAhead:
		what += fmt.Sprintf(": %d facts of other devices go before, such as those of an import.", u.Ahead)
	default:
		what += fmt.Sprintf(": more than %d facts of other devices go before, such as those of an import.", MostAhead-1)
	}
	return []Wait{{For: what, Since: u.Since, Who: whoMuster}}
}
