package dep

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"time"

	"github.com/micromdm/nanodep/godep"

	"github.com/muster-mdm/muster/apple/wire"
)

// What Apple says about one device of a request; it may say something else one day.
const (
	Success       = "SUCCESS"
	NotAccessible = "NOT_ACCESSIBLE" // not this server's
	Failed        = "FAILED"
	Throttled     = "THROTTLED" // not before RetryAfter
)

// Results are what Apple says about each device of a request, verbatim. A device that isn't there wasn't answered:
// nothing is known about it, least of all success.
type Results struct {
	BySerial map[string]string
	// RetryAfter is how long Apple asks to leave the throttled ones alone.
	RetryAfter time.Duration
}

// DefineProfile defines a device profile with Apple's fields ("Define a Profile"), given as a JSON object that is passed
// on as it is, and returns its id. A profile can't be changed: define another one, and assign that. Devices can't be
// among the fields, as nobody would learn what became of them: use [Client.AssignProfile].
func (c *Client) DefineProfile(ctx context.Context, fields json.RawMessage) (uuid string, err error) {
	var object map[string]json.RawMessage
	if err := json.Unmarshal(fields, &object); err != nil || object == nil {
		return "", errors.New("defining a profile: its fields are not a JSON object")
	}
	if _, named := object["devices"]; named {
		return "", errors.New("defining a profile: devices are assigned to it by a request of their own")
	}
	var got godep.DefineProfileResponseJson
	if err := c.do(ctx, http.MethodPost, "/profile", fields, &got); err != nil {
		return "", err
	}
	if value(got.ProfileUuid) == "" {
		return "", incomplete("profile_uuid")
	}
	return *got.ProfileUuid, nil
}

// Profile asks for a profile's fields as Apple has them.
func (c *Client) Profile(ctx context.Context, uuid string) (json.RawMessage, error) {
	var got json.RawMessage
	err := c.do(ctx, http.MethodGet, "/profile?"+url.Values{"profile_uuid": {uuid}}.Encode(), nil, &got)
	if err != nil {
		return nil, err
	}
	if !bytes.HasPrefix(got, []byte("{")) {
		return nil, incomplete("the profile")
	}
	return got, nil
}

type results struct {
	Devices    map[string]string `json:"devices"`
	RetryAfter int64             `json:"retry_after_seconds"`
}

// AssignProfile has devices of the server, up to [MaxDevices], get the profile when they are set up next.
func (c *Client) AssignProfile(ctx context.Context, uuid string, serials []string) (Results, error) {
	// Apple's page says POST by now; every client in the field sends PUT, as the page did for a decade.
	return c.perDevice(ctx, http.MethodPut, "/profile/devices", godep.ProfileServiceRequestJson{ProfileUuid: &uuid, Devices: serials}, serials)
}

// RemoveProfile has devices of the server, up to [MaxDevices], get no profile when they are set up next. The id may be
// "": Apple doesn't need it.
func (c *Client) RemoveProfile(ctx context.Context, uuid string, serials []string) (Results, error) {
	request := godep.ClearProfileRequestJson{Devices: serials}
	if uuid != "" {
		request.ProfileUuid = &uuid
	}
	return c.perDevice(ctx, http.MethodDelete, "/profile/devices", request, serials)
}

// Disown has devices, up to [MaxDevices], leave the organisation for good. It can't be undone, and Apple allows it to few
// servers: the others' devices are answered FAILED.
func (c *Client) Disown(ctx context.Context, serials []string) (Results, error) {
	return c.perDevice(ctx, http.MethodPost, "/devices/disown", godep.DeviceListRequestJson{Devices: serials}, serials)
}

func (c *Client) perDevice(ctx context.Context, method, path string, request any, serials []string) (Results, error) {
	if err := few(serials); err != nil || len(serials) == 0 {
		return Results{BySerial: map[string]string{}}, err
	}
	got := results{}
	if err := c.do(ctx, method, path, request, &got); err != nil {
		return Results{}, err
	}
	if got.Devices == nil {
		return Results{}, incomplete("the list of devices")
	}
	return Results{BySerial: got.Devices, RetryAfter: wire.Seconds(uint64(max(got.RetryAfter, 0)))}, nil
}
