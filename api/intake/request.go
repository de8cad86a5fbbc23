package intake

import (
	"context"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/store"
)

// NotInSetup is the code of requests about a hold in Setup Assistant that a device is not in.
const NotInSetup provision.Code = "device_not_in_setup"

// InSetup is the code of requests that a device must not be held in Setup Assistant for.
const InSetup = provision.InSetup

// LongestHoldReason is how many characters the reason of a hold may have: it travels in signals and is shown in one line.
const LongestHoldReason = 200

// LongestSetupHold bounds how far away the end of a hold in Setup Assistant may be put.
const LongestSetupHold = 30 * 24 * time.Hour

// Register makes a device known that nobody lists, with what is known of it. It fails with [provision.AlreadyExists],
// or as [provision.Device.CheckAssign] does.
func (i *Intake) Register(ctx context.Context, by Actor, serial string, info store.Information) (provision.Device, error) {
	serial, err := provision.ParseSerial(serial)
	if err != nil {
		return provision.Device{}, err
	}
	return i.db.UpdateOrCreate(ctx, serial, func(ctx context.Context, c *store.Change) error {
		if err := c.Device.CheckAssign(); err != nil {
			return err
		}
		if !c.Device.Unknown() {
			return provision.Errorf(provision.AlreadyExists, "Device %s is known already.", serial)
		}
		if _, err := c.Record(ctx, by.fact(provision.Registered)); err != nil {
			return err
		}
		return c.SaveInformation(ctx, info)
	})
}

// Hold has Muster send a device nothing new. The reason, of [LongestHoldReason] characters at most, is shown to everybody;
// holding for the same reason again records nothing.
func (i *Intake) Hold(ctx context.Context, by Actor, serial, reason string) (provision.Device, error) {
	reason = strings.TrimSpace(reason)
	if reason == "" {
		return provision.Device{}, provision.Errorf(provision.Invalid, "Give a reason for the hold.").At("reason")
	}
	if utf8.RuneCountInString(reason) > LongestHoldReason {
		return provision.Device{}, provision.Errorf(provision.Invalid, "The reason for the hold is longer than %d characters.", LongestHoldReason).At("reason")
	}
	return i.update(ctx, serial, func(ctx context.Context, c *store.Change) error {
		if c.Device.OnHold && c.Device.HoldReason == reason {
			return nil
		}
		fact := by.fact(provision.HoldRequest)
		fact.Reason = reason
		_, err := c.Record(ctx, fact)
		return err
	})
}

// Resume ends a hold; without one nothing is recorded.
func (i *Intake) Resume(ctx context.Context, by Actor, serial string) (provision.Device, error) {
	return i.update(ctx, serial, func(ctx context.Context, c *store.Change) error {
		if !c.Device.OnHold {
			return nil
		}
		_, err := c.Record(ctx, by.fact(provision.ResumeRequest))
		return err
	})
}

// ReleaseFromSetup asks for a device to be let out of Setup Assistant now, or once more if it didn't leave when it was told
// to. It fails with [NotInSetup].
func (i *Intake) ReleaseFromSetup(ctx context.Context, by Actor, serial string) (provision.Device, error) {
	return i.update(ctx, serial, func(ctx context.Context, c *store.Change) error {
		d := c.Device
		if !d.SetupLeft() {
			return notInSetup(d)
		}
		if d.SetupAskedFor() {
			return nil
		}
		fact := by.fact(provision.ReleaseFromSetup)
		fact.Epoch = d.Activation.Epoch
		_, err := c.Record(ctx, fact)
		return err
	})
}

// ExtendHold changes when a device's time in Setup Assistant is up. It fails with [NotInSetup], and with
// [provision.Invalid] when the time is past or more than [LongestSetupHold] away.
func (i *Intake) ExtendHold(ctx context.Context, by Actor, serial string, until time.Time) (provision.Device, error) {
	until = until.UTC().Truncate(time.Second)
	return i.update(ctx, serial, func(ctx context.Context, c *store.Change) error {
		d := c.Device
		switch {
		case !until.After(c.Now()):
			return provision.Errorf(provision.Invalid, "The new end of the hold is not in the future.").At("until")
		case until.After(c.Now().Add(LongestSetupHold)):
			return provision.Errorf(provision.Invalid, "The new end of the hold is more than 30 days away.").At("until")
		case !d.InSetup():
			return notInSetup(d)
		}
		fact := by.fact(provision.ExtendHold)
		fact.Epoch, fact.Until = d.Activation.Epoch, &until
		_, err := c.Record(ctx, fact)
		return err
	})
}

func notInSetup(d provision.Device) error {
	return provision.Errorf(NotInSetup, "Device %s is not held in Setup Assistant.", d.Serial)
}

// Retry has a device's failed items tried again, now and as often as at first. It fails with
// [provision.DeviceNotManaged].
func (i *Intake) Retry(ctx context.Context, by Actor, serial string) (provision.Device, error) {
	return i.update(ctx, serial, func(ctx context.Context, c *store.Change) error {
		if !c.Device.Active() {
			return provision.Errorf(provision.DeviceNotManaged, "Device %s is not enrolled into MDM, so nothing of it can be tried again.", c.Device.Serial)
		}
		fact := by.fact(provision.RetryItem)
		fact.Epoch = c.Device.Activation.Epoch
		_, err := c.Record(ctx, fact)
		return err
	})
}
