package abm

import (
	"encoding/json"
	"strings"

	"github.com/muster-mdm/muster/sim"
)

// EnrollmentProfile is what a device that activates learns from Apple: who will manage it and how. Fields is the whole
// profile as the server defined it.
type EnrollmentProfile struct {
	UUID       string          `json:"uuid"`
	ServerID   string          `json:"server_id"`
	URL        string          `json:"url"`
	WebURL     string          `json:"configuration_web_url"`
	Await      bool            `json:"await_device_configured"`
	Mandatory  bool            `json:"is_mandatory"`
	Supervised bool            `json:"is_supervised"`
	Anchors    [][]byte        `json:"anchor_certs"` // DER
	SkipSetup  []string        `json:"skip_setup_items"`
	Fields     json.RawMessage `json:"fields"`
}

// ProfileFor tells where a device is to enrol; false when no profile is assigned to it, so that it sets up unmanaged.
func (o *Organization) ProfileFor(serial string) (EnrollmentProfile, bool) {
	defer o.lock()()
	p, _ := o.profileFor(serial)
	return p, p.UUID != ""
}

// Activate is ProfileFor for a device that really activates: its profile counts as pushed from then on.
func (o *Organization) Activate(serial string) (EnrollmentProfile, bool) {
	defer o.lock()()
	p, d := o.profileFor(serial)
	if p.UUID == "" {
		return p, false
	}
	d.ProfileStatus, d.ProfilePushed = ProfilePushed, o.now()
	o.modified(d)
	return p, true
}

// ForDevices is the organisation as devices ask it when they are switched on: see [sim.Device.PowerOn].
func (o *Organization) ForDevices() sim.ActivationSource { return activation{o} }

type activation struct{ o *Organization }

func (a activation) Activate(serial string) (sim.Activation, bool) {
	p, ok := a.o.Activate(serial)
	return sim.Activation{URL: p.URL, WebURL: p.WebURL, Await: p.Await, Supervised: p.Supervised, Anchors: p.Anchors}, ok
}

func (o *Organization) profileFor(serial string) (EnrollmentProfile, *device) {
	d := o.devices[strings.ToUpper(serial)]
	if d == nil {
		return EnrollmentProfile{}, nil
	}
	defined := o.profiles[d.ProfileUUID]
	if defined == nil {
		return EnrollmentProfile{}, d
	}
	var p EnrollmentProfile
	if err := json.Unmarshal(defined.Fields, &p); err != nil { // fields of other types than Apple's: the device can't use it
		return EnrollmentProfile{}, d
	}
	p.UUID, p.ServerID, p.Fields = defined.UUID, defined.ServerID, defined.Fields
	return p, d
}
