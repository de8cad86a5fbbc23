package abm

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// What an operation may be refused for; the wrapping error names the server or the serial.
var (
	ErrUnknownServer = errors.New("no such server")
	ErrUnknownDevice = errors.New("no such device")
	ErrReleased      = errors.New("device was released")
	ErrTaken         = errors.New("serial is taken")
)

// Access is what Apple lets an MDM server do.
type Access string

// The accesses; each names the body of the 403 that it earns.
const (
	AccessGranted   Access = ""
	AccessDenied    Access = "ACCESS_DENIED" // the server's key has no access to what it asks for
	AccessForbidden Access = "FORBIDDEN"     // the person who made the token is gone
)

// Server is an MDM server as the portal lists it.
type Server struct {
	ID      string    `json:"id"` // server_uuid of the one API, id of the other
	Name    string    `json:"name"`
	Type    string    `json:"type"` // MDM or APPLE_CONFIGURATOR
	Created time.Time `json:"created"`
	Access  Access    `json:"access,omitempty"`
	Disown  bool      `json:"disown"` // whether it may disown devices
	Devices int       `json:"devices"`
}

// AddServer creates an MDM server with access but without a token. Empty fields of the template get values.
func (o *Organization) AddServer(template Server) Server {
	defer o.lock()()
	number := strconv.Itoa(len(o.ranking) + 1)
	setDefault(&template.ID, o.chance.hex("server", number))
	setDefault(&template.Name, "MDM Server "+number)
	setDefault(&template.Type, "MDM")
	template.Created = o.now()
	s := &server{Server: template, Updated: template.Created, nonces: map[string]time.Time{}}
	o.servers[s.ID] = s
	o.ranking = append(o.ranking, s)
	return s.Server
}

// Servers lists the MDM servers in the order of their creation.
func (o *Organization) Servers() []Server {
	defer o.lock()()
	list := make([]Server, len(o.ranking))
	for i, s := range o.ranking {
		list[i] = s.Server
		list[i].Devices = s.live
	}
	return list
}

// Add brings devices into the organisation, assigned to the server, or to none when serverID is "". A released device
// may be added again. All are added, or none.
func (o *Organization) Add(serverID string, specs ...Spec) error {
	defer o.lock()()
	if serverID != "" && o.servers[serverID] == nil {
		return fmt.Errorf("server %q: %w", serverID, ErrUnknownServer)
	}
	specs = slices.Clone(specs)
	seen := make(map[string]bool, len(specs))
	for i := range specs {
		specs[i] = specs[i].filled(o.chance)
		serial := specs[i].Serial
		if d := o.devices[serial]; seen[serial] || serial == "" || d != nil && d.Released.IsZero() {
			return fmt.Errorf("device %q: %w", serial, ErrTaken)
		}
		seen[serial] = true
	}
	for _, spec := range specs {
		o.add(o.servers[serverID], spec)
	}
	return nil
}

// AddNew brings n devices with fresh serials into the organisation, the same ones for the same seed; their serials.
func (o *Organization) AddNew(serverID string, n int) ([]string, error) {
	defer o.lock()()
	if serverID != "" && o.servers[serverID] == nil {
		return nil, fmt.Errorf("server %q: %w", serverID, ErrUnknownServer)
	}
	serials := make([]string, 0, n)
	for len(serials) < n {
		o.generated++
		serial := o.chance.serial(o.generated)
		if o.devices[serial] != nil {
			continue
		}
		o.add(o.servers[serverID], Spec{Serial: serial}.filled(o.chance))
		serials = append(serials, serial)
	}
	return serials, nil
}

func (o *Organization) add(s *server, spec Spec) {
	d := o.devices[spec.Serial]
	if d == nil {
		d = &device{}
		o.devices[spec.Serial] = d
		o.order = append(o.order, d)
	}
	now := o.now()
	*d = device{Spec: spec, Added: now, Updated: now, Before: d.Before, Recorded: d.Recorded}
	if s != nil {
		o.put(d, s, o.cfg.AdminID)
	}
}

// Move assigns devices to another server, whoever has them now. All are moved, or none.
func (o *Organization) Move(serverID string, serials ...string) error {
	return o.each(serials, func(d *device) { o.put(d, o.servers[serverID], o.cfg.AdminID) }, serverID)
}

// Unassign takes devices from their servers; they stay in the organisation.
func (o *Organization) Unassign(serials ...string) error {
	return o.each(serials, o.take)
}

// Release lets devices go from the organisation.
func (o *Organization) Release(serials ...string) error {
	return o.each(serials, o.release)
}

// Vanish releases devices without a deleted record, so that only their absence tells.
func (o *Organization) Vanish(serials ...string) error {
	return o.each(serials, func(d *device) {
		o.drop(d)
		o.release(d)
	})
}

func (o *Organization) release(d *device) {
	if o.quirks.SilentRelease {
		o.drop(d)
	}
	o.take(d)
	d.Released = o.now()
	d.Updated = d.Released
}

// each does it to all devices, when all of them and the servers exist.
func (o *Organization) each(serials []string, do func(*device), serverIDs ...string) error {
	defer o.lock()()
	for _, id := range serverIDs {
		if o.servers[id] == nil {
			return fmt.Errorf("server %q: %w", id, ErrUnknownServer)
		}
	}
	devices := make([]*device, len(serials))
	for i, serial := range serials {
		d, err := o.owned(serial)
		if err != nil {
			return err
		}
		devices[i] = d
	}
	for _, d := range devices {
		do(d)
	}
	return nil
}

func (o *Organization) owned(serial string) (*device, error) {
	d := o.devices[strings.ToUpper(serial)]
	switch {
	case d == nil:
		return nil, fmt.Errorf("device %q: %w", serial, ErrUnknownDevice)
	case !d.Released.IsZero():
		return nil, fmt.Errorf("device %q: %w", serial, ErrReleased)
	}
	return d, nil
}

// SignTerms signs the latest terms and conditions, or, with false, has Apple publish new ones that nobody has signed.
func (o *Organization) SignTerms(signed bool) {
	defer o.lock()()
	o.unsigned = !signed
}

// SetAccess grants or denies a server what Apple offers it.
func (o *Organization) SetAccess(serverID string, access Access) error {
	return o.with(serverID, func(s *server) { s.Access = access })
}

// ExpireSessions ends all X-ADM-Auth-Sessions of a server.
func (o *Organization) ExpireSessions(serverID string) error {
	return o.with(serverID, func(s *server) { s.Sessions++ })
}

// SetQuirks changes the organisation's quirks.
func (o *Organization) SetQuirks(quirks Quirks) {
	defer o.lock()()
	o.quirks = quirks
}

// Jump moves the organisation's time ahead: cursors, sessions and tokens age, activities end. What clients sign with
// their own clocks is judged by real time.
func (o *Organization) Jump(by time.Duration) {
	defer o.lock()()
	o.offset += by
}

// Now is the organisation's time.
func (o *Organization) Now() time.Time {
	defer o.lock()()
	return o.now()
}

func (o *Organization) with(serverID string, do func(*server)) error {
	defer o.lock()()
	s := o.servers[serverID]
	if s == nil {
		return fmt.Errorf("server %q: %w", serverID, ErrUnknownServer)
	}
	do(s)
	return nil
}
