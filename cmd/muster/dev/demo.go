package dev

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/muster-mdm/muster/api/client"
	"github.com/muster-mdm/muster/cmd/muster/rehearse"
	"github.com/muster-mdm/muster/sim"
	"github.com/muster-mdm/muster/sim/abm"
)

// demo plays an organisation: its catalog, its people, and its devices. It speaks to Muster as a customer does, by REST,
// and the devices speak to it as devices do.
type demo struct {
	api    *client.ClientWithResponses
	fleet  *sim.Fleet
	portal *abm.Organization
	url    string // of Muster
	keeper *keeper
	// signIn: people can sign in on their devices, and are assigned by it.
	signIn bool
	seed   uint64
	spread time.Duration
	lives  sync.WaitGroup

	mu     sync.Mutex
	failed map[string]error
}

// farewell is how long an enrollment under way may go on after Ctrl-C: one cut off would have to begin anew next time.
const farewell = 3 * time.Second

func newDemo(ctx context.Context, o options, st *stack, say func(string, ...any)) (*demo, error) {
	token := func(_ context.Context, req *http.Request) error {
		req.Header.Set("Authorization", "Bearer "+st.token)
		return nil
	}
	api, err := client.NewClientWithResponses(st.muster.URL(), client.WithRequestEditorFn(token))
	if err != nil {
		return nil, fmt.Errorf("preparing the client: %w", err)
	}
	d := &demo{api: api, portal: st.portal, url: st.muster.URL(), seed: o.seed, spread: o.spread, failed: map[string]error{}}
	d.fleet, err = sim.NewFleet(sim.FleetConfig{
		Size: o.devices, Seed: o.seed,
		Device: sim.Config{
			APNs: st.apns, Factory: st.factory, Keys: sim.NewKeyPool(2048, min(o.devices, 8)), Catalog: catalog(),
			Faults: sim.Faults{
				NotNow: 0.05, NotNowFor: sim.Span{Min: o.spread / 8, Max: o.spread * 3 / 8},
				Install: sim.Span{Min: o.spread / 8, Max: o.spread * 6 / 8},
			},
		},
		Vary: func(i int, c *sim.Config) {
			model(i, c)
			c.Person = st.person(i)
		},
	})
	if err != nil {
		return nil, fmt.Errorf("making the virtual devices: %w", err)
	}
	if d.keeper, err = newKeeper(st.path("devices"), st.muster.URL(), st.fingerprint()); err != nil {
		return nil, err
	}
	d.keeper.loadAll(d.fleet.Devices(), say)
	if err := d.seedOnce(ctx, st.path("seeded"), st.fingerprint()); err != nil {
		return nil, err
	}
	customer, err := rehearse.NewCustomer(st.muster.URL(), st.token)
	if err != nil {
		return nil, err
	}
	if err := d.connect(ctx, customer, st.people); err != nil {
		return nil, err
	}
	return d, d.linkOnce(ctx, customer, st.people != nil)
}

// model gives the i-th device a product; every third waits in Setup Assistant to be released.
func model(i int, c *sim.Config) {
	products := []struct{ product, model, name string }{
		{"iPad13,18", "MPQ03", "iPad"}, {"iPhone14,5", "MLPF3", "iPhone"}, {"iPad14,1", "MK7M3", "iPad"},
	}
	p := products[i%len(products)]
	c.ProductName, c.Model, c.ModelName, c.OSVersion, c.BuildVersion = p.product, p.model, p.name, "18.1", "22B83"
	c.DeviceName = fmt.Sprintf("%s %02d", p.name, i+1)
	c.AutomatedEnrollment, c.Await = true, awaits(i)
}

// awaits tells whether the i-th device is held in Setup Assistant.
func awaits(i int) bool { return i%3 == 0 }

// play lets the devices live until the context ends: known to the organisation, assigned and switched on in mixed order.
func (d *demo) play(ctx context.Context) {
	d.lives.Go(func() { d.fleet.Run(ctx) })
	for i, dev := range d.fleet.Devices() {
		d.lives.Go(func() {
			if err := d.live(ctx, i, dev); err != nil && ctx.Err() == nil {
				d.mu.Lock()
				d.failed[dev.Serial()] = err
				d.mu.Unlock()
			}
		})
	}
}

