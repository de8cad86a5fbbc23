package sim

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
)

// Restore gives a device as it comes out of its box the memory that Save wrote down for the same serial number and
// UDID. An enrolled one is registered at its push service under the same token, and connects once, as after a restart.
// An error leaves the device as it was.
func (d *Device) Restore(saved []byte) error {
	if err := d.restore(saved); err != nil {
		return fmt.Errorf("restoring device %s: %w", d.cfg.Serial, err)
	}
	return nil
}

func (d *Device) restore(saved []byte) error {
	m, err := d.readMemory(saved)
	if err != nil {
		return err
	}
	profiles, e, err := d.recallProfiles(m)
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.state.enrolment != nil || d.state.resets > 0 || d.journal.epoch > 0 {
		return errors.New("it has a memory already")
	}
	d.recall(m)
	d.state.profiles = profiles
	if e == nil {
		return nil
	}
	d.state.enrolment, d.state.enrolled = e, true
	if d.cfg.APNs != nil {
		e.push = d.cfg.APNs.register(e.token, text(e.mdm, "Topic"), d.pushed)
		e.push.setOnline(d.state.online)
	}
	d.poke()
	return nil
}

func (d *Device) readMemory(saved []byte) (*memory, error) {
	var head struct {
		Version      int
		Serial, UDID string
	}
	if err := json.Unmarshal(saved, &head); err != nil {
		return nil, fmt.Errorf("reading its memory: %w", err)
	}
	switch {
	case head.Version != memoryVersion:
		return nil, fmt.Errorf("its memory has version %d, and only %d is known", head.Version, memoryVersion)
	case head.Serial != d.cfg.Serial || head.UDID != d.cfg.UDID:
		return nil, fmt.Errorf("the memory is that of device %q with UDID %q", head.Serial, head.UDID)
	}
	var m memory
	if err := json.Unmarshal(saved, &m); err != nil {
		return nil, fmt.Errorf("reading its memory: %w", err)
	}
	if m.Epoch < 0 || m.Seq < 0 || m.Resets < 0 {
		return nil, errors.New("reading its memory: a count is negative")
	}
	return &m, nil
}

// recall takes over everything but profiles and enrollment. The caller holds mu.
func (d *Device) recall(m *memory) {
	s := &d.state
	s.name, s.org, s.options, s.timeZone, s.roaming = m.Name, dictOf(m.Organization), dictOf(m.Options), m.TimeZone, m.Roaming
	s.awaiting, s.missed, s.putOff, s.resets = m.Awaiting, m.Missed, m.PutOff, m.Resets
	if k := m.System; k != nil {
		s.system = system{k.Version, k.Build}
	}
	if k := m.Setup; k != nil {
		s.setup = setup{automated: k.Automated, supervised: k.Supervised, await: k.Await}
	}
	for _, a := range m.Apps {
		s.apps[a.ID] = &app{
			id: a.ID, content: a.Content, flags: a.Flags, config: a.Configured,
			installation: installation{update: a.Update, fails: a.Fails, started: a.Started, done: a.Ready},
		}
	}
	for _, b := range m.Books {
		facts := dictOf(b.Facts)
		if facts == nil {
			facts = dict{}
		}
		s.books = append(s.books, &book{
			id: b.ID, store: b.Store, facts: facts, content: b.Content, deleted: b.Deleted,
			installation: installation{update: b.Update, fails: b.Fails, started: b.Started, done: b.Ready},
		})
	}
	maps.Copy(d.drawn, m.Drawn)
	d.journal = journal{epoch: m.Epoch, seq: m.Seq}
	for i := range m.Log {
		d.journal.entries = append(d.journal.entries, &m.Log[i])
	}
}

// recallProfiles reads the profiles anew; some can be read by the enrollment's identity only.
func (d *Device) recallProfiles(m *memory) ([]*profile, *enrolment, error) {
	open := func([]byte) ([]byte, error) { return nil, ErrNotEnrolled }
	var e *enrolment
	if k := m.Enrollment; k != nil {
		id, err := k.Identity.recall()
		if err != nil {
			return nil, nil, err
		}
		e = &enrolment{epoch: k.Epoch, identity: id, token: k.Token, magic: k.Magic}
		open = d.open(e)
	}
	var profiles []*profile
	for i, kept := range m.Profiles {
		p, err := parseProfile(kept.Content, open)
		if err != nil {
			return nil, nil, fmt.Errorf("reading its profile %d: %w", i+1, err)
		}
		p.managed = kept.Managed
		profiles = append(profiles, p)
	}
	if e == nil {
		return profiles, nil, nil
	}
	return profiles, e, d.recallManagement(e, profiles, m.Enrollment.Profile)
}

func (d *Device) recallManagement(e *enrolment, profiles []*profile, own int) error {
	if own < 0 || own >= len(profiles) {
		return errors.New("its memory holds no enrollment profile")
	}
	e.profile = profiles[own]
	e.mdm = e.profile.management()
	if text(e.mdm, "ServerURL") == "" || text(e.mdm, "Topic") == "" {
		return errors.New("its enrollment profile leads to no server")
	}
	if len(e.token) < minTokenBytes || e.magic == "" {
		return errors.New("its memory holds no push token")
	}
	var err error
	e.client, err = d.cfg.client(text(e.mdm, "ServerURL"), e.identity)
	return err
}

func dictOf[T any](kept map[string]T) dict {
	if kept == nil {
		return nil
	}
	d := dict{}
	for key, value := range kept {
		d[key] = value
	}
	return d
}
