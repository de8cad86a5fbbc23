package sim

import (
	"cmp"
	"slices"
	"strings"
)

// SentTwice counts the commands of one device's log that a server should not have sent. Within one epoch that is
//
//   - a command executed again although an answer to it other than NotNow had been accepted with HTTP 2xx, and
//   - an install acknowledged for a target and content that another command UUID had already installed, without an
//     Error to an install of that target, its removal, other content, or its failure or loss on the device in between.
//
// A repetition that the device asked for doesn't count: after NotNow, and after an answer that never arrived.
func SentTwice(log []LogEntry) int {
	s := &sentTwice{settled: map[commandKey]bool{}, standing: map[targetKey]standing{}}
	for _, h := range happenings(log) {
		s.take(h)
	}
	return s.count
}

type commandKey struct {
	epoch int
	uuid  string
}

type targetKey struct {
	epoch        int
	kind, target string
}

// standing is what is installed for a target.
type standing struct{ uuid, content string }

type sentTwice struct {
	settled  map[commandKey]bool
	standing map[targetKey]standing
	count    int
}

// happening is an attempt, or with a nil attempt the undoing of an entry.
type happening struct {
	seq     int
	entry   *LogEntry
	attempt *Attempt
}

func happenings(log []LogEntry) []happening {
	var all []happening
	for i := range log {
		for j := range log[i].Attempts {
			all = append(all, happening{log[i].Attempts[j].Seq, &log[i], &log[i].Attempts[j]})
		}
		if log[i].UndoneAt > 0 {
			all = append(all, happening{log[i].UndoneAt, &log[i], nil})
		}
	}
	slices.SortFunc(all, func(a, b happening) int { return cmp.Compare(a.seq, b.seq) })
	return all
}

func (s *sentTwice) take(h happening) {
	action, kind := split(h.entry.RequestType)
	target := targetKey{h.entry.Epoch, kind, h.entry.Target}
	if h.attempt == nil {
		delete(s.standing, target)
		return
	}
	id := commandKey{h.entry.Epoch, h.entry.UUID}
	if h.attempt.Executed && s.settled[id] {
		s.count++
	}
	if h.attempt.Accepted && h.attempt.Status != statusNotNow {
		s.settled[id] = true
	}
	switch {
	case action == "Install" && h.attempt.Status == statusError, action == "Remove" && h.attempt.Status == statusAcknowledged:
		delete(s.standing, target)
	case action == "Install" && h.attempt.Status == statusAcknowledged:
		have, found := s.standing[target]
		if found && have.content == h.entry.Content && have.uuid != h.entry.UUID {
			s.count++
		}
		s.standing[target] = standing{h.entry.UUID, h.entry.Content}
	}
}

// split parts InstallProfile into Install and Profile; what neither installs nor removes has no action.
func split(requestType string) (action, kind string) {
	for _, action := range []string{"Install", "Remove"} {
		if kind, ok := strings.CutPrefix(requestType, action); ok {
			return action, kind
		}
	}
	return "", requestType
}
