package sim

import (
	"maps"
	"slices"
)

// Snapshot is what a device is and holds at one moment.
type Snapshot struct {
	Serial, UDID          string
	Name                  string
	Epoch                 int // counts the enrollments that the server accepted
	Online                bool
	Enrolled              bool
	AwaitingConfiguration bool // held in Setup Assistant
	OSVersion             string
	Supervised            bool
	Identity              string // SHA-256 of its certificate, in lower-case hex; "" without one
	Profiles              []ProfileState
	Apps                  []AppState
	Media                 []MediaState
}

// ProfileState is an installed profile, the enrollment profile among them.
type ProfileState struct {
	Identifier, UUID string
	Version          int
	Managed          bool
}

// AppState is a managed app with its state in Apple's words, such as Installing or Managed.
type AppState struct{ BundleID, State string }

// MediaState is a book, by persistent identifier or store number, with its state in Apple's words.
type MediaState struct {
	ID, State string
	Version   string
	Content   string // SHA-256 of what was fetched, in lower-case hex; "" for one from the store
}

// Snapshot looks at the device without disturbing it: an app's or a book's transient state stays to be reported.
func (d *Device) Snapshot() Snapshot {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := Snapshot{
		Serial: d.cfg.Serial, UDID: d.cfg.UDID, Name: d.state.name, Epoch: d.journal.epoch,
		Online: d.state.online, Enrolled: d.state.enrolled, AwaitingConfiguration: d.state.awaiting && d.state.enrolled,
		OSVersion: d.state.system.version, Supervised: d.state.setup.supervised,
	}
	if e := d.state.enrolment; e != nil {
		s.Identity = hash(e.identity.cert.Raw)
	}
	for _, p := range d.state.profiles {
		s.Profiles = append(s.Profiles, ProfileState{p.identifier, p.uuid, int(p.version), p.managed})
	}
	for _, id := range slices.Sorted(maps.Keys(d.state.apps)) {
		s.Apps = append(s.Apps, AppState{id, d.state.apps[id].state(d.now())})
	}
	for _, b := range d.state.books {
		s.Media = append(s.Media, MediaState{b.id, b.state(d.now()), text(b.facts, "Version"), b.content})
	}
	return s
}

// HasProfile tells whether a profile of that identifier is installed.
func (s Snapshot) HasProfile(identifier string) bool {
	return slices.ContainsFunc(s.Profiles, func(p ProfileState) bool { return p.Identifier == identifier })
}

// App returns the state of an app in Apple's words, or "" when it is not managed on the device.
func (s Snapshot) App(bundleID string) string {
	i := slices.IndexFunc(s.Apps, func(a AppState) bool { return a.BundleID == bundleID })
	if i < 0 {
		return ""
	}
	return s.Apps[i].State
}

// Book returns a book, or the zero value when there is none.
func (s Snapshot) Book(id string) MediaState {
	i := slices.IndexFunc(s.Media, func(m MediaState) bool { return m.ID == id })
	if i < 0 {
		return MediaState{}
	}
	return s.Media[i]
}
