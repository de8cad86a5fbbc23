package sim_test

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/micromdm/nanomdm/mdm"
	"github.com/micromdm/plist"
	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/sim"
)

// profile is an enrollment profile for this server; change may alter it before it is written.
func (p *peer) profile(change ...func(mdm, scep dict)) []byte {
	m := dict{
		"PayloadType": "com.apple.mdm", "PayloadIdentifier": "test.enroll.mdm", "PayloadUUID": "U-MDM", "PayloadVersion": 1,
		"IdentityCertificateUUID": "U-SCEP", "Topic": topic, "ServerURL": p.server.URL + "/mdm",
		"SignMessage": true, "AccessRights": 8191, "CheckOutWhenRemoved": true,
	}
	s := dict{
		"PayloadType": "com.apple.security.scep", "PayloadIdentifier": "test.enroll.scep", "PayloadUUID": "U-SCEP", "PayloadVersion": 1,
		"PayloadContent": dict{
			"URL": p.server.URL + "/scep", "Challenge": challenge, "Keysize": 1024, "Key Type": "RSA",
			"Subject": []any{[]any{[]any{"CN", "virtual"}}, []any{[]any{"2.5.4.10", "Test"}}},
		},
	}
	for _, c := range change {
		c(m, s)
	}
	return profileOf("test.enroll", m, s)
}

func profileOf(identifier string, payloads ...any) []byte {
	body, err := plist.Marshal(dict{
		"PayloadType": "Configuration", "PayloadIdentifier": identifier, "PayloadUUID": "U-" + identifier, "PayloadVersion": 1,
		"PayloadDisplayName": identifier, "PayloadContent": payloads,
	})
	if err != nil {
		panic(err)
	}
	return body
}

func configuration(identifier string) []byte {
	return profileOf(identifier, dict{
		"PayloadType": "com.apple.wifi.managed", "PayloadIdentifier": identifier + ".wifi",
		"PayloadUUID": "U-" + identifier + ".wifi", "PayloadVersion": 1,
	})
}

// enrolled makes a device that has enrolled and whose connect loop runs until the test ends.
func (p *peer) enrolled(change ...func(*sim.Config)) *sim.Device {
	d := p.device(change...)
	require.NoError(p.t, d.Enroll(p.t.Context(), p.profile()))
	p.run(d)
	return d
}

func (p *peer) device(change ...func(*sim.Config)) *sim.Device {
	p.t.Helper()
	cfg := sim.Config{Serial: "C07Q853LG9RM", Seed: 7, APNs: p.apns, KeyBits: 1024, Backoff: quick}
	for _, c := range change {
		c(&cfg)
	}
	d, err := sim.NewDevice(cfg)
	require.NoError(p.t, err)
	p.t.Cleanup(d.Close)
	return d
}

func (p *peer) run(d *sim.Device) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	p.t.Cleanup(func() {
		cancel()
		require.NoError(p.t, <-done)
	})
}

// enqueue queues a command without a push.
func (p *peer) enqueue(d *sim.Device, uuid, requestType string, keys dict) {
	p.t.Helper()
	command := dict{"RequestType": requestType}
	for k, v := range keys {
		command[k] = v
	}
	raw, err := plist.Marshal(dict{"CommandUUID": uuid, "Command": command})
	require.NoError(p.t, err)
	cmd, err := mdm.DecodeCommand(raw)
	require.NoError(p.t, err)
	p.queue.Lock()
	defer p.queue.Unlock()
	_, err = p.store.EnqueueCommand(context.Background(), []string{d.UDID()}, cmd)
	require.NoError(p.t, err)
}

func (p *peer) wake(d *sim.Device) {
	p.t.Helper()
	responses, err := p.push.Push(context.Background(), []string{d.UDID()})
	require.NoError(p.t, err)
	for _, r := range responses {
		require.NoError(p.t, r.Err)
		require.NotEmpty(p.t, r.Id)
	}
}

// send queues a command, pushes, and returns the answer that settles it.
func (p *peer) send(d *sim.Device, uuid, requestType string, keys dict) dict {
	p.t.Helper()
	p.enqueue(d, uuid, requestType, keys)
	p.wake(d)
	return p.settled(uuid)
}

func (p *peer) settled(uuid string) dict {
	p.t.Helper()
	var raw []byte
	p.eventually("answer to "+uuid, func() bool {
		for _, a := range p.answersTo(uuid) {
			if isSettled(a) {
				raw = a.Raw
				return true
			}
		}
		return false
	})
	var d dict
	require.NoError(p.t, plist.Unmarshal(raw, &d))
	return d
}

func (p *peer) answersTo(uuid string) []*mdm.CommandResults {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]*mdm.CommandResults(nil), p.answers[uuid]...)
}

func (p *peer) checkinsSeen() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string(nil), p.checkins...)
}

func (p *peer) setIntercept(f func(w http.ResponseWriter, r *http.Request) bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.intercept = f
}

func (p *peer) eventually(what string, ok func() bool) {
	p.t.Helper()
	eventually(p.t, what, ok)
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	end := time.After(deadline)
	for !ok() {
		select {
		case <-tick.C:
		case <-end:
			t.Fatalf("no %s within %s", what, deadline)
		}
	}
}

func uuid(n int) string { return fmt.Sprintf("00000000-0000-4000-8000-%012d", n) }