// end waits until the devices have stopped, and keeps what they remember.
func (d *demo) end() error {
	d.lives.Wait()
	err := d.keeper.saveAll(d.fleet.Devices())
	d.fleet.Close()
	return err
}

// The last devices keep waiting, so that there is something left to do by hand.
const (
	neverOn       = 1 // the last
	neverAssigned = 2 // the two before
	fewest        = 6 // with fewer devices, none keeps waiting
)

// fate tells whether the i-th device is ever switched on, and assigned.
func (d *demo) fate(i int) (on, assigned bool) {
	n := len(d.fleet.Devices())
	if n < fewest {
		return true, true
	}
	return i < n-neverOn, i < n-neverOn-neverAssigned || i >= n-neverOn
}

// live does for a device what no earlier run has done.
func (d *demo) live(ctx context.Context, i int, dev *sim.Device) error {
	luck := rand.New(rand.NewPCG(d.seed, uint64(i)))
	switchOn, assign := luck.Float64(), luck.Float64()
	pause := func(share float64) time.Duration { return time.Duration(share * float64(d.spread)) }
	if !d.keeper.record(dev.Serial()).Registered {
		if err := d.arrive(ctx, i, dev); err != nil {
			return err
		}
	}
	past := d.keeper.record(dev.Serial())
	on, assigned := d.fate(i)
	both := make(chan error, 2)
	go func() {
		both <- after(ctx, pause(assign), assigned && !past.Assigned && !past.SignsIn, func() error { return d.assign(ctx, i, dev) })
	}()
	go func() {
		both <- after(ctx, pause(switchOn), on && !past.Enrolled, func() error { return d.enroll(ctx, i, dev) })
	}()
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

// arrive waits until Apple Business Manager's list has brought the device, and says how it is set up.
func (d *demo) arrive(ctx context.Context, i int, dev *sim.Device) error {
	if err := d.listed(ctx, dev.Serial()); err != nil {
		return err
	}
	signsIn := d.signIn && theirOwn[i] != ""
	profile := ""
	switch {
	case signsIn:
		profile = profileSignIn
	case awaits(i):
		profile = profileAwaited
	}
	if profile != "" {
		if err := d.choose(ctx, dev.Serial(), profile); err != nil {
			return err
		}
	}
	return d.keeper.done(dev, func(r *record) { r.Registered, r.SignsIn = true, signsIn })
}

// enroll switches a device on for the first time.
func (d *demo) enroll(ctx context.Context, i int, dev *sim.Device) error {
	if err := d.assigned(ctx, i, dev.Serial()); err != nil {
		return err
	}
	ctx, cancel := lingering(ctx, farewell)
	defer cancel()
	if err := dev.PowerOn(ctx, d.portal.ForDevices()); err != nil {
		return err
	}
	return d.keeper.done(dev, func(r *record) { r.Enrolled = true })
}

// lingering is a context that ends a while after its parent does.
func lingering(parent context.Context, while time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(parent))
	stop := context.AfterFunc(parent, func() {
		timer := time.AfterFunc(while, cancel)
		context.AfterFunc(ctx, func() { timer.Stop() })
	})
	return ctx, func() { stop(); cancel() }
}

func (d *demo) assign(ctx context.Context, i int, dev *sim.Device) error {
	user := people[i%len(people)]
	groups := [][]string{{"zylker_drivers"}, {"zylker_office"}, {"zylker_drivers", "zylker_office"}}[i%3]
	res, err := d.api.AssignDeviceWithResponse(ctx, dev.Serial(), nil, assignment(user, groups))
	if err != nil {
		return fmt.Errorf("assigning: %w", err)
	}
	if err := wanted("assigning", res.StatusCode(), res.Body, http.StatusOK, http.StatusCreated); err != nil {
		return err
	}
	return d.keeper.done(dev, func(r *record) { r.Assigned = true })
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
