package dep

import (
	"context"
	"time"

	"github.com/micromdm/nanodep/godep"
)

// Device is a device as Apple shows it to its server; what Apple leaves out is empty or zero. Words are Apple's.
type Device struct {
	Serial      string
	Model       string
	Description string
	Color       string
	AssetTag    string
	Family      string // iPhone, iPad, Mac, …
	OS          string // iOS, iPadOS, OSX, …

	ProfileStatus     string // empty, assigned, pushed or removed
	ProfileUUID       string
	ProfileAssignedAt time.Time
	ProfilePushedAt   time.Time

	AssignedBy string
	AssignedAt time.Time // to this server

	OpType string    // in a sync: added, modified or deleted
	OpDate time.Time // when; of several records about a device the newest counts, in whatever order they come
}

// Page is a part of a list of devices. A serial number may be in it more than once.
type Page struct {
	// Cursor is where the next page begins, or where the next sync goes on. It may be the one that was asked with.
	Cursor       string
	FetchedUntil time.Time
	// More tells that Apple has more to give at once.
	More    bool
	Devices []Device
}

// Fetch asks for up to limit devices of the server, from the beginning if cursor is "". A limit of 0 leaves it to Apple,
// which takes 100. The cursor of the last page is where a sync begins; fetching on from there is [fault.CursorExhausted].
func (c *Client) Fetch(ctx context.Context, cursor string, limit int) (Page, error) {
	return c.page(ctx, c.api.FetchDevices, cursor, limit)
}

// Sync asks for up to limit records of what has happened to the server's devices since the cursor, which is kept by
// Apple for seven days.
func (c *Client) Sync(ctx context.Context, cursor string, limit int) (Page, error) {
	return c.page(ctx, c.api.SyncDevices, cursor, limit)
}

type lister func(context.Context, string, ...godep.DeviceRequestOption) (*godep.FetchDeviceResponseJson, error)

func (c *Client) page(ctx context.Context, list lister, cursor string, limit int) (Page, error) {
	var got *godep.FetchDeviceResponseJson
	err := c.call(ctx, func(ctx context.Context) (err error) {
		got, err = list(ctx, name, godep.WithCursor(cursor), godep.WithLimit(limit))
		return err
	})
	if err != nil {
		return Page{}, err
	}
	if got.Cursor == "" {
		return Page{}, incomplete("the cursor")
	}
	p := Page{Cursor: got.Cursor, FetchedUntil: got.FetchedUntil, More: got.MoreToFollow, Devices: make([]Device, len(got.Devices))}
	for i := range got.Devices {
		if p.Devices[i] = deviceOf(&got.Devices[i]); p.Devices[i].Serial == "" {
			return Page{}, incomplete("the serial number of a device")
		}
	}
	return p, nil
}

func deviceOf(d *godep.DeviceJson) Device {
	return Device{
		Serial: d.SerialNumber, Model: d.Model, Description: value(d.Description), Color: value(d.Color), AssetTag: value(d.AssetTag),
		Family: string(value(d.DeviceFamily)), OS: string(value(d.Os)),
		ProfileStatus: string(value(d.ProfileStatus)), ProfileUUID: value(d.ProfileUuid),
		ProfileAssignedAt: value(d.ProfileAssignTime), ProfilePushedAt: value(d.ProfilePushTime),
		AssignedBy: value(d.DeviceAssignedBy), AssignedAt: value(d.DeviceAssignedDate),
		OpType: string(value(d.OpType)), OpDate: value(d.OpDate),
	}
}

// Details asks about devices, up to [MaxDevices], and returns them by their serial numbers. What isn't the server's, or
// Apple doesn't tell, isn't among them.
func (c *Client) Details(ctx context.Context, serials []string) (map[string]Device, error) {
	all := make(map[string]Device, len(serials))
	if err := few(serials); err != nil || len(serials) == 0 {
		return all, err
	}
	var got *godep.DeviceListResponseJson
	err := c.call(ctx, func(ctx context.Context) (err error) {
		got, err = c.api.DeviceDetails(ctx, name, serials...)
		return err
	})
	if err != nil {
		return nil, err
	}
	if got.Devices == nil {
		return nil, incomplete("the list of devices")
	}
	for serial, d := range got.Devices {
		if status := value(d.ResponseStatus); status != "" && status != Success {
			continue
		}
		d.SerialNumber = serial
		all[serial] = deviceOf(&d)
	}
	return all, nil
}
