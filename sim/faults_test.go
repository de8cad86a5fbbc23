package sim_test

import (
	"bytes"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/sim"
)

func withFaults(f sim.Faults) func(*sim.Config) {
	return func(c *sim.Config) { c.Faults = f }
}

func statuses(d *sim.Device, uuid string) []string {
	for _, e := range d.Log() {
		if e.UUID == uuid {
			return e.Statuses()
		}
	}
	return nil
}

func TestNotNowComesBackByItself(t *testing.T) {
	p := newPeer(t)
	d := p.enrolled(withFaults(sim.Faults{NotNow: 1, NotNowFor: sim.Span{Min: 5 * time.Millisecond}}))
	p.send(d, uuid(1), "InstallProfile", dict{"Payload": configuration("test.wifi")}) // one push only
	require.Equal(t, []string{"NotNow", "NotNow", "Acknowledged"}, statuses(d, uuid(1)), "the limit is twice")
	require.Zero(t, sim.SentTwice(d.Log()))
}

func TestRefusedInstallations(t *testing.T) {
	p := newPeer(t)
	d := p.enrolled(withFaults(sim.Faults{Refuse: map[string]int{"test.flaky": 2, "test.never": -1}}))
	var got []any
	for i := range 3 {
		got = append(got, p.send(d, uuid(i), "InstallProfile", dict{"Payload": configuration("test.flaky")})["Status"])
	}
	require.Equal(t, []any{"Error", "Error", "Acknowledged"}, got)
	for i := range 4 {
		requireError(t, p.send(d, uuid(10+i), "InstallProfile", dict{"Payload": configuration("test.never")}), "MCInstallationErrorDomain", 4001)
	}
	require.Zero(t, sim.SentTwice(d.Log()))
}

func TestRefusedShare(t *testing.T) {
	p := newPeer(t)
	d := p.enrolled(withFaults(sim.Faults{RefuseShare: 1, Limit: 1}))
	require.Equal(t, "Error", p.send(d, uuid(1), "InstallApplication", dict{"Identifier": "a"})["Status"])
	require.Equal(t, "Acknowledged", p.send(d, uuid(2), "InstallApplication", dict{"Identifier": "a"})["Status"])
	require.Equal(t, "Acknowledged", p.send(d, uuid(3), "SecurityInfo", nil)["Status"], "only installations are refused")
}

func TestFailedInstallations(t *testing.T) {
	p := newPeer(t)
	d := p.enrolled(withFaults(sim.Faults{Fail: map[string]int{"a": 1}}))
	p.send(d, uuid(1), "InstallApplication", dict{"Identifier": "a"})
	list := p.send(d, uuid(2), "ManagedApplicationList", nil)["ManagedApplicationList"].(dict)
	require.Equal(t, "Failed", list["a"].(dict)["Status"])
	p.send(d, uuid(3), "InstallApplication", dict{"Identifier": "a"})
	require.Equal(t, "Managed", d.Snapshot().App("a"))
	require.Zero(t, sim.SentTwice(d.Log()), "the failure called for the second command")
}

func TestLostAnswersAreRepeated(t *testing.T) {
	p := newPeer(t)
	d := p.enrolled(withFaults(sim.Faults{LoseAnswer: 1, Limit: 2}))
	require.Equal(t, []string{"Authenticate", "Authenticate", "Authenticate", "TokenUpdate", "TokenUpdate", "TokenUpdate"}, p.checkinsSeen())
	require.Equal(t, 1, d.Snapshot().Epoch, "the device knows of one")
	p.send(d, uuid(1), "SecurityInfo", nil)
	eventually(t, "three answers", func() bool { return len(p.answersTo(uuid(1))) == 3 })
	require.Equal(t, []string{"Acknowledged"}, statuses(d, uuid(1)), "executed once")
	require.Zero(t, sim.SentTwice(d.Log()))
}

func TestLostRequestsAreRepeated(t *testing.T) {
	p := newPeer(t)
	d := p.enrolled(withFaults(sim.Faults{LoseRequest: 1, Limit: 3}))
	require.Equal(t, []string{"Authenticate", "TokenUpdate"}, p.checkinsSeen(), "the server saw one of four")
	p.send(d, uuid(1), "SecurityInfo", nil)
	require.Len(t, p.answersTo(uuid(1)), 1)
}

func TestRepeatedAnswers(t *testing.T) {
	p := newPeer(t)
	d := p.enrolled(withFaults(sim.Faults{RepeatAnswer: 1, Limit: 1}))
	p.enqueue(d, uuid(1), "SecurityInfo", nil)
	p.enqueue(d, uuid(2), "ProfileList", nil)
	p.wake(d)
	p.settled(uuid(2))
	require.Len(t, p.answersTo(uuid(1)), 2)
	require.Equal(t, []string{"Acknowledged"}, statuses(d, uuid(2)))
	require.Zero(t, sim.SentTwice(d.Log()))
}

func TestDuplicateTokenUpdate(t *testing.T) {
	p := newPeer(t)
	p.enrolled(withFaults(sim.Faults{DuplicateTokenUpdate: 1}))
	require.Equal(t, []string{"Authenticate", "TokenUpdate", "TokenUpdate"}, p.checkinsSeen())
}

