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
	bySignIn       = "-signed-in" // ends the names of profiles by which somebody signs in
)

// rehearsalLink has a device profile for every way of setting up.
func rehearsalLink(signIn bool) Link {
	l := Link{Server: linkName, Default: profileName, Business: true, AutoAssign: signIn, Profiles: map[string]map[string]any{}}
	for name, await := range map[string]bool{profileName: false, profileAwaited: true} {
		fields := map[string]any{"is_supervised": true, "is_mdm_removable": true, "await_device_configured": await}
		l.Profiles[name] = fields
		if signIn {
			l.Profiles[name+bySignIn] = fields
			l.ByUser = append(l.ByUser, name+bySignIn)
		}
	}
	return l
}

// deviceProfile names the profile by which the device is set up.
func (l Life) deviceProfile() string {
	name := profileName
	if l.Awaits {
		name = profileAwaited
	}
	if l.Person != nil {
		name += bySignIn
	}
	return name
}

// link links Muster with the portal, if a device comes from there.
func (r *Rehearsal) link(ctx context.Context) error {
	for _, l := range r.cfg.Lives {
		if l.Bought {
			var err error
			r.server, err = r.customer.Link(ctx, r.env.Portal(), rehearsalLink(len(Accounts(r.cfg.Lives)) > 0))
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
	if p.life.deviceProfile() == profileName {
		return nil
	}
	return customer.ChooseDeviceProfile(ctx, serial, p.life.deviceProfile())
}

// powerOn switches the device on once the device profile is assigned to it that it shall have: nobody unpacks it before, or
// it would set itself up unmanaged.
func (p *performer) powerOn(ctx context.Context) error {
	portal := p.rehearsal.env.Portal()
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		profile, assigned := portal.ProfileFor(p.life.Serial)
		if assigned && profile.Await == p.life.Awaits && (profile.WebURL != "") == (p.life.Person != nil) {
			return p.enroll(ctx)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for a device profile: %w", ctx.Err())
		case <-tick.C:
		}
	}
}

func (p *performer) enroll(ctx context.Context) error {
	if err := p.device.PowerOn(ctx, p.rehearsal.env.Portal().ForDevices()); err != nil || p.life.Person == nil {
		return err
	}
	p.rehearsal.mu.Lock()
	defer p.rehearsal.mu.Unlock()
	p.rehearsal.signed[p.life.Serial] = true
	return nil
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
