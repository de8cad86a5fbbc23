package intake

import (
	"context"

	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/store"
)

// Reasons for which a device may be released (R63).
const (
	EndOfLife          = "end_of_life"
	PermanentlyDamaged = "permanently_damaged"
)

// Codes of requests about Apple Business Manager that a device doesn't fit.
const (
	// NotInABM: no Apple Business Manager server lists the device.
	NotInABM provision.Code = "device_not_in_abm"
	// InConflict: two servers list it.
	InConflict provision.Code = "abm_conflict"
)

// Release asks for a device to be released for good; typed is the serial number as the operator typed it again. The
// device's workflow carries it out when the time to cancel it is over. Asking twice is asking once. It fails with
// [InSetup] for a device that is held in Setup Assistant: nothing is sent to a released device, so it would stay there.
func (i *Intake) Release(ctx context.Context, by Actor, serial, reason, typed string) (provision.Device, error) {
	serial, err := provision.ParseSerial(serial)
	if err != nil {
		return provision.Device{}, err
	}
	if reason != EndOfLife && reason != PermanentlyDamaged {
		return provision.Device{}, provision.Errorf(provision.ReleaseReason, "A device is released only for %s or %s.", EndOfLife, PermanentlyDamaged).At("reason")
	}
	if again, err := provision.ParseSerial(typed); err != nil || again != serial {
		return provision.Device{}, provision.Errorf(provision.ReleaseSerial, "The serial number typed again is not %s; nothing was released.", serial).At("serial")
	}
	d, err := i.db.Update(ctx, serial, func(ctx context.Context, c *store.Change) error {
		if c.Device.Leaving() {
			return nil
		}
		if c.Device.InSetup() {
			return provision.Errorf(InSetup, "Device %s is held in Setup Assistant; let it out first (release-from-setup), then release it.", serial)
		}
		fact := by.fact(provision.ReleaseRequest)
		fact.Reason = reason
		_, err := c.Record(ctx, fact)
		return err
	})
	if err != nil || d.Over() || d.Began() {
		return d, err
	}
	// No fact ever began a workflow for this device, so nobody else would carry the release out.
	return i.db.Carry(ctx, serial, provision.Step{Do: provision.ConcludeReleased, Reason: reason})
}

// CancelRelease takes a release back; without one nothing is recorded. It fails as [provision.Device.CheckCancel] does.
func (i *Intake) CancelRelease(ctx context.Context, by Actor, serial string) (provision.Device, error) {
	serial, err := provision.ParseSerial(serial)
	if err != nil {
		return provision.Device{}, err
	}
	return i.db.Update(ctx, serial, func(ctx context.Context, c *store.Change) error {
		if err := c.Device.CheckCancel(); err != nil || !c.Device.ReleasePending() {
			return err
		}
		c.DropABMDuty(provision.ReleaseDevice) // what a person was to do in Apple's portal
		_, err := c.Record(ctx, by.fact(provision.CancelRelease))
		return err
	})
}

// UnassignFromMDM asks for a device to be taken off this MDM server in Apple Business Manager (R54). It stays managed until
// it is deprovisioned, and keeps its assignment (R62). Asking again while it is being done records nothing. It fails with
// [NotInABM] and [InConflict].
func (i *Intake) UnassignFromMDM(ctx context.Context, by Actor, serial string) (provision.Device, error) {
	return i.update(ctx, serial, func(ctx context.Context, c *store.Change) error {
		switch d := c.Device; {
		case d.ABM.State == provision.ABMConflict:
			return provision.Errorf(InConflict, "Apple Business Manager servers %q and %q both list device %s; take it off the one that it doesn't belong to in Apple Business Manager.", d.ABM.Server, d.ABM.Other, d.Serial)
		case d.ABM.State != provision.ABMPresent:
			return provision.Errorf(NotInABM, "No Apple Business Manager server lists device %s, so it can't be taken off one.", d.Serial)
		case d.UnassignWanted():
			return nil
		}
		_, err := c.Record(ctx, by.fact(provision.UnassignFromMDM))
		return err
	})
}
