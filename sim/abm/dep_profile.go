package abm

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"time"
	"unicode/utf8"
)

// profile is a device profile as a server has defined it, kept word for word.
type profile struct {
	UUID     string          `json:"uuid"`
	ServerID string          `json:"server_id"`
	Fields   json.RawMessage `json:"fields"`
}

// profileFields are the fields of a profile that Apple has rules for.
type profileFields struct {
	Name         *string  `json:"profile_name"`
	URL          *string  `json:"url"`
	WebURL       *string  `json:"configuration_web_url"`
	Magic        *string  `json:"org_magic"`
	Department   *string  `json:"department"`
	SupportPhone *string  `json:"support_phone_number"`
	SupportEmail *string  `json:"support_email_address"`
	Language     *string  `json:"language"`
	Region       *string  `json:"region"`
	Supervised   bool     `json:"is_supervised"`
	Removable    *bool    `json:"is_mdm_removable"`
	Await        bool     `json:"await_device_configured"`
	Devices      []string `json:"devices"`
}

// refuse names the rule that the profile breaks, in Apple's codes.
func (f profileFields) refuse() *refusal {
	switch {
	case f.Name == nil:
		return badRequest("CONFIG_NAME_REQUIRED")
	case !fits(f.Name, 125):
		return badRequest("CONFIG_NAME_INVALID")
	case f.URL == nil:
		return badRequest("CONFIG_URL_REQUIRED")
	case !isURL(f.URL), f.WebURL != nil && !isURL(f.WebURL):
		return badRequest("CONFIG_URL_INVALID")
	case f.Magic != nil && !fits(f.Magic, 256):
		return badRequest("MAGIC_INVALID")
	case f.Department != nil && !fits(f.Department, 125):
		return badRequest("DEPARTMENT_INVALID")
	case f.SupportPhone != nil && !fits(f.SupportPhone, 50):
		return badRequest("SUPPORT_PHONE_INVALID")
	case f.SupportEmail != nil && !fits(f.SupportEmail, 250):
		return badRequest("SUPPORT_EMAIL_INVALID")
	case f.Removable != nil && !*f.Removable && !f.Supervised:
		return badRequest("FLAGS_INVALID")
	case f.Region != nil && f.Language == nil, !isLocale(f.Language, 2, 3), !isLocale(f.Region, 2, 2):
		return badRequest("LOCALE_INVALID")
	}
	return nil
}

func fits(s *string, most int) bool { return *s != "" && utf8.RuneCountInString(*s) <= most }

func isURL(s *string) bool {
	u, err := url.Parse(*s)
	return err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Host != "" && len(*s) <= 2000
}

func isLocale(s *string, shortest, longest int) bool {
	return s == nil || len(*s) >= shortest && len(*s) <= longest
}

func (c *call) defineProfile() (any, *refusal) {
	var fields profileFields
	if no := c.read(&fields); no != nil {
		return nil, no
	}
	if no := fields.refuse(); no != nil {
		return nil, no
	}
	if len(fields.Devices) > maxPage {
		return nil, badRequest("MALFORMED_REQUEST_BODY")
	}
	c.seq++
	p := &profile{
		UUID: c.chance.hex("profile", c.server.ID, strconv.FormatInt(c.seq, 10)), ServerID: c.server.ID,
		Fields: json.RawMessage(c.body),
	}
	c.profiles[p.UUID] = p
	return c.assign(p, fields.Devices), nil
}

func (c *call) getProfile() (any, *refusal) {
	id := c.request.URL.Query().Get("profile_uuid")
	if id == "" {
		return nil, badRequest("PROFILE_UUID_REQUIRED")
	}
	p := c.ownProfile(id)
	if p == nil {
		return nil, &refusal{status: http.StatusNotFound, code: "NOT_FOUND"}
	}
	fields := map[string]json.RawMessage{}
	if err := json.Unmarshal(p.Fields, &fields); err != nil {
		return nil, badRequest("MALFORMED_REQUEST_BODY")
	}
	delete(fields, "devices")
	fields["profile_uuid"] = json.RawMessage(`"` + p.UUID + `"`)
	return fields, nil
}