func TestOfflineSpellKeepsOnePush(t *testing.T) {
	p := newPeer(t)
	d := p.enrolled()
	d.SetOnline(false)
	p.enqueue(d, uuid(1), "SecurityInfo", nil)
	for range 3 {
		p.wake(d)
	}
	require.Equal(t, 3, p.apns.Counts().Stored)
	require.Empty(t, d.Log())
	d.SetOnline(true)
	p.settled(uuid(1))
	require.Equal(t, 1, p.apns.Counts().Delivered)
}

func TestGoingOfflineLosesTheMessageUnderWay(t *testing.T) {
	p := newPeer(t)
	d := p.enrolled()
	arrived := make(chan struct{})
	first := true
	p.setIntercept(func(_ http.ResponseWriter, r *http.Request) bool {
		p.mu.Lock()
		held := first
		first = false
		p.mu.Unlock()
		if held {
			_, _ = io.Copy(io.Discard, r.Body) // only then does the server notice that the client is gone
			close(arrived)
			<-r.Context().Done()
		}
		return held
	})
	p.enqueue(d, uuid(1), "SecurityInfo", nil)
	p.wake(d)
	<-arrived
	d.SetOnline(false)
	d.SetOnline(false)
	require.False(t, d.Snapshot().Online)
	d.SetOnline(true)
	require.Equal(t, "Acknowledged", p.settled(uuid(1))["Status"])
}

func TestRebootDropsTheAnswer(t *testing.T) {
	p := newPeer(t)
	d := p.enrolled(func(c *sim.Config) { c.Backoff = sim.Span{Min: time.Hour} })
	refused := make(chan struct{})
	p.setIntercept(func(w http.ResponseWriter, r *http.Request) bool {
		body, err := io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(body))
		if err != nil || !bytes.Contains(body, []byte(uuid(1))) {
			return false
		}
		w.WriteHeader(http.StatusBadGateway)
		close(refused)
		p.setIntercept(nil)
		return true
	})
	p.enqueue(d, uuid(1), "ProfileList", nil)
	p.wake(d)
	<-refused
	d.Reboot()
	p.settled(uuid(1))
	require.Equal(t, []string{"Acknowledged", "Acknowledged"}, statuses(d, uuid(1)))
	require.Zero(t, sim.SentTwice(d.Log()), "the server had to send it again")
}

func TestRefusalsOfTheServer(t *testing.T) {
	answers := map[string]struct {
		status  int
		body    string
		enrolls bool
	}{
		"dropped":      {http.StatusBadRequest, "", true},
		"unauthorized": {http.StatusUnauthorized, "", false},
		"unrecognized": {http.StatusForbidden, `{"code":"com.apple.unrecognized.device"}`, false},
		"forbidden":    {http.StatusForbidden, `{"code":"other"}`, true},
	}
	for name, c := range answers {
		t.Run(name, func(t *testing.T) {
			p := newPeer(t)
			d := p.enrolled()
			seen := make(chan struct{}, 9)
			p.setIntercept(func(w http.ResponseWriter, _ *http.Request) bool {
				w.WriteHeader(c.status)
				_, _ = w.Write([]byte(c.body))
				seen <- struct{}{}
				return true
			})
			p.wake(d)
			<-seen
			if !c.enrolls {
				eventually(t, "un-enrollment", func() bool { return !d.Snapshot().Enrolled })
				return
			}
			p.setIntercept(nil)
			p.send(d, uuid(1), "SecurityInfo", nil)
			require.True(t, d.Snapshot().Enrolled)
		})
	}
}

func TestResetForgets(t *testing.T) {
	p := newPeer(t)
	d := p.enrolled()
	p.send(d, uuid(1), "InstallProfile", dict{"Payload": configuration("test.wifi")})
	before := tokenOf(t, p, d)
	d.Reset()
	require.False(t, d.Snapshot().Enrolled)
	require.Empty(t, d.Snapshot().Profiles)
	require.NoError(t, d.Enroll(t.Context(), p.profile()))
	require.NotEqual(t, before, tokenOf(t, p, d))
	p.send(d, uuid(2), "InstallProfile", dict{"Payload": configuration("test.wifi")})
	require.Zero(t, sim.SentTwice(d.Log()), "another life")
	require.NoError(t, d.CheckOut(t.Context()))
	require.Contains(t, p.checkinsSeen(), "CheckOut")
}

func TestFaultsRepeatWithTheirSeed(t *testing.T) {
	run := func(seed uint64) [][]string {
		p := newPeer(t)
		d := p.enrolled(func(c *sim.Config) {
			c.Seed = seed
			c.Faults = sim.Faults{NotNow: 0.4, NotNowFor: sim.Span{Min: time.Millisecond}, RefuseShare: 0.4}
		})
		var all [][]string
		for i := range 12 {
			p.send(d, uuid(i), "InstallProfile", dict{"Payload": configuration("test." + string(rune('a'+i)))})
			all = append(all, statuses(d, uuid(i)))
		}
		return all
	}
	first := run(3)
	require.Equal(t, first, run(3))
	require.NotEqual(t, first, run(4))
}
