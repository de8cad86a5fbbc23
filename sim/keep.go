package sim

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"
)

// memoryVersion grows with each change of what memory means; an older one is refused, not guessed at.
const memoryVersion = 1

// memory is a device's state on disk. An enrollment that was not complete is not in it: as after a restart, it has
// to begin anew.
type memory struct {
	Version      int
	Serial, UDID string
	Name         string
	Organization map[string]string `json:",omitempty"`
	Options      map[string]bool   `json:",omitempty"`
	TimeZone     string
	Roaming      bool
	System       *keptSystem `json:",omitempty"` // nil: as it was made
	Setup        *keptSetup  `json:",omitempty"` // nil: as its configuration says
	Awaiting     bool
	Missed       bool
	PutOff       bool
	Enrollment   *keptEnrollment `json:",omitempty"`
	Profiles     []keptProfile
	Apps         []keptApp
	Books        []keptBook
	Resets       int
	Drawn        map[string]int
	Epoch, Seq   int
	Log          []LogEntry
}

type keptSystem struct{ Version, Build string }

type keptSetup struct{ Automated, Supervised, Await bool }

type keptEnrollment struct {
	Epoch    int
	Profile  int // its place in Profiles
	Identity keptIdentity
	Token    []byte
	Magic    string
}

type keptProfile struct {
	Content []byte // as it came; all else follows from it
	Managed bool
}

type keptApp struct {
	ID, Content    string
	Flags          int64
	Configured     bool
	Update         bool
	Fails          bool
	Started, Ready time.Time
}

type keptBook struct {
	ID    string
	Store int64             `json:",omitempty"`
	Facts map[string]string `json:",omitempty"`

	// What follows was not kept in the beginning: such a book is on the device.
	Content string    `json:",omitempty"`
	Update  bool      `json:",omitempty"`
	Deleted bool      `json:",omitempty"`
	Fails   bool      `json:",omitempty"`
	Started time.Time `json:",omitzero"`
	Ready   time.Time `json:",omitzero"`
}

// Save writes down all that the device remembers, as JSON that holds its private key; the same memory gives the
// same bytes. Whether it is online is no memory, and an exchange under way is lost, as in a restart.
func (d *Device) Save() ([]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := &d.state
	m := memory{
		Version: memoryVersion, Serial: d.cfg.Serial, UDID: d.cfg.UDID,
		Name: s.name, Organization: textsOf(s.org), Options: flagsOf(s.options), TimeZone: s.timeZone, Roaming: s.roaming,
		Resets: s.resets, Drawn: d.drawn, Epoch: d.journal.epoch, Seq: d.journal.seq,
	}
	if made := (system{d.cfg.OSVersion, d.cfg.BuildVersion}); s.system != made {
		m.System = &keptSystem{s.system.version, s.system.build}
	}
	if s.enrolled && s.setup != d.cfg.setup() {
		m.Setup = &keptSetup{s.setup.automated, s.setup.supervised, s.setup.await}
	}
	for _, e := range d.journal.entries {
		m.Log = append(m.Log, *e)
	}
	for _, id := range slices.Sorted(maps.Keys(s.apps)) {
		if a := s.apps[id]; s.enrolled || a.flags&removeWithProfile == 0 {
			m.Apps = append(m.Apps, keptApp{a.id, a.content, a.flags, a.config, a.update, a.fails, a.started, a.done})
		}
	}
	for _, p := range s.profiles {
		if s.enrolled || !p.managed {
			m.Profiles = append(m.Profiles, keptProfile{p.raw, p.managed})
		}
	}
	if s.enrolled {
		if err := m.keepEnrollment(s); err != nil {
			return nil, fmt.Errorf("saving device %s: %w", d.cfg.Serial, err)
		}
	}
	saved, err := json.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("saving device %s: %w", d.cfg.Serial, err)
	}
	return saved, nil
}

func (m *memory) keepEnrollment(s *state) error {
	m.Awaiting, m.Missed, m.PutOff = s.awaiting, s.missed, s.putOff
	for _, b := range s.books {
		m.Books = append(m.Books, keptBook{b.id, b.store, textsOf(b.facts), b.content, b.update, b.deleted, b.fails, b.started, b.done})
	}
	identity, err := s.enrolment.identity.keep()
	if err != nil {
		return err
	}
	m.Enrollment = &keptEnrollment{
		Epoch: s.enrolment.epoch, Profile: slices.Index(s.profiles, s.enrolment.profile),
		Identity: identity, Token: s.enrolment.token, Magic: s.enrolment.magic,
	}
	return nil
}

func textsOf(d dict) map[string]string { return only[string](d) }

func flagsOf(d dict) map[string]bool { return only[bool](d) }

// only keeps the values of one type; nil stays nil.
func only[T any](d dict) map[string]T {
	if d == nil {
		return nil
	}
	kept := map[string]T{}
	for key, value := range d {
		if v, ok := value.(T); ok {
			kept[key] = v
		}
	}
	return kept
}
