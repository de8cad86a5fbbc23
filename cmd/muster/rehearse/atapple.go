package rehearse

import (
	"context"
	"fmt"
	"time"

	"github.com/muster-mdm/muster/api/client"
	"github.com/muster-mdm/muster/sim/abm"
)

// Names of the rehearsed link.
const (
	linkName       = "headquarters"
	profileName    = "rehearsal"
	profileAwaited = "rehearsal-held"
)

func rehearsalLink() Link {
	return Link{
		Server: linkName, Default: profileName, Business: true,
		Profiles: map[string]map[string]any{
			profileName:    {"is_supervised": true, "is_mdm_removable": true},
			profileAwaited: {"is_supervised": true, "is_mdm_removable": true, "await_device_configured": true},
		},
	}
}

// link links Muster with the portal, if a device comes from there.
func (r *Rehearsal) link(ctx context.Context) error {
	for _, l := range r.cfg.Lives {
		if l.Bought {
			var err error
			r.server, err = r.customer.Link(ctx, r.env.Portal(), rehearsalLink())
			return err
		}
	}
	return nil
}

// atApple does what concerns Apple Business Manager.
func (p *performer) atApple(ctx context.Context, do Verb) error {
	customer, portal, serial := p.rehearsal.customer, p.rehearsal.env.Portal(), p.life.Serial
	switch do {
	case Buy:
		return p.buy(ctx)
	case TakeOff:
		return customer.UnassignFromMDM(ctx, serial)
	}
	if err := portal.Unassign(serial); err != nil {
		return err
	}
	return customer.Sync(ctx, linkName)
}

func (p *performer) buy(ctx context.Context) error {
	customer, serial := p.rehearsal.customer, p.life.Serial
	if err := p.rehearsal.env.Portal().Add(p.rehearsal.server, abm.Spec{Serial: serial, Family: "iPhone"}); err != nil {
		return err
	}
	if err := customer.Sync(ctx, linkName); err != nil {
		return err
	}
	if err := p.until(ctx, "Apple Business Manager to list it", func(d client.Device) bool { return d.Server == linkName }); err != nil {
		return err
	}
	if !p.life.Awaits {
		return nil
	}
	return customer.ChooseDeviceProfile(ctx, serial, profileAwaited)
}

// powerOn switches the device on once the device profile is assigned to it that it shall have: nobody unpacks it before, or
// it would set itself up unmanaged.
func (p *performer) powerOn(ctx context.Context) error {
	portal := p.rehearsal.env.Portal()
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		profile, assigned := portal.ProfileFor(p.life.Serial)
		if assigned && profile.Await == p.life.Awaits {
			return p.device.PowerOn(ctx, portal.ForDevices())
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for a device profile: %w", ctx.Err())
		case <-tick.C:
		}
	}
}

// known waits until Muster knows the device.
func (p *performer) known(ctx context.Context) error {
	return p.until(ctx, "Muster to know it", func(client.Device) bool { return true })
}

// until waits for something that Muster says of the device.
func (p *performer) until(ctx context.Context, what string, so func(client.Device) bool) error {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		known, err := p.rehearsal.customer.Known(ctx, p.life.Serial)
		if err == nil && known {
			d, err := p.rehearsal.customer.Device(ctx, p.life.Serial)
			if err != nil {
				return err
			}
			if so(d) {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w", what, ctx.Err())
		case <-tick.C:
		}
	}
}
