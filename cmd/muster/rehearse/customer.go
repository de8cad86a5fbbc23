package rehearse

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/muster-mdm/muster/api/client"
)

// Customer talks to Muster's REST API as its customers do: with the generated client, and again when a server in trouble
// or a broken connection left open what became of a request.
type Customer struct {
	api *client.ClientWithResponses
	// retry is the pause before a repetition.
	retry time.Duration
}

// NewCustomer returns a customer of the API at a URL.
func NewCustomer(url, token string) (*Customer, error) {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = 64
	api, err := client.NewClientWithResponses(url,
		client.WithHTTPClient(&http.Client{Transport: transport, Timeout: 30 * time.Second}),
		client.WithRequestEditorFn(func(_ context.Context, r *http.Request) error {
			r.Header.Set("Authorization", "Bearer "+token)
			return nil
		}))
	if err != nil {
		return nil, fmt.Errorf("making the API's client: %w", err)
	}
	return &Customer{api: api, retry: 200 * time.Millisecond}, nil
}

// answer is what all responses of the generated client have in common.
type answer interface {
	StatusCode() int
	GetBody() []byte
}

// RefusedError is an answer of the API that repeating wouldn't change.
type RefusedError struct {
	Doing  string
	Status int
	Body   string
}

// Error names the status and shows the answer.
func (e *RefusedError) Error() string {
	return fmt.Sprintf("%s: the API answered %d: %s", e.Doing, e.Status, e.Body)
}

// keyInUse is the code of a request whose key another one holds that was never answered: its server died meanwhile. All
// that a customer asks here may be asked twice, so it takes another key instead of waiting until the old one is free.
const keyInUse = "idempotency_key_in_use"

// do sends a request until it is answered by something other than 429 or 5xx. A change carries one Idempotency-Key
// through all tries.
func do[A answer](ctx context.Context, c *Customer, doing string, send func(ctx context.Context, key *string) (A, error)) (A, error) {
	key := rand.Text()
	var last error
	for {
		a, err := send(ctx, &key)
		switch {
		case err != nil:
			last = fmt.Errorf("%s: %w", doing, err)
		case a.StatusCode() == http.StatusTooManyRequests || a.StatusCode() >= http.StatusInternalServerError:
			last = &RefusedError{doing, a.StatusCode(), string(a.GetBody())}
		case a.StatusCode() == http.StatusConflict && strings.Contains(string(a.GetBody()), keyInUse):
			key, last = rand.Text(), &RefusedError{doing, a.StatusCode(), string(a.GetBody())}
		case a.StatusCode() >= http.StatusBadRequest:
			return a, &RefusedError{doing, a.StatusCode(), string(a.GetBody())}
		default:
			return a, nil
		}
		select {
		case <-ctx.Done():
			var none A
			return none, errors.Join(ctx.Err(), last)
		case <-time.After(c.retry):
		}
	}
}

// Register makes a device known; one that a lost answer made known already is fine.
func (c *Customer) Register(ctx context.Context, serial string) error {
	tries := 0
	_, err := do(ctx, c, "registering "+serial, func(ctx context.Context, key *string) (*client.RegisterDeviceResponse, error) {
		tries++
		return c.api.RegisterDeviceWithResponse(ctx, &client.RegisterDeviceParams{IdempotencyKey: key}, client.NewDevice{Serial: serial})
	})
	var refused *RefusedError
	if tries > 1 && errors.As(err, &refused) && strings.Contains(refused.Body, "already_exists") {
		return nil
	}
	return err
}

// Assignment says who gets a device; empty fields are left out.
type Assignment struct {
	User, Technician string
	Groups           []string
}

// Assign assigns a device.
func (c *Customer) Assign(ctx context.Context, serial string, a Assignment) error {
	_, err := do(ctx, c, "assigning "+serial, func(ctx context.Context, key *string) (*client.AssignDeviceResponse, error) {
		return c.api.AssignDeviceWithResponse(ctx, serial, &client.AssignDeviceParams{IdempotencyKey: key}, a.input())
	})
	return err
}

