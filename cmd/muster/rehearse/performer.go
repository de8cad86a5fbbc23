package rehearse

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/muster-mdm/muster/sim"
)

// performer carries out the events of one life: REST for people at desks, the virtual device for who holds it.
type performer struct {
	rehearsal *Rehearsal
	life      Life
	device    *sim.Device
}

// perform carries out one event; before are those that came earlier.
func (p *performer) perform(ctx context.Context, e Event, before []Event) error {
	if err := pause(ctx, e.After); err != nil {
		return err
	}
	customer, serial := p.rehearsal.customer, p.life.Serial
	switch e.Do {
	case Register:
		return customer.Register(ctx, serial)
	case Assign:
		return customer.Assign(ctx, serial, Assignment{User: e.User, Technician: e.Technician, Groups: e.Groups})
	case Unassign:
		return customer.Unassign(ctx, serial)
	case Release:
		return customer.Release(ctx, serial)
	case Review:
		return customer.Review(ctx, serial, e.Choice)
	case Buy, TakeOff, TakenOff:
		return p.atApple(ctx, e.Do)
	case SwitchOn:
		if p.life.Bought {
			return p.persist(ctx, p.powerOn)
		}
		return p.persist(ctx, p.switchOn)
	case BeginActivation:
		return p.persist(ctx, p.begin)
	case FinishActivation:
		return p.device.TokenUpdate(ctx)
	case FactoryReset:
		p.device.Reset()
	case CheckOut:
		p.device.SetOnline(true) // whoever removes the profile ends the offline spell
		return p.device.CheckOut(ctx)
	case Reboot:
		p.device.Reboot()
	case GoOffline:
		p.device.SetOnline(false)
		time.AfterFunc(e.For, func() { p.device.SetOnline(true) })
	case Settle:
		return p.settle(ctx, before)
	case Together:
		return p.together(ctx, e.Events, before)
	}
	return nil
}

func (p *performer) together(ctx context.Context, events, before []Event) error {
	errs := make([]error, len(events))
	var all sync.WaitGroup
	for i, e := range events {
		all.Go(func() { errs[i] = p.perform(ctx, e, before) })
	}
	all.Wait()
	return errors.Join(errs...)
}

// tries is how often somebody begins an enrollment anew that broke off, before giving up.
const tries = 5

// persist begins an enrollment anew when it breaks off: a one-time challenge may be spent although its answer was lost.
func (p *performer) persist(ctx context.Context, enroll func(context.Context) error) error {
	var errs []error
	for range tries {
		err := enroll(ctx)
		if err == nil {
			return nil
		}
		errs = append(errs, err)
		if err := pause(ctx, time.Second); err != nil {
			return errors.Join(append(errs, err)...)
		}
	}
	return fmt.Errorf("giving up after %d tries: %w", tries, errors.Join(errs...))
}

func (p *performer) begin(ctx context.Context) error {
	if err := p.known(ctx); err != nil {
		return err
	}
	profile, err := p.rehearsal.customer.EnrollmentProfile(ctx, p.life.Serial)
	if err != nil {
		return err
	}
	if err := p.device.Prepare(ctx, profile); err != nil {
		return err
	}
	return p.device.Authenticate(ctx)
}

func (p *performer) switchOn(ctx context.Context) error {
	if err := p.begin(ctx); err != nil {
		return err
	}
	return p.device.TokenUpdate(ctx)
}

// settle waits until the device is as modelled so far.
func (p *performer) settle(ctx context.Context, before []Event) error {
	want := Model(p.rehearsal.catalog, p.life, before)
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		d, err := p.rehearsal.customer.Device(ctx, p.life.Serial)
		if err != nil {
			return err
		}
		wrong := differences(want, d, p.device.Snapshot())
		if len(wrong) == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: still %v", ctx.Err(), wrong)
		case <-tick.C:
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
