package dev

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/muster-mdm/muster/api/client"
	"github.com/muster-mdm/muster/sim"
)

// demo plays an organisation: its catalog, its people, and its devices. It speaks to Muster as a customer does, by REST,
// and the devices speak to it as devices do.
type demo struct {
	api   *client.ClientWithResponses
	fleet *sim.Fleet
	seed  uint64
	kept  string

	mu     sync.Mutex
	failed map[string]error
}

func newDemo(ctx context.Context, o options, st *stack) (*demo, error) {
	token := func(_ context.Context, req *http.Request) error {
		req.Header.Set("Authorization", "Bearer "+st.token)
		return nil
	}
	api, err := client.NewClientWithResponses(st.muster.URL(), client.WithRequestEditorFn(token))
	if err != nil {
		return nil, fmt.Errorf("preparing the client: %w", err)
	}
	d := &demo{api: api, seed: o.seed, kept: st.path("devices"), failed: map[string]error{}}
	d.fleet, err = sim.NewFleet(sim.FleetConfig{
		Size: o.devices, Seed: o.seed,
		Device: sim.Config{
			APNs: st.apns, Keys: sim.NewKeyPool(2048, min(o.devices, 8)), Catalog: catalog(),
			Faults: sim.Faults{NotNow: 0.05, NotNowFor: sim.Span{Min: time.Second, Max: 3 * time.Second}, Install: sim.Span{Min: time.Second, Max: 6 * time.Second}},
		},
		Vary: func(i int, c *sim.Config) { model(i, c) },
	})
	if err != nil {
		return nil, fmt.Errorf("making the virtual devices: %w", err)
	}
	if err := os.MkdirAll(d.kept, 0o700); err != nil {
		return nil, fmt.Errorf("making the folder for the virtual devices: %w", err)
	}
	return d, d.seedCatalog(ctx)
}

// model gives the i-th device a product; every third waits in Setup Assistant to be released.
func model(i int, c *sim.Config) {
	products := []struct{ product, model, name string }{
		{"iPad13,18", "MPQ03", "iPad"}, {"iPhone14,5", "MLPF3", "iPhone"}, {"iPad14,1", "MK7M3", "iPad"},
	}
	p := products[i%len(products)]
	c.ProductName, c.Model, c.ModelName, c.OSVersion, c.BuildVersion = p.product, p.model, p.name, "18.1", "22B83"
	c.DeviceName = fmt.Sprintf("%s %02d", p.name, i+1)
	c.AutomatedEnrollment, c.Await = true, i%3 == 0
}

// play lets the devices live until the context ends: known to the organisation, assigned and switched on in mixed order.
func (d *demo) play(ctx context.Context) {
	go d.fleet.Run(ctx)
	for i, dev := range d.fleet.Devices() {
		go func() {
			if err := d.live(ctx, i, dev); err != nil && ctx.Err() == nil {
				d.mu.Lock()
				d.failed[dev.Serial()] = err
				d.mu.Unlock()
			}
		}()
	}
}

// The last devices keep waiting, so that there is something left to do by hand.
const (
	neverOn       = 1 // the last
	neverAssigned = 2 // the two before
)

func (d *demo) live(ctx context.Context, i int, dev *sim.Device) error {
	n := len(d.fleet.Devices())
	on, assigned := i < n-neverOn || n < 6, i < n-neverOn-neverAssigned || i >= n-neverOn || n < 6
	luck := rand.New(rand.NewPCG(d.seed, uint64(i))) //nolint:gosec // a demonstration's timing
	switchOn := time.Duration(luck.IntN(8000)) * time.Millisecond
	assign := time.Duration(luck.IntN(8000)) * time.Millisecond
	if err := d.register(ctx, dev); err != nil {
		return err
	}
	both := make(chan error, 2)
	go func() { both <- after(ctx, assign, assigned, func() error { return d.assign(ctx, i, dev) }) }()
	go func() { both <- after(ctx, switchOn, on, func() error { return d.enroll(ctx, dev) }) }()
	return errors.Join(<-both, <-both)
}

func after(ctx context.Context, pause time.Duration, wanted bool, do func() error) error {
	if !wanted {
		return nil
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(pause):
		return do()
	}
}

func (d *demo) register(ctx context.Context, dev *sim.Device) error {
	name := dev.Snapshot().Name
	res, err := d.api.RegisterDeviceWithResponse(ctx, nil, client.NewDevice{Serial: dev.Serial(), Name: &name})
	if err != nil {
		return fmt.Errorf("registering: %w", err)
	}
	return wanted("registering", res.StatusCode(), res.Body, http.StatusCreated, http.StatusConflict) // known from an earlier run
}

// enroll switches a device on: one that was enrolled in an earlier run goes on where it was, another enrolls.
func (d *demo) enroll(ctx context.Context, dev *sim.Device) error {
	if dev.Snapshot().Enrolled {
		dev.Connect()
		return nil
	}
	res, err := d.api.GetEnrollmentProfileWithResponse(ctx, dev.Serial())
	if err != nil {
		return fmt.Errorf("fetching the enrollment profile: %w", err)
	}
	if err := wanted("fetching the enrollment profile", res.StatusCode(), res.Body, http.StatusOK); err != nil {
		return err
	}
	return dev.Enroll(ctx, res.Body)
}

func (d *demo) assign(ctx context.Context, i int, dev *sim.Device) error {
	user := people[i%len(people)]
	groups := [][]string{{"zylker_drivers"}, {"zylker_office"}, {"zylker_drivers", "zylker_office"}}[i%3]
	res, err := d.api.AssignDeviceWithResponse(ctx, dev.Serial(), nil, assignment(user, groups))
	if err != nil {
		return fmt.Errorf("assigning: %w", err)
	}
	return wanted("assigning", res.StatusCode(), res.Body, http.StatusOK, http.StatusCreated)
}

// wanted turns an unexpected answer into an error with what the server said.
func wanted(doing string, status int, body []byte, ok ...int) error {
	for _, s := range ok {
		if s == status {
			return nil
		}
	}
	return fmt.Errorf("%s: the API answered %d: %s", doing, status, bytes.TrimSpace(body))
}
