package abm

import (
	"time"
)

const (
	defaultPage = 100
	maxPage     = 1000
	cursorLife  = 7 * 24 * time.Hour

	cursorFetching byte = 0 // more devices to fetch
	cursorFetched  byte = 1 // all are fetched: sync goes on from here
	cursorSyncing  byte = 2
)

type listRequest struct {
	Cursor string `json:"cursor"`
	Limit  int    `json:"limit"`
}

func (r listRequest) limit() int {
	if r.Limit <= 0 {
		return defaultPage
	}
	return min(r.Limit, maxPage)
}

type listResponse struct {
	Cursor       string      `json:"cursor"`
	FetchedUntil time.Time   `json:"fetched_until"`
	MoreToFollow bool        `json:"more_to_follow"`
	Devices      []depDevice `json:"devices"`
}

// cursor is a position: numbers[0] is where the fetch began in the organisation's sequence, numbers[1] how far it,
// or the sync after it, has come.
func (c *call) cursor(flags byte, start, position int64) string {
	return c.seal(ticket{kind: "cursor", subject: c.server.ID, flags: flags, numbers: [2]int64{start, position}, issued: c.now()})
}

// fetch lists the devices that are the server's when it begins; what changes meanwhile is for the sync afterwards.
func (c *call) fetch() (any, *refusal) {
	var request listRequest
	if no := c.read(&request); no != nil {
		return nil, no
	}
	start, position := c.seq, int64(0)
	if request.Cursor != "" {
		t, ok := c.open(request.Cursor, "cursor", c.server.ID)
		switch {
		case !ok, t.flags == cursorFetching && c.now().Sub(t.issued) > cursorLife:
			return nil, badRequest("INVALID_CURSOR")
		case t.flags != cursorFetching:
			return nil, badRequest("EXHAUSTED_CURSOR")
		}
		start, position = t.numbers[0], t.numbers[1]
	}
	devices, more := c.server.page(position, start, request.limit())
	answer := listResponse{FetchedUntil: c.now().Truncate(time.Second), MoreToFollow: more, Devices: make([]depDevice, len(devices))}
	for i, d := range devices {
		answer.Devices[i] = d.wire(c.protocol)
		position = d.Seq
	}
	flags := cursorFetched
	if more {
		flags = cursorFetching
		answer.FetchedUntil = devices[len(devices)-1].Assigned.Truncate(time.Second)
	}
	answer.Cursor = c.cursor(flags, start, position)
	return c.disturbed(request, answer), nil
}

// sync lists what has happened to the server's devices since the cursor.
func (c *call) sync() (any, *refusal) {
	var request listRequest
	if no := c.read(&request); no != nil {
		return nil, no
	}
	if request.Cursor == "" {
		return nil, badRequest("CURSOR_REQUIRED")
	}
	t, ok := c.open(request.Cursor, "cursor", c.server.ID)
	switch {
	case !ok, t.flags == cursorFetching: // half a fetch is no base to build on
		return nil, badRequest("INVALID_CURSOR")
	case c.now().Sub(t.issued) > cursorLife:
		return nil, badRequest("EXPIRED_CURSOR")
	}
	position := t.numbers[1]
	if t.flags == cursorFetched {
		position = t.numbers[0]
	}
	ops, more := c.server.since(position, request.limit())
	if len(ops) == 0 && c.quirks.ExhaustedWhenIdle {
		return nil, badRequest("EXHAUSTED_CURSOR")
	}
	answer := listResponse{FetchedUntil: c.now().Truncate(time.Second), MoreToFollow: more, Devices: make([]depDevice, len(ops))}
	for i, happened := range ops {
		answer.Devices[i] = c.happened(happened)
		position = happened.Pos
	}
	if more {
		answer.FetchedUntil = ops[len(ops)-1].At.Truncate(time.Second)
	}
	answer.Cursor = c.cursor(cursorSyncing, t.numbers[0], position)
	return c.disturbed(request, answer), nil
}

type serialsRequest struct {
	Devices     []string `json:"devices"`
	ProfileUUID string   `json:"profile_uuid"`
}

// readSerials refuses a list that is empty or longer than Apple's thousand.
func (c *call) readSerials() (serialsRequest, *refusal) {
	var request serialsRequest
	if no := c.read(&request); no != nil {
		return request, no
	}
	switch {
	case len(request.Devices) == 0:
		return request, badRequest("DEVICE_ID_REQUIRED")
	case len(request.Devices) > maxPage:
		return request, badRequest("MALFORMED_REQUEST_BODY")
	}
	return request, nil
}

// mine is the device if it is the calling server's.
func (c *call) mine(serial string) *device {
	d := c.devices[serial]
	if d == nil || d.ServerID != c.server.ID {
		return nil
	}
	return d
}

func (c *call) details() (any, *refusal) {
	request, no := c.readSerials()
	if no != nil {
		return nil, no
	}
	answer := make(map[string]depDevice, len(request.Devices))
	for _, serial := range request.Devices {
		d := c.mine(serial)
		if d == nil {
			answer[serial] = depDevice{Serial: serial, Status: "NOT_ACCESSIBLE"}
			continue
		}
		one := d.wire(c.protocol)
		one.Status = "SUCCESS"
		answer[serial] = one
	}
	return map[string]any{"devices": answer}, nil
}

func (c *call) disown() (any, *refusal) {
	request, no := c.readSerials()
	if no != nil {
		return nil, no
	}
	return c.perDevice(request, func(d *device) string {
		if !c.server.Disown {
			return "FAILED"
		}
		c.release(d)
		return "SUCCESS"
	}), nil
}

func (c *call) activationLock() (any, *refusal) {
	var request struct {
		Device string `json:"device"`
	}
	if no := c.read(&request); no != nil {
		return nil, no
	}
	if request.Device == "" {
		return nil, badRequest("MALFORMED_REQUEST_BODY")
	}
	status := "SUCCESS"
	switch d := c.mine(request.Device); {
	case d == nil:
		status = "NOT_ACCESSIBLE"
	case d.Family != "iPhone" && d.Family != "iPad":
		status = "DEVICE_NOT_SUPPORTED"
	case d.LockedBy != "":
		status = "DEVICE_ALREADY_LOCKED"
	default:
		d.LockedBy = c.server.ID
	}
	return map[string]string{"serial_number": request.Device, "response_status": status}, nil
}
