package abm

import (
	"slices"
	"strings"
	"time"
)

// Device is what the portal shows about a device.
type Device struct {
	Spec
	ServerID      string    `json:"server_id,omitempty"`
	ProfileUUID   string    `json:"profile_uuid,omitempty"`
	ProfileStatus string    `json:"profile_status,omitempty"`
	Released      bool      `json:"released"`
	Locked        bool      `json:"locked"`
	Updated       time.Time `json:"updated"`
}

// Device shows one device; false when the organisation never had it.
func (o *Organization) Device(serial string) (Device, bool) {
	defer o.lock()()
	d := o.devices[strings.ToUpper(serial)]
	if d == nil {
		return Device{}, false
	}
	return d.view(), true
}

// Devices lists up to limit devices, the newest first, of all servers when serverID is "*".
func (o *Organization) Devices(serverID string, limit int) []Device {
	defer o.lock()()
	var list []Device
	for _, d := range slices.Backward(o.order) {
		if len(list) == limit {
			break
		}
		if serverID == "*" || d.ServerID == serverID {
			list = append(list, d.view())
		}
	}
	return list
}

func (d *device) view() Device {
	return Device{
		Spec: d.Spec, ServerID: d.ServerID, ProfileUUID: d.ProfileUUID, ProfileStatus: d.ProfileStatus,
		Released: !d.Released.IsZero(), Locked: d.LockedBy != "", Updated: d.Updated,
	}
}
