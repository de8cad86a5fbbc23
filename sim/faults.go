package sim

import (
	"strconv"
	"time"
)

const (
	defaultLimit  = 2
	defaultNotNow = time.Second
)

// strikes draws whether a fault strikes the subject this time. The draw depends on the seed, the epoch, the subject
// and how often it was drawn for, so that it doesn't depend on what other devices do.
func (d *Device) strikes(kind, subject string, share float64) bool {
	if share <= 0 {
		return false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.struck(kind, subject, share)
}

// struck is strikes for a caller that holds mu.
func (d *Device) struck(kind, subject string, share float64) bool {
	if share <= 0 {
		return false
	}
	limit := d.cfg.Faults.Limit
	if limit == 0 {
		limit = defaultLimit
	}
	draws, strikes := "draw/"+kind+"/"+subject, "strike/"+kind+"/"+subject
	if d.drawn[strikes] >= limit {
		return false
	}
	d.drawn[draws]++
	if d.chance.of(kind, subject, strconv.Itoa(d.journal.epoch), strconv.Itoa(d.drawn[draws])) >= share {
		return false
	}
	d.drawn[strikes]++
	return true
}

// due tells whether one of the failures listed for a target is left, and uses it up. The caller holds mu.
func (d *Device) due(kind, target string, listed map[string]int) bool {
	times := listed[target]
	if times < 0 {
		return true
	}
	used := kind + "/" + target
	if d.drawn[used] >= times {
		return false
	}
	d.drawn[used]++
	return true
}

// putOffFor is how long a command is put off; it varies with the subject. The caller holds mu.
func (d *Device) putOffFor(subject string) time.Duration {
	if d.cfg.Faults.NotNowFor == (Span{}) {
		return defaultNotNow
	}
	return d.cfg.Faults.NotNowFor.pick(d.chance.of("put-off", subject))
}
