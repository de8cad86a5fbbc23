package sim

import (
	"encoding/hex"
	"net/http"
	"strconv"
	"time"
)

// minTokenBytes is the length of today's tokens; Apple warns that they may grow.
const minTokenBytes = 32

// registration is a token that the service gave to a device.
type registration struct {
	apns   *APNs
	token  string
	topic  string
	wake   func(magic string)
	online bool
	stored *push // the last push that came while the device was offline
	gone   time.Time
	sent   int // accepted pushes, which number the draws of chance
}

// register makes a token known; wake must not block and may be called from any goroutine.
func (a *APNs) register(token []byte, topic string, wake func(magic string)) *registration {
	a.mu.Lock()
	defer a.mu.Unlock()
	reg := &registration{apns: a, token: hex.EncodeToString(token), topic: topic, wake: wake, online: true}
	a.devices[reg.token] = reg
	return reg
}

// unregister makes the service answer 410 for the token from now on.
func (reg *registration) unregister() {
	reg.apns.mu.Lock()
	defer reg.apns.mu.Unlock()
	if reg.gone.IsZero() {
		reg.gone, reg.stored = time.Now(), nil
	}
}

// setOnline tells the service whether the device is connected to it; coming back delivers what was stored.
func (reg *registration) setOnline(online bool) {
	a := reg.apns
	a.mu.Lock()
	reg.online = online
	stored := reg.stored
	if online {
		reg.stored = nil
	}
	a.mu.Unlock()
	if online && stored != nil {
		reg.deliver(*stored)
	}
}

func (a *APNs) count(change func(*APNsCounts)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	change(&a.counts)
}

// route accepts a push for a live token of the topic, and sends it on its way.
func (a *APNs) route(token, topic string, p push) *refusal {
	if raw, err := hex.DecodeString(token); err != nil || len(raw) < minTokenBytes {
		return badRequest("BadDeviceToken")
	}
	a.mu.Lock()
	reg := a.devices[token]
	no := refuse(reg, topic)
	if no != nil {
		a.mu.Unlock()
		return no
	}
	a.counts.Accepted++
	reg.sent++
	draw := chance{seed: a.seed}.of("push", token, strconv.Itoa(reg.sent))
	dropped, delay := draw < a.faults.Drop, a.faults.Latency.pick(chance{seed: a.seed}.of("latency", token, strconv.Itoa(reg.sent)))
	if dropped {
		a.counts.Dropped++
	}
	a.mu.Unlock()
	if !dropped {
		a.later(delay, func() { reg.deliver(p) })
	}
	return nil
}

func refuse(reg *registration, topic string) *refusal {
	switch {
	case reg == nil:
		return badRequest("BadDeviceToken")
	case !reg.gone.IsZero():
		return &refusal{status: http.StatusGone, reason: "Unregistered", timestamp: reg.gone}
	case reg.topic != topic:
		return badRequest("DeviceTokenNotForTopic")
	}
	return nil
}

// later calls f after the delay unless the service is closed before.
func (a *APNs) later(delay time.Duration, f func()) {
	if delay <= 0 {
		f()
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return
	}
	var timer *time.Timer
	timer = time.AfterFunc(delay, func() {
		a.mu.Lock()
		delete(a.timers, timer)
		a.mu.Unlock()
		f()
	})
	a.timers[timer] = true
}

// deliver hands a push to the device, or keeps it as the one that the device gets when it is back.
func (reg *registration) deliver(p push) {
	a := reg.apns
	a.mu.Lock()
	late := !p.expires.IsZero() && !p.once && time.Now().After(p.expires)
	switch {
	case !reg.gone.IsZero() || late:
		a.mu.Unlock()
		return
	case !reg.online:
		if !p.once {
			reg.stored = &p
			a.counts.Stored++
		}
		a.mu.Unlock()
		return
	}
	a.counts.Delivered++
	a.mu.Unlock()
	reg.wake(p.magic)
}
