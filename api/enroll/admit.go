package enroll

import (
	"context"
	"net/http"

	"github.com/muster-mdm/muster/apple/identity"
	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/store"
)

// byUser is the activation mode of a device whose user signs in on it.
const byUser = "by_user"

// admit gives a device its profile without a page: one that its user activates must have been signed in on.
func (d *Door) admit(r *http.Request, m identity.MachineInfo) ([]byte, error) {
	e, err := d.entrant(r.Context(), m)
	if err != nil {
		return nil, err
	}
	if e.ActivationMode == byUser {
		if err := d.signedIn(r, m); err != nil {
			return nil, err
		}
	}
	return d.enroller.profileFor(r.Context(), m.Serial)
}

func (d *Door) signedIn(r *http.Request, m identity.MachineInfo) error {
	signedIn := false
	if d.config.SignIn != nil {
		var err error
		if signedIn, err = d.config.SignIn.SignedIn(r, m); err != nil {
			return err
		}
	}
	if !signedIn {
		return provision.Errorf(provision.SignInRequired, "Device %s is activated by its user, who must sign in on it first.", m.Serial)
	}
	return nil
}

// ProfileFor makes the profile by which a verified device enrolls once. Whoever calls it for a device that its user activates
// has had them sign in. It fails with [provision.DeviceNotFound], [provision.DeviceReleased], [provision.DeviceOffABM],
// [provision.DeviceInConflict], [provision.DeviceOnHold], [provision.OSTooOld], [provision.IdentityRefused] and
// [provision.PushCertificateMissing]; the device may try again when that has changed.
func (d *Door) ProfileFor(ctx context.Context, m identity.MachineInfo) ([]byte, error) {
	if _, err := d.entrant(ctx, m); err != nil {
		return nil, err
	}
	return d.enroller.profileFor(ctx, m.Serial)
}

// entrant finds a verified device that may enroll.
func (d *Door) entrant(ctx context.Context, m identity.MachineInfo) (store.Entrant, error) {
	e, err := d.entrants.Entrant(ctx, m.Serial)
	if err != nil {
		return e, err
	}
	if err := mayEnroll(e.Device); err != nil {
		return e, err
	}
	if err := d.owns(ctx, m); err != nil {
		return e, err
	}
	if oldest, older := d.config.MinimumOS.require(m); older {
		return e, tooOld(m, oldest)
	}
	return e, nil
}

// mayEnroll: the device must be one of ours and nothing may keep it. Apple has told it to come here a moment ago, so one that
// isn't listed by Apple Business Manager but was registered or reserved is welcome, as is one that went missing from the list;
// not one that is known to have been taken off it, which comes by what it was told before.
func mayEnroll(d provision.Device) error {
	switch {
	case d.Leaving():
		return provision.Errorf(provision.DeviceReleased, "Device %s was released, or is about to be, so it can't enroll.", d.Serial)
	case d.OffABM():
		return provision.Errorf(provision.DeviceOffABM, "Device %s was taken off this server in Apple Business Manager. Assign it to this server again; it can enroll after the next sync.", d.Serial)
	case d.ABM.State == provision.ABMConflict:
		return provision.Errorf(provision.DeviceInConflict, "Two Apple Business Manager servers list device %s. Take it off the one that it doesn't belong to; it can enroll after the next sync.", d.Serial)
	case d.OnHold:
		return provision.Errorf(provision.DeviceOnHold, "Device %s is on hold: %s. It can enroll when the hold ends.", d.Serial, d.HoldReason)
	}
	return nil
}

// owns makes sure that a device doesn't go by another one's serial number: one that is enrolled is known by its UDID.
func (d *Door) owns(ctx context.Context, m identity.MachineInfo) error {
	if m.UDID == "" {
		return nil
	}
	holder, err := d.entrants.EnrolledUnder(ctx, m.UDID)
	if err != nil || holder == "" || holder == m.Serial {
		return err
	}
	return provision.Errorf(provision.IdentityRefused, "The identifier %.80q belongs to another device, which is enrolled; end its enrollment first.", m.UDID)
}
