package abm

import (
	"cmp"
	"slices"
	"time"
)

// The states of a device's profile, in Apple's words.
const (
	ProfileEmpty    = "empty"
	ProfileAssigned = "assigned"
	ProfilePushed   = "pushed"
	ProfileRemoved  = "removed"
)

const (
	opAdded    = "added"
	opModified = "modified"
	opDeleted  = "deleted"
)

// device is one device of the organisation. Fields are exported for the snapshot's sake.
type device struct {
	Spec

	ServerID   string    `json:"server_id,omitempty"` // "": with no server
	Seq        int64     `json:"seq,omitempty"`       // its place in the server's list
	Assigned   time.Time `json:"assigned"`
	AssignedBy string    `json:"assigned_by,omitempty"`
	Before     []string  `json:"before,omitempty"` // servers it was with once

	ProfileUUID     string    `json:"profile_uuid,omitempty"`
	ProfileStatus   string    `json:"profile_status,omitempty"`
	ProfileAssigned time.Time `json:"profile_assigned"`
	ProfilePushed   time.Time `json:"profile_pushed"`

	Added          time.Time `json:"added"`
	Updated        time.Time `json:"updated"`
	Released       time.Time `json:"released"`
	Recorded       time.Time `json:"recorded"`            // op_date of its last record
	LockedBy       string    `json:"locked_by,omitempty"` // the server that set the activation lock
	ThrottledUntil time.Time `json:"throttled_until"`
}

// server is one MDM server ("device management service") of the organisation.
type server struct {
	Server
	Updated   time.Time   `json:"updated"`
	Token     credentials `json:"token"`
	Replaced  []string    `json:"replaced,omitempty"` // access tokens that a newer download has made worthless
	Log       []op        `json:"log"`
	Sessions  int         `json:"sessions"`            // generation; sessions of an earlier one are over
	Discovery string      `json:"discovery,omitempty"` // URL of account-driven enrollment

	list   []entry // in the order of assignment, with dead entries
	live   int
	nonces map[string]time.Time
}

type entry struct {
	seq int64
	dev *device
}

// op is one record of what happened to a device as far as a server may know.
type op struct {
	Pos    int64     `json:"pos"`
	Serial string    `json:"serial"`
	Type   string    `json:"type"`
	At     time.Time `json:"at"`
}

func (e entry) alive(s *server) bool { return e.dev.ServerID == s.ID && e.dev.Seq == e.seq }

// put assigns the device to the server; by names who did it, as device_assigned_by does.
func (o *Organization) put(d *device, s *server, by string) {
	if d.ServerID == s.ID {
		return
	}
	o.take(d)
	now := o.now()
	o.seq++
	d.ServerID, d.Seq, d.AssignedBy, d.Updated = s.ID, o.seq, by, now
	d.ProfileStatus = ProfileEmpty
	s.list = append(s.list, entry{seq: d.Seq, dev: d})
	s.live++
	kind := opAdded
	if o.quirks.ReturnAsModified && slices.Contains(d.Before, s.ID) {
		kind = opModified
	}
	o.record(s, d, kind)
	d.Assigned = d.Recorded
}

// take ends the device's assignment and tells the server.
func (o *Organization) take(d *device) {
	if s := o.drop(d); s != nil {
		o.record(s, d, opDeleted)
	}
}

// drop ends the device's assignment without a word; the server, or nil.
func (o *Organization) drop(d *device) *server {
	s := o.servers[d.ServerID]
	if s == nil {
		return nil
	}
	if !slices.Contains(d.Before, s.ID) {
		d.Before = append(d.Before, s.ID)
	}
	d.ServerID, d.Seq, d.Updated = "", 0, o.now()
	d.ProfileUUID, d.ProfileStatus, d.ThrottledUntil = "", "", time.Time{}
	d.Assigned, d.ProfileAssigned, d.ProfilePushed = time.Time{}, time.Time{}, time.Time{}
	s.live--
	s.compact()
	return s
}

// compact keeps the list's length proportional to what is alive in it.
func (s *server) compact() {
	if len(s.list) > 2*s.live+1024 {
		s.list = slices.DeleteFunc(s.list, func(e entry) bool { return !e.alive(s) })
	}
}

// record writes down what happened. A device's records are a second apart at least, the finest that Apple shows: the latest
// op_date is to tell its state, in whatever order they come.
func (o *Organization) record(s *server, d *device, kind string) {
	o.seq++
	at := o.now().Truncate(time.Second)
	if earliest := d.Recorded.Add(time.Second); at.Before(earliest) {
		at = earliest
	}
	d.Recorded = at
	s.Log = append(s.Log, op{Pos: o.seq, Serial: d.Serial, Type: kind, At: at})
}

// modified tells the device's server that something about it has changed.
func (o *Organization) modified(d *device) {
	d.Updated = o.now()
	if s := o.servers[d.ServerID]; s != nil {
		o.record(s, d, opModified)
	}
}

// page returns up to limit living devices of the list with after < seq <= until, and whether there are more.
func (s *server) page(after, until int64, limit int) (devices []*device, more bool) {
	i, _ := slices.BinarySearchFunc(s.list, after+1, func(e entry, seq int64) int { return cmp.Compare(e.seq, seq) })
	for ; i < len(s.list) && s.list[i].seq <= until; i++ {
		if !s.list[i].alive(s) {
			continue
		}
		if len(devices) == limit {
			return devices, true
		}
		devices = append(devices, s.list[i].dev)
	}
	return devices, false
}

// since returns up to limit records after the position, and whether there are more.
func (s *server) since(after int64, limit int) (ops []op, more bool) {
	i, _ := slices.BinarySearchFunc(s.Log, after+1, func(e op, pos int64) int { return cmp.Compare(e.Pos, pos) })
	rest := s.Log[i:]
	return rest[:min(limit, len(rest))], len(rest) > limit
}
