package sim

import (
	"cmp"
	"context"
	"fmt"

	"github.com/smallstep/pkcs7"
)

const (
	rightPasscode    = 4  // AccessRights bit: lock the device and remove its passcode
	rightQueryDevice = 16 // AccessRights bit: ask for the device's data
	allRights        = 8191
	unlockTokenBytes = 64
)

// Authenticate sends the check-in that opens an enrollment, and begins the device's next epoch when it is accepted.
func (d *Device) Authenticate(ctx context.Context) error {
	return d.checkin(ctx, d.authenticate(), func(e *enrolment) {
		e.epoch = d.journal.begin()
		d.drawn = map[string]int{}
	})
}

func (d *Device) authenticate() dict {
	d.mu.Lock()
	defer d.mu.Unlock()
	body := dict{"MessageType": "Authenticate"}
	if _, asks := d.rights(); asks {
		body["OSVersion"], body["BuildVersion"] = d.state.system.version, d.state.system.build
		body["ProductName"], body["SerialNumber"] = d.cfg.ProductName, d.cfg.Serial
		if d.cellular() {
			body["IMEI"], body["MEID"] = d.imei(), d.meid()
		}
	}
	return body
}

// TokenUpdate sends the check-in that hands over the push token; the first one completes the enrollment.
// It may be called again, as real devices send it again through their lives.
func (d *Device) TokenUpdate(ctx context.Context) error {
	if err := d.tokenUpdate(ctx); err != nil {
		return err
	}
	if d.strikes("duplicate-token-update", "", d.cfg.Faults.DuplicateTokenUpdate) {
		return d.tokenUpdate(ctx)
	}
	return nil
}

func (d *Device) tokenUpdate(ctx context.Context) error {
	d.mu.Lock()
	e := d.state.enrolment
	d.mu.Unlock()
	if e == nil {
		return ErrNotEnrolled
	}
	return d.checkin(ctx, d.tokens(e), func(*enrolment) {
		d.state.enrolled = true
		if d.state.missed {
			d.state.missed = false
			d.poke()
		}
	})
}

func (d *Device) tokens(e *enrolment) dict {
	d.mu.Lock()
	defer d.mu.Unlock()
	body := dict{"MessageType": "TokenUpdate", "Token": e.token, "PushMagic": e.magic, "AwaitingConfiguration": d.state.awaiting}
	if locks, _ := d.rights(); locks {
		token := d.chance.bytes("unlock", e.magic)
		body["UnlockToken"] = append(token[:], token[:]...)[:unlockTokenBytes]
	}
	return body
}

// CheckOut tells the server that the management ends, best effort, and un-enrols the device whatever it answers.
func (d *Device) CheckOut(ctx context.Context) error {
	release, err := d.acquire(ctx)
	if err != nil {
		return err
	}
	defer release()
	return d.leave(ctx, true)
}

// leave un-enrols, with a CheckOut that is sent once when tell is set. The caller holds the right to talk.
func (d *Device) leave(ctx context.Context, tell bool) error {
	d.mu.Lock()
	e, boot := d.state.enrolment, d.state.boot
	d.mu.Unlock()
	if e == nil {
		return ErrNotEnrolled
	}
	defer d.unenrol(e)
	if !tell {
		return nil
	}
	m, err := d.checkinMessage(e, dict{"MessageType": "CheckOut"})
	if err != nil {
		return err
	}
	r, err := d.exchange(ctx, e, boot, m)
	if err == nil && !r.ok() {
		err = &HTTPError{Message: m.name, Status: r.status, Body: beginning(r.body)}
	}
	return err
}

// checkin sends a check-in until it is answered, and calls then under the lock when it was accepted.
func (d *Device) checkin(ctx context.Context, body dict, then func(*enrolment)) error {
	release, err := d.acquire(ctx)
	if err != nil {
		return err
	}
	defer release()
	d.mu.Lock()
	e, boot := d.state.enrolment, d.state.boot
	d.mu.Unlock()
	if e == nil {
		return ErrNotEnrolled
	}
	m, err := d.checkinMessage(e, body)
	if err != nil {
		return err
	}
	r, err := d.deliver(ctx, e, boot, m)
	if err != nil {
		return fmt.Errorf("sending %s: %w", m.name, err)
	}
	if !r.ok() {
		if refusesDevice(r) {
			d.unenrol(e)
		}
		return &HTTPError{Message: m.name, Status: r.status, Body: beginning(r.body)}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.state.enrolment != e {
		return ErrRestarted
	}
	then(e)
	return nil
}

func (d *Device) checkinMessage(e *enrolment, body dict) (message, error) {
	body["UDID"], body["Topic"] = d.cfg.UDID, text(e.mdm, "Topic")
	raw, err := encode(body)
	if err != nil {
		return message{}, err
	}
	address := cmp.Or(text(e.mdm, "CheckInURL"), text(e.mdm, "ServerURL"))
	name := text(body, "MessageType")
	return message{name: name, subject: name, url: address, media: checkinMedia, body: raw}, nil
}

// rights says whether the server may lock the device, and whether it may ask for its data. The caller holds mu.
func (d *Device) rights() (locks, asks bool) {
	if d.state.enrolment == nil {
		return false, false
	}
	rights := rightsOf(d.state.enrolment.mdm)
	return rights&rightPasscode != 0, rights&rightQueryDevice != 0
}

func rightsOf(mdm dict) int64 {
	rights, ok := integer(mdm, "AccessRights")
	if !ok {
		return allRights
	}
	return rights
}

func (d *Device) open(e *enrolment) opener {
	return func(sealed []byte) ([]byte, error) {
		envelope, err := pkcs7.Parse(sealed)
		if err != nil {
			return nil, err
		}
		return envelope.Decrypt(e.identity.cert, e.identity.key)
	}
}
