package sim

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"time"
)

const unrecognizedDevice = "com.apple.unrecognized.device"

// Run is the device's connect loop: it waits to be pushed, connects, and answers commands until the server has none.
// It goes on across resets and new enrollments, and returns nil when ctx ends. Run it once at a time.
func (d *Device) Run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-d.wake:
			d.session(ctx)
		}
	}
}

// Connect makes the device connect once without a push, as one that polls.
func (d *Device) Connect() { d.poke() }

// session connects once. What ends it early (the server refuses, the device restarts, ctx ends) leaves the rest
// to the next push.
func (d *Device) session(ctx context.Context) {
	release, err := d.acquire(ctx)
	if err != nil {
		return
	}
	defer release()
	d.mu.Lock()
	e, boot, enrolled := d.state.enrolment, d.state.boot, d.state.enrolled
	d.mu.Unlock()
	if !enrolled {
		return
	}
	next := d.idle(e)
	for next != nil {
		m, after := next.message, next.after
		if !d.deliverAll(ctx, e, boot, next.first) {
			return
		}
		r, err := d.deliver(ctx, e, boot, m)
		if err != nil {
			return
		}
		if refusesDevice(r) {
			d.unenrol(e)
			return
		}
		if r.ok() && m.attempt != nil && d.strikes("repeat-answer", m.subject, d.cfg.Faults.RepeatAnswer) {
			if r, err = d.deliver(ctx, e, boot, m); err != nil {
				return
			}
		}
		if after != nil && after(ctx) {
			return
		}
		// Any other refusal drops the answer; the server may ask again at the next push.
		if !r.ok() || len(strings.TrimSpace(string(r.body))) == 0 {
			return
		}
		next = d.execute(ctx, e, boot, r.body)
	}
}

// deliverAll sends check-ins one after the other, and reports whether the server took them.
func (d *Device) deliverAll(ctx context.Context, e *enrolment, boot int, messages []message) bool {
	for _, m := range messages {
		r, err := d.deliver(ctx, e, boot, m)
		if err != nil || !r.ok() {
			return false
		}
	}
	return true
}

// answer is a message to the server URL, and what the device does once it is delivered: after returns whether
// the session ends with it.
type answer struct {
	first   []message // check-ins that come before it
	message message
	after   func(ctx context.Context) bool
}

func (d *Device) idle(e *enrolment) *answer {
	body, err := encode(dict{"UDID": d.cfg.UDID, "Status": "Idle"})
	if err != nil {
		return nil
	}
	return &answer{message: message{name: "Idle", subject: "Idle", url: text(e.mdm, "ServerURL"), media: commandMedia, body: body}}
}

// refusesDevice tells the two answers that un-enrol a device: 401, and since iOS 17 a 403 that says so.
func refusesDevice(r reply) bool {
	switch r.status {
	case http.StatusUnauthorized:
		return true
	case http.StatusForbidden:
		var reason struct {
			Code string `json:"code"`
		}
		if json.Unmarshal(r.body, &reason) == nil {
			return reason.Code == unrecognizedDevice
		}
		d, err := decode(r.body)
		return err == nil && text(d, "code") == unrecognizedDevice
	}
	return false
}

// reconnect makes the device connect by itself after a while, as it does for a command that it put off.
func (d *Device) reconnect(after time.Duration) {
	time.AfterFunc(after, d.poke)
}