func (c *call) ownProfile(uuid string) *profile {
	p := c.profiles[uuid]
	if p == nil || p.ServerID != c.server.ID {
		return nil
	}
	return p
}

func (c *call) assignProfile() (any, *refusal) {
	request, no := c.readSerials()
	if no != nil {
		return nil, no
	}
	if request.ProfileUUID == "" {
		return nil, badRequest("PROFILE_UUID_REQUIRED")
	}
	p := c.ownProfile(request.ProfileUUID)
	if p == nil {
		return nil, &refusal{status: http.StatusNotFound, code: "NOT_FOUND"}
	}
	return c.assign(p, request.Devices), nil
}

type assignResponse struct {
	ProfileUUID string            `json:"profile_uuid"`
	Devices     map[string]string `json:"devices"`
	RetryAfter  int               `json:"retry_after_seconds,omitempty"`
}

func (c *call) assign(p *profile, serials []string) assignResponse {
	answer := assignResponse{ProfileUUID: p.UUID, Devices: make(map[string]string, len(serials))}
	for _, serial := range serials {
		d := c.mine(serial)
		if d == nil {
			answer.Devices[serial] = "NOT_ACCESSIBLE"
			continue
		}
		status, wait := c.assignOne(d, p)
		answer.Devices[serial] = status
		if c.protocol >= 10 {
			answer.RetryAfter = max(answer.RetryAfter, wait)
		}
	}
	return answer
}

// assignOne assigns the profile unless a fault hits the device; wait is for how long a throttled device stays so.
func (c *call) assignOne(d *device, p *profile) (status string, wait int) {
	if wait := c.throttled(d); wait > 0 {
		return "THROTTLED", wait
	}
	switch {
	case c.strike(FaultAssignFailed, d.Serial) != nil:
		return "FAILED", 0
	case c.strike(FaultAssignInaccessible, d.Serial) != nil:
		return "NOT_ACCESSIBLE", 0
	}
	d.ProfileUUID, d.ProfileStatus, d.ProfileAssigned, d.ProfilePushed = p.UUID, ProfileAssigned, c.now(), time.Time{}
	c.modified(d)
	return "SUCCESS", 0
}

// throttled says for how many seconds more the device is throttled. Clients below version 9 know no throttling, and
// meet none. Who asks before the time counts as impatient.
func (c *call) throttled(d *device) int {
	if c.protocol < 9 {
		return 0
	}
	now := c.now()
	if d.ThrottledUntil.After(now) {
		c.counts.Impatient++
	} else if hit := c.strike(FaultThrottled, d.Serial); hit != nil {
		d.ThrottledUntil = now.Add(hit.duration())
	}
	left := d.ThrottledUntil.Sub(now)
	if left <= 0 {
		return 0
	}
	return int((left + time.Second - 1) / time.Second)
}

func (c *call) removeProfile() (any, *refusal) {
	request, no := c.readSerials()
	if no != nil {
		return nil, no
	}
	return c.perDevice(request, func(d *device) string {
		if d.ProfileUUID != "" {
			d.ProfileUUID, d.ProfileStatus = "", ProfileRemoved
			c.modified(d)
		}
		return "SUCCESS"
	}), nil
}

// perDevice answers a request about several devices: those of other servers are not accessible.
func (c *call) perDevice(request serialsRequest, do func(*device) string) any {
	answer := make(map[string]string, len(request.Devices))
	for _, serial := range request.Devices {
		if d := c.mine(serial); d != nil {
			answer[serial] = do(d)
		} else {
			answer[serial] = "NOT_ACCESSIBLE"
		}
	}
	return map[string]any{"devices": answer}
}
