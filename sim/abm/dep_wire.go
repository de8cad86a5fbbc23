package abm

import "time"

// depDevice is a device as the device assignment API shows it.
type depDevice struct {
	Serial          string     `json:"serial_number,omitempty"`
	Model           string     `json:"model,omitempty"`
	Description     string     `json:"description,omitempty"`
	Color           string     `json:"color,omitempty"`
	AssetTag        string     `json:"asset_tag,omitempty"`
	OS              string     `json:"os,omitempty"`
	Family          string     `json:"device_family,omitempty"`
	ProfileStatus   string     `json:"profile_status,omitempty"`
	ProfileUUID     string     `json:"profile_uuid,omitempty"`
	ProfileAssigned *time.Time `json:"profile_assign_time,omitempty"`
	ProfilePushed   *time.Time `json:"profile_push_time,omitempty"`
	Assigned        *time.Time `json:"device_assigned_date,omitempty"`
	AssignedBy      string     `json:"device_assigned_by,omitempty"`
	OpType          string     `json:"op_type,omitempty"`
	OpDate          *time.Time `json:"op_date,omitempty"`
	Status          string     `json:"response_status,omitempty"`
}

// wire shows the device to a client of the protocol version.
func (d *device) wire(protocol int) depDevice {
	w := depDevice{
		Serial: d.Serial, Model: d.Model, Description: d.Description, Color: d.Color, AssetTag: d.AssetTag,
		ProfileStatus: d.ProfileStatus, ProfileUUID: d.ProfileUUID, AssignedBy: d.AssignedBy,
		ProfileAssigned: stamp(d.ProfileAssigned), ProfilePushed: stamp(d.ProfilePushed), Assigned: stamp(d.Assigned),
	}
	if protocol >= 2 {
		w.Family, w.OS = d.Family, d.OS
	}
	if protocol < 7 && w.OS == "iPadOS" {
		w.OS = "iOS"
	}
	return w
}

// happened shows what was done to the device: as it is now, not as it was, and no more than its own server may see.
func (c *call) happened(happened op) depDevice {
	d := c.devices[happened.Serial]
	w := d.wire(c.protocol)
	if happened.Type == opDeleted || d.ServerID != c.server.ID {
		w.ProfileStatus, w.ProfileUUID, w.ProfileAssigned, w.ProfilePushed, w.Assigned, w.AssignedBy = "", "", nil, nil, nil, ""
	}
	w.OpType, w.OpDate = happened.Type, stamp(happened.At)
	return w
}

// stamp is a time as Apple writes it, to the second; nil for none.
func stamp(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC().Truncate(time.Second)
	return &t
}
