package sim_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/sim"
)

func entry(epoch int, uuid, kind, content string, attempts ...sim.Attempt) sim.LogEntry {
	return sim.LogEntry{Epoch: epoch, UUID: uuid, RequestType: kind, Target: "x", Content: content, Attempts: attempts}
}

func ack(seq int) sim.Attempt {
	return sim.Attempt{Seq: seq, Status: "Acknowledged", Executed: true, Accepted: true}
}

func TestSentTwice(t *testing.T) {
	fail := sim.Attempt{Seq: 2, Status: "Error", Executed: true, Accepted: true}
	notNow := sim.Attempt{Seq: 1, Status: "NotNow", Accepted: true}
	lost := sim.Attempt{Seq: 1, Status: "Acknowledged", Executed: true}
	undone := entry(1, "a", "InstallApplication", "1", ack(1))
	undone.UndoneAt = 2
	for name, c := range map[string]struct {
		log  []sim.LogEntry
		want int
	}{
		"nothing":                  {nil, 0},
		"once":                     {[]sim.LogEntry{entry(1, "a", "InstallProfile", "1", ack(1))}, 0},
		"again after its answer":   {[]sim.LogEntry{entry(1, "a", "SecurityInfo", "", ack(1), ack(2), ack(3))}, 2},
		"again after NotNow":       {[]sim.LogEntry{entry(1, "a", "InstallProfile", "1", notNow, ack(2))}, 0},
		"again, answer lost":       {[]sim.LogEntry{entry(1, "a", "InstallProfile", "1", lost, ack(2))}, 0},
		"same content, other UUID": {[]sim.LogEntry{entry(1, "a", "InstallProfile", "1", ack(1)), entry(1, "b", "InstallProfile", "1", ack(2))}, 1},
		"other content":            {[]sim.LogEntry{entry(1, "a", "InstallProfile", "1", ack(1)), entry(1, "b", "InstallProfile", "2", ack(2)), entry(1, "c", "InstallProfile", "1", ack(3))}, 0},
		"other kind":               {[]sim.LogEntry{entry(1, "a", "InstallProfile", "1", ack(1)), entry(1, "b", "InstallApplication", "1", ack(2))}, 0},
		"other epoch":              {[]sim.LogEntry{entry(1, "a", "InstallProfile", "1", ack(1)), entry(2, "a", "InstallProfile", "1", ack(2))}, 0},
		"after an error":           {[]sim.LogEntry{entry(1, "a", "InstallProfile", "1", ack(1)), entry(1, "b", "InstallProfile", "1", fail), entry(1, "c", "InstallProfile", "1", ack(3))}, 0},
		"after its removal":        {[]sim.LogEntry{entry(1, "a", "InstallProfile", "1", ack(1)), entry(1, "b", "RemoveProfile", "", ack(2)), entry(1, "c", "InstallProfile", "1", ack(3))}, 0},
		"after its loss":           {[]sim.LogEntry{undone, entry(1, "b", "InstallApplication", "1", ack(3))}, 0},
		"queries repeat freely":    {[]sim.LogEntry{entry(1, "a", "ProfileList", "", ack(1)), entry(1, "b", "ProfileList", "", ack(2))}, 0},
	} {
		t.Run(name, func(t *testing.T) { require.Equal(t, c.want, sim.SentTwice(c.log)) })
	}
}
