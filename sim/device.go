package sim

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Device is one virtual iPhone or iPad. Its methods are safe for concurrent use; like a real device it exchanges
// one message at a time. It needs a goroutine only in Run.
type Device struct {
	cfg    Config
	chance chance
	talk   chan struct{} // held by whoever exchanges messages
	wake   chan struct{} // one pending reason to connect

	made   sync.Once // the identity that it left the factory with
	origin *identity
	unmade error

	mu      sync.Mutex
	state   state
	journal journal
	drawn   map[string]int // draws of chance and strikes of faults, by kind and subject
}

// state is what a device remembers and what a factory reset, a reboot or the loss of its network changes.
type state struct {
	boot      int // grows with each restart, so that what a restart interrupts can tell
	resets    int
	online    bool
	back      chan struct{} // closed when the device is online
	link      context.Context
	unlink    context.CancelFunc
	system    system
	setup     setup
	name      string
	org       dict
	options   dict
	timeZone  string
	roaming   bool
	awaiting  bool
	enrolled  bool
	missed    bool // a push came while the enrollment was not complete
	putOff    bool // a command has to wait for the end of Setup Assistant
	enrolment *enrolment
	profiles  []*profile
	apps      map[string]*app
	books     []*book
}

// enrolment is what the device holds from Prepare until it is un-enrolled.
type enrolment struct {
	epoch    int // 0 until Authenticate succeeds
	profile  *profile
	mdm      dict
	identity *identity
	client   *http.Client
	token    []byte
	magic    string
	push     *registration
}

// NewDevice makes a device as it comes out of its box: online, erased, not enrolled.
func NewDevice(cfg Config) (*Device, error) {
	cfg, err := cfg.complete()
	if err != nil {
		return nil, err
	}
	d := &Device{
		cfg:    cfg,
		chance: chance{seed: cfg.Seed},
		talk:   make(chan struct{}, 1),
		wake:   make(chan struct{}, 1),
		drawn:  map[string]int{},
	}
	back := make(chan struct{})
	close(back)
	d.state = state{online: true, back: back, system: system{version: cfg.OSVersion, build: cfg.BuildVersion}}
	d.relink()
	d.erase()
	return d, nil
}

// Serial returns the serial number, in upper case.
func (d *Device) Serial() string { return d.cfg.Serial }

// UDID returns the device identifier that check-ins carry.
func (d *Device) UDID() string { return d.cfg.UDID }

// relink begins a new connection; what used the last one is cancelled. The caller holds mu or owns d alone.
func (d *Device) relink() {
	if d.state.unlink != nil {
		d.state.unlink()
	}
	link, unlink := context.WithCancel(context.Background())
	d.state.link, d.state.unlink = link, unlink //nolint:fatcontext // replaces the last one, and does not derive from it
	if !d.state.online {
		d.state.unlink()
	}
}

// erase forgets everything but what is printed on the device. The caller holds mu or owns d alone.
func (d *Device) erase() *enrolment {
	old := d.forget()
	d.state.setup = d.cfg.setup()
	d.state.name, d.state.org, d.state.options = d.cfg.DeviceName, nil, nil
	d.state.timeZone, d.state.roaming = "America/Los_Angeles", false
	d.state.profiles, d.state.apps, d.state.books = nil, map[string]*app{}, nil
	return old
}

// forget drops the enrollment and what was managed by it, and returns it. The caller holds mu.
func (d *Device) forget() *enrolment {
	old := d.state.enrolment
	d.state.enrolment, d.state.enrolled, d.state.awaiting = nil, false, false
	d.state.missed, d.state.putOff = false, false
	var kept []*profile
	for _, p := range d.state.profiles {
		if !p.managed {
			kept = append(kept, p)
		}
	}
	d.state.profiles = kept
	for id, a := range d.state.apps {
		if a.flags&removeWithProfile != 0 {
			delete(d.state.apps, id)
		}
	}
	d.state.books = nil
	return old
}

// release gives back what an enrollment held outside of the device.
func (e *enrolment) release() {
	if e == nil {
		return
	}
	if e.push != nil {
		e.push.unregister()
	}
	if strings.HasPrefix(text(e.mdm, "ServerURL"), "https:") {
		e.client.CloseIdleConnections() // the transport is this device's own
	}
}

// SetOnline connects the device to the network or takes it off. A push that comes meanwhile is kept by the push
// service, the last one only; a message under way is lost, and repeated when the device is back.
func (d *Device) SetOnline(online bool) {
	d.mu.Lock()
	if d.state.online == online {
		d.mu.Unlock()
		return
	}
	d.state.online = online
	d.relink()
	if online {
		close(d.state.back)
	} else {
		d.state.back = make(chan struct{})
	}
	push := d.registration()
	d.mu.Unlock()
	if push != nil {
		push.setOnline(online)
	}
}

func (d *Device) registration() *registration {
	if d.state.enrolment == nil {
		return nil
	}
	return d.state.enrolment.push
}

// Reboot restarts the device: what was under way is lost, an answer not yet delivered too, and an enrolled device
// connects once it is up. An enrollment that was not complete has to begin anew.
func (d *Device) Reboot() {
	d.mu.Lock()
	d.state.boot++
	d.relink()
	var old *enrolment
	if !d.state.enrolled {
		old = d.forget()
	}
	d.mu.Unlock()
	old.release()
	d.poke()
}

// Reset brings the device back to how it left the factory: no profile, identity, app or push token.
// Serial number and UDID stay. It tells the server nothing.
func (d *Device) Reset() {
	d.mu.Lock()
	d.state.boot++
	d.state.resets++
	d.relink()
	old := d.erase()
	d.mu.Unlock()
	old.release()
}

// Close ends what the device does on the network and gives back its connections; it stays enrolled at its server.
func (d *Device) Close() {
	d.mu.Lock()
	d.state.boot++
	d.state.online = false
	d.relink()
	var own *http.Client
	if d.state.enrolment != nil {
		own = d.state.enrolment.client
	}
	d.mu.Unlock()
	d.cfg.Client.CloseIdleConnections()
	if own != nil {
		own.CloseIdleConnections()
	}
}

// unenrol drops the enrollment e if it is still the present one.
func (d *Device) unenrol(e *enrolment) {
	d.mu.Lock()
	if d.state.enrolment != e {
		d.mu.Unlock()
		return
	}
	d.state.boot++
	d.forget()
	d.mu.Unlock()
	e.release()
}

// poke gives the device a reason to connect.
func (d *Device) poke() {
	select {
	case d.wake <- struct{}{}:
	default: // it has one already
	}
}

// pushed is called by the push service.
func (d *Device) pushed(magic string) {
	d.mu.Lock()
	e := d.state.enrolment
	known := e != nil && e.magic == magic
	if known && !d.state.enrolled {
		d.state.missed = true
	}
	d.mu.Unlock()
	if known {
		d.poke()
	}
}

func (d *Device) now() time.Time { return d.cfg.Now() }
