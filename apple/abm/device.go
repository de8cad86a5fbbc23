package abm

import (
	"context"
	"net/url"
	"strings"
	"time"

	"github.com/muster-mdm/muster/apple/fault"
)

// OrgDevice is a device as the organisation has it, or had it: Apple goes on to show some devices that were released.
// Words are Apple's; what it leaves out is empty or zero.
type OrgDevice struct {
	Serial     string
	Status     string    // ASSIGNED or UNASSIGNED
	AddedAt    time.Time // to the organisation
	ReleasedAt time.Time // from it; zero while it has the device
	UpdatedAt  time.Time

	PurchaseSource   string // APPLE, RESELLER or MANUALLY_ADDED, by Apple Configurator
	PurchaseSourceID string
	OrderNumber      string
	OrderedAt        time.Time

	Model       string
	Family      string // iPhone, iPad, Mac, …
	ProductType string // iPhone14,3
	Capacity    string
	Color       string
	PartNumber  string
}

// What Status says.
const (
	StatusAssigned   = "ASSIGNED"
	StatusUnassigned = "UNASSIGNED"
)

// orgDevice has the attributes that we use. NanoAXM's type has all of them, but takes the lists among them (imei, meid)
// for strings, and so reads no device that has any.
type orgDevice struct {
	Serial           string `json:"serialNumber"`
	Status           string `json:"status"`
	Added            moment `json:"addedToOrgDateTime"`
	Released         moment `json:"releasedFromOrgDateTime"`
	Updated          moment `json:"updatedDateTime"`
	PurchaseSource   string `json:"purchaseSourceType"`
	PurchaseSourceID string `json:"purchaseSourceId"`
	OrderNumber      string `json:"orderNumber"`
	Ordered          moment `json:"orderDateTime"`
	Model            string `json:"deviceModel"`
	Family           string `json:"productFamily"`
	ProductType      string `json:"productType"`
	Capacity         string `json:"deviceCapacity"`
	Color            string `json:"color"`
	PartNumber       string `json:"partNumber"`
}

func deviceOf(r resource[orgDevice]) OrgDevice {
	a := r.Attributes
	d := OrgDevice{
		Serial: a.Serial, Status: a.Status, AddedAt: a.Added.Time, ReleasedAt: a.Released.Time, UpdatedAt: a.Updated.Time,
		PurchaseSource: a.PurchaseSource, PurchaseSourceID: a.PurchaseSourceID, OrderNumber: a.OrderNumber, OrderedAt: a.Ordered.Time,
		Model: a.Model, Family: a.Family, ProductType: a.ProductType, Capacity: a.Capacity, Color: a.Color, PartNumber: a.PartNumber,
	}
	if d.Serial == "" { // Apple's example of a single device has no serial number among its attributes
		d.Serial = r.ID
	}
	return d
}

func pathOf(serial string) string { return "/v1/orgDevices/" + url.PathEscape(strings.ToUpper(serial)) }

// OrgDevice asks about a device. It fails with [fault.NotFound] when the organisation doesn't have it; after a release
// Apple may say that, or go on to show the device with the time of its release.
func (c *Client) OrgDevice(ctx context.Context, serial string) (OrgDevice, error) {
	var got document[orgDevice]
	if err := c.get(ctx, pathOf(serial), nil, &got); err != nil {
		return OrgDevice{}, err
	}
	if got.Data == nil {
		return OrgDevice{}, incomplete("the device")
	}
	d := deviceOf(*got.Data)
	if !strings.EqualFold(d.Serial, serial) || d.Status == "" {
		return OrgDevice{}, incomplete("the device, or its status,")
	}
	return d, nil
}

// OrgDevices asks for up to limit devices of the organisation, from the beginning if cursor is "", and returns the cursor
// of the next page, "" after the last. A limit of 0 leaves it to Apple, which takes 100.
func (c *Client) OrgDevices(ctx context.Context, cursor string, limit int) (devices []OrgDevice, next string, err error) {
	page, err := pageOf[orgDevice](ctx, c, "/v1/orgDevices", cursor, limit)
	if err != nil {
		return nil, "", err
	}
	devices = make([]OrgDevice, len(page.Data))
	for i, r := range page.Data {
		if devices[i] = deviceOf(r); devices[i].Serial == "" {
			return nil, "", incomplete("the serial number of a device")
		}
	}
	return devices, page.next(), nil
}

// AssignedServer asks which server has the device: the id that [Server] has, and the device assignment API calls
// server_uuid; "" for none. It fails with [fault.NotFound] when the organisation doesn't have the device.
func (c *Client) AssignedServer(ctx context.Context, serial string) (serverID string, err error) {
	var got document[struct{}]
	err = c.get(ctx, pathOf(serial)+"/relationships/assignedServer", nil, &got)
	if err == nil && got.Data != nil && got.Data.ID != "" {
		return got.Data.ID, nil
	}
	if err != nil && fault.KindOf(err) != fault.NotFound {
		return "", err
	}
	// Neither the device nor the server, or only the server? The answer is the same.
	d, err := c.OrgDevice(ctx, serial)
	if err != nil {
		return "", err
	}
	if d.Status == StatusAssigned {
		return "", incomplete("the server of a device that is assigned to one")
	}
	return "", nil
}