func (a Assignment) input() client.AssignmentInput {
	in := client.AssignmentInput{Groups: &a.Groups}
	if a.Groups == nil {
		in.Groups = &[]string{}
	}
	if a.User != "" {
		in.User = &struct {
			Domain *string `json:"domain,omitempty"`
			Email  string  `json:"email"`
			Name   string  `json:"name"`
		}{Name: a.User, Email: strings.ToLower(a.User) + "@example.com"}
	}
	if a.Technician != "" {
		in.Technician = &struct {
			Domain *string `json:"domain,omitempty"`
			Name   string  `json:"name"`
		}{Name: a.Technician}
	}
	return in
}

// Unassign takes user and groups away.
func (c *Customer) Unassign(ctx context.Context, serial string) error {
	_, err := do(ctx, c, "unassigning "+serial, func(ctx context.Context, key *string) (*client.UnassignDeviceResponse, error) {
		return c.api.UnassignDeviceWithResponse(ctx, serial, &client.UnassignDeviceParams{IdempotencyKey: key})
	})
	return err
}

// Release releases a device at the end of its life.
func (c *Customer) Release(ctx context.Context, serial string) error {
	_, err := do(ctx, c, "releasing "+serial, func(ctx context.Context, key *string) (*client.ReleaseDeviceResponse, error) {
		return c.api.ReleaseDeviceWithResponse(ctx, serial, &client.ReleaseDeviceParams{IdempotencyKey: key},
			client.ReleaseInput{Reason: "end_of_life", Serial: serial})
	})
	return err
}

// EnrollmentProfile downloads a fresh enrollment profile.
func (c *Customer) EnrollmentProfile(ctx context.Context, serial string) ([]byte, error) {
	a, err := do(ctx, c, "downloading the enrollment profile of "+serial, func(ctx context.Context, _ *string) (*client.GetEnrollmentProfileResponse, error) {
		return c.api.GetEnrollmentProfileWithResponse(ctx, serial)
	})
	if err != nil {
		return nil, err
	}
	return a.GetBody(), nil
}

// Device shows a device with what it waits for.
func (c *Customer) Device(ctx context.Context, serial string) (client.Device, error) {
	a, err := do(ctx, c, "looking at "+serial, func(ctx context.Context, _ *string) (*client.GetDeviceResponse, error) {
		return c.api.GetDeviceWithResponse(ctx, serial)
	})
	if err != nil {
		return client.Device{}, err
	}
	return *a.JSON200, nil
}

// Devices lists all devices by serial number.
func (c *Customer) Devices(ctx context.Context) (map[string]client.Device, error) {
	limit := 200
	params := client.ListDevicesParams{Limit: &limit}
	all := map[string]client.Device{}
	for {
		a, err := do(ctx, c, "listing devices", func(ctx context.Context, _ *string) (*client.ListDevicesResponse, error) {
			return c.api.ListDevicesWithResponse(ctx, &params)
		})
		if err != nil {
			return nil, err
		}
		for _, d := range a.JSON200.Devices {
			all[d.Serial] = d
		}
		if a.JSON200.NextCursor == nil {
			return all, nil
		}
		params.Cursor = a.JSON200.NextCursor
	}
}

// Timeline returns the last facts of a device, the newest first.
func (c *Customer) Timeline(ctx context.Context, serial string, most int) ([]client.Fact, error) {
	a, err := do(ctx, c, "reading the timeline of "+serial, func(ctx context.Context, _ *string) (*client.GetDeviceTimelineResponse, error) {
		return c.api.GetDeviceTimelineWithResponse(ctx, serial, &client.GetDeviceTimelineParams{Limit: &most})
	})
	if err != nil {
		return nil, err
	}
	return a.JSON200.Facts, nil
}

// Plan returns the items of a device.
func (c *Customer) Plan(ctx context.Context, serial string) ([]client.PlanItem, error) {
	a, err := do(ctx, c, "reading the plan of "+serial, func(ctx context.Context, _ *string) (*client.GetDevicePlanResponse, error) {
		return c.api.GetDevicePlanWithResponse(ctx, serial)
	})
	if err != nil {
		return nil, err
	}
	return a.JSON200.Items, nil
}
