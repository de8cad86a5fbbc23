package intake

import (
	"context"

	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/store"
)

// Reasons for which a device may be released (R63).
const (
	EndOfLife          = provision.EndOfLife
	PermanentlyDamaged = provision.PermanentlyDamaged
)

// Codes of requests about Apple Business Manager that a device doesn't fit.
const (
	// NotInABM: no Apple Business Manager server lists the device.
	NotInABM = provision.NotInABM
	// InConflict: two servers list it.
	InConflict = provision.InConflict
)

// Release asks for a device to be released for good; typed is the serial number as the operator typed it again. The
// device's workflow carries it out when the time to cancel it is over. Asking twice is asking once. It fails with
// [InSetup] for a device that is held in Setup Assistant: nothing is sent to a released device, so it would stay there.
func (i *Intake) Release(ctx context.Context, by Actor, serial, reason, typed string) (provision.Device, error) {
	serial, err := provision.ParseSerial(serial)
	if err != nil {
		return provision.Device{}, err
	}
	if err := provision.CheckRelease(reason); err != nil {
		return provision.Device{}, err
	}
	if again, err := provision.ParseSerial(typed); err != nil || again != serial {
		return provision.Device{}, provision.Errorf(provision.ReleaseSerial, "The serial number typed again is not %s; nothing was released.", serial).At("serial")
	}
	d, err := i.db.Update(ctx, serial, by.asks(func(d provision.Device) ([]provision.Fact, error) { return d.AskRelease(reason) }))
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
	return i.ask(ctx, by, serial, provision.Device.AskUnassignFromMDM)
}
