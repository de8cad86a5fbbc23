package intake

import (
	"context"

	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/store"
)

// Enrollment is what a device says when it begins to enroll.
type Enrollment struct {
	Serial string
	// UDID is the id under which the device enrolls.
	UDID string
	// Identity is the hash of the certificate that the device came with.
	Identity    string
	Information store.Information
}

// Authenticated records that a device began to enroll: it opens a new epoch, in which nothing queued or issued for an
// earlier one counts and no enrollment profile that was fetched before can be installed any more. A repetition, because
// the device missed the answer, changes nothing. It fails with [provision.DeviceReleased] for a released device.
func (i *Intake) Authenticated(ctx context.Context, e Enrollment) (provision.Device, error) {
	return i.db.Update(ctx, e.Serial, func(ctx context.Context, c *store.Change) error {
		if c.Device.Over() {
			return released(e.Serial)
		}
		repeated := c.Device.Activation.State == provision.Opened && c.UDID() == e.UDID
		if !repeated {
			if err := c.VoidCommands(ctx); err != nil {
				return err
			}
		}
		if err := c.SetUDID(ctx, e.UDID); err != nil {
			return err
		}
		if err := c.SaveInformation(ctx, e.Information); err != nil {
			return err
		}
		if err := c.SupersedeIdentities(ctx, e.Identity); err != nil {
			return err
		}
		if err := c.ExpireChallenges(ctx, e.Identity, repeated); err != nil {
			return err
		}
		if repeated {
			return nil
		}
		return record(ctx, c, provision.Fact{Kind: provision.Authenticated, Epoch: c.Device.NextEpoch()})
	})
}

func released(serial string) error {
	return provision.Errorf(provision.DeviceReleased, "Device %s was released; register it again before it enrolls.", serial)
}

func record(ctx context.Context, c *store.Change, f provision.Fact) error {
	f.Source = provision.FromDevice
	_, err := c.Record(ctx, f)
	return err
}

// Activated records that a device completed its enrollment, once for each epoch: later TokenUpdates renew a push token
// and are no facts. awaiting says that the device waits in Setup Assistant.
func (i *Intake) Activated(ctx context.Context, serial string, awaiting bool) (provision.Device, error) {
	return i.db.Update(ctx, serial, func(ctx context.Context, c *store.Change) error {
		if c.Device.Over() {
			return released(serial)
		}
		if c.Device.Activation.State != provision.Opened {
			return nil
		}
		return record(ctx, c, provision.Fact{
			Kind: provision.Activated, Epoch: c.Device.Activation.Epoch, AwaitingConfiguration: awaiting,
		})
	})
}

// CheckedOut records that the MDM profile was removed from a device. It ends the epoch, once.
func (i *Intake) CheckedOut(ctx context.Context, serial string) (provision.Device, error) {
	return i.db.Update(ctx, serial, func(ctx context.Context, c *store.Change) error {
		switch c.Device.Activation.State {
		case provision.NeverEnrolled, provision.Ended:
			return nil
		case provision.Opened, provision.Active:
		}
		if err := c.VoidCommands(ctx); err != nil {
			return err
		}
		return record(ctx, c, provision.Fact{Kind: provision.CheckedOut, Epoch: c.Device.Activation.Epoch})
	})
}

// CheckedIn records that a device was heard of that was taken off its server in Apple Business Manager, once: its status
// changes with that and not before (R55). Of any other device it records nothing.
func (i *Intake) CheckedIn(ctx context.Context, serial string) (provision.Device, error) {
	return i.db.Update(ctx, serial, func(ctx context.Context, c *store.Change) error {
		if !c.Device.AwaitsCheckIn() {
			return nil
		}
		return record(ctx, c, provision.Fact{Kind: provision.CheckedIn})
	})
}

// Answered takes a device's answer to a command into its plan. info may be nil. It fails with
// [provision.UnknownCommand].
func (i *Intake) Answered(ctx context.Context, commandUUID string, a provision.Answer, info *store.Information) (store.Outcome, error) {
	return i.db.Answer(ctx, commandUUID, a, info)
}
