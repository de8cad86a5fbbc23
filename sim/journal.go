package sim

import (
	"slices"
	"time"
)

// LogEntry is one command that a device received, by command UUID within an epoch.
type LogEntry struct {
	Epoch       int // the device's n-th enrollment, from 1
	UUID        string
	RequestType string
	Target      string // payload identifier or app identifier; empty for commands about nothing in particular
	Content     string // hash of what an install command brings
	Delivered   []time.Time
	Attempts    []Attempt // one for each delivery, in order
	UndoneAt    int       // number, in the order of Attempt.Seq, at which what it installed was gone or failed; 0: never
}

// Attempt is how a device took one delivery of a command.
type Attempt struct {
	Seq      int // order among all attempts of the device
	Status   string
	Executed bool // false when the command was put off or refused without being looked at
	Accepted bool // the server answered 2xx to the answer at least once
}

// TimesDelivered counts how often the command arrived.
func (e LogEntry) TimesDelivered() int { return len(e.Delivered) }

// TimesExecuted counts how often the device did what the command says.
func (e LogEntry) TimesExecuted() int {
	n := 0
	for _, a := range e.Attempts {
		if a.Executed {
			n++
		}
	}
	return n
}

// Statuses lists what the device answered, in order.
func (e LogEntry) Statuses() []string {
	statuses := make([]string, len(e.Attempts))
	for i, a := range e.Attempts {
		statuses[i] = a.Status
	}
	return statuses
}

// journal is guarded by the device's mu.
type journal struct {
	epoch   int
	seq     int
	entries []*LogEntry
}

// attempt leads from a message back to its place in the journal.
type attempt struct {
	entry *LogEntry
	index int
}

func (j *journal) begin() int {
	j.epoch++
	return j.epoch
}

func (j *journal) received(c *command, at time.Time) *LogEntry {
	i := slices.IndexFunc(j.entries, func(e *LogEntry) bool { return e.Epoch == j.epoch && e.UUID == c.uuid })
	if i < 0 {
		i = len(j.entries)
		j.entries = append(j.entries, &LogEntry{
			Epoch: j.epoch, UUID: c.uuid, RequestType: c.requestType, Target: c.target, Content: c.content,
		})
	}
	j.entries[i].Delivered = append(j.entries[i].Delivered, at)
	return j.entries[i]
}

func (j *journal) attempted(e *LogEntry, status string, executed bool) *attempt {
	j.seq++
	e.Attempts = append(e.Attempts, Attempt{Seq: j.seq, Status: status, Executed: executed})
	return &attempt{entry: e, index: len(e.Attempts) - 1}
}

// undone notes that what was installed for a target is gone for a reason other than a command of the server.
func (j *journal) undone(requestType, target string) {
	for _, e := range slices.Backward(j.entries) {
		if e.Epoch == j.epoch && e.RequestType == requestType && e.Target == target {
			j.seq++
			e.UndoneAt = j.seq
			return
		}
	}
}

func (d *Device) accepted(a *attempt) {
	d.mu.Lock()
	defer d.mu.Unlock()
	a.entry.Attempts[a.index].Accepted = true
}

// Log returns all commands that the device received so far, in the order of their first delivery.
func (d *Device) Log() []LogEntry {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := make([]LogEntry, len(d.journal.entries))
	for i, e := range d.journal.entries {
		out[i] = *e
		out[i].Delivered, out[i].Attempts = slices.Clone(e.Delivered), slices.Clone(e.Attempts)
	}
	return out
}
