package intake

import (
	"context"
	"time"

	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/store"
)

// AssignmentWish is who and what a device shall be for, as people say it.
type AssignmentWish struct {
	User *provision.Person
	// Technician is named by Name and Domain.
	Technician *provision.Person
	Groups     []string
	// OwnedBy is [provision.Corporate] (default) or [provision.Personal].
	OwnedBy string
	// EffectiveAt is when the assignment comes into force, ReturnBy when a loan ends; nil = now, and never.
	EffectiveAt, ReturnBy *time.Time
	// ExpectedBy is the day by which a device that isn't there yet shall be; nil leaves it as it is.
	ExpectedBy *time.Time
}

// AssignmentTimeInvalid is the code of assignments for a time that makes no sense.
const AssignmentTimeInvalid provision.Code = "assignment_time_invalid"

// LongestAhead bounds how far away the times of an assignment may be.
const LongestAhead = 5 * 365 * 24 * time.Hour

// Assigned tells what an assignment led to.
type Assigned struct {
	Device provision.Device
	// Changed is false when the device was assigned like this already; then nothing was recorded.
	Changed bool
	// Reservation: the device was not known before (R43).
	Reservation bool
}

// Assign assigns a device, all of it or nothing (R18, R19, R25). A device that is not known becomes a reservation. The
// condition is on the assignment's version, the id of the fact that made it.
func (i *Intake) Assign(ctx context.Context, by Actor, serial string, w AssignmentWish, condition store.Condition) (Assigned, error) {
	serial, err := provision.ParseSerial(serial)
	if err != nil {
		return Assigned{}, err
	}
	wish, err := i.check(w)
	if err != nil {
		return Assigned{}, err
	}
	var out Assigned
	out.Device, err = i.db.Assign(ctx, serial, wish, func(ctx context.Context, c *store.Change, a provision.Assignment) error {
		out.Changed, out.Reservation = false, c.Device.Unknown() // it may be run again
		if err := condition.Check(AssignmentVersion(c.Device)); err != nil {
			return err
		}
		facts, err := c.Device.AskAssign(a)
		if err != nil {
			return err
		}
		out.Changed = len(facts) > 0
		if w.ExpectedBy != nil {
			c.Expect(*w.ExpectedBy)
		}
		return by.record(ctx, c, facts)
	})
	return out, err
}

// AssignmentVersion is the version of a device's assignment; 0 = it has none.
func AssignmentVersion(d provision.Device) int64 {
	if d.Assignment == nil {
		return 0
	}
	return d.AssignmentMark.By
}

func (i *Intake) check(w AssignmentWish) (store.Wish, error) {
	wish := store.Wish{OwnedBy: w.OwnedBy, Requirement: i.settings.AssignmentRequirement}
	if err := i.checkTimes(w, &wish); err != nil {
		return wish, err
	}
	switch w.OwnedBy {
	case "":
		wish.OwnedBy = provision.Corporate
	case provision.Corporate, provision.Personal:
	default:
		return wish, provision.Errorf(provision.Invalid, "%.40q is no owner; take %s or %s.", w.OwnedBy, provision.Corporate, provision.Personal).At("owned_by")
	}
	if w.User == nil && w.Technician == nil && len(w.Groups) == 0 {
		return wish, provision.Errorf(provision.AssignmentEmpty, "The assignment names neither user nor technician nor group.")
	}
	if w.User != nil {
		user, err := provision.CheckPerson(*w.User)
		if err != nil {
			return wish, within("user", err)
		}
		wish.User = &user
	}
	if w.Technician != nil {
		technician, err := checkAccount(*w.Technician)
		if err != nil {
			return wish, within("technician", err)
		}
		wish.Technician = &technician
	}
	for n, group := range w.Groups {
		name, err := provision.CheckGroupName(group)
		if err != nil {
			return wish, atIndex("groups", n, err)
		}
		wish.Groups = append(wish.Groups, name)
	}
	return wish, nil
}

// checkTimes takes the times of an assignment over, to the second.
func (i *Intake) checkTimes(w AssignmentWish, wish *store.Wish) error {
	now := i.db.Now()
	begin := now
	if w.EffectiveAt != nil {
		at := w.EffectiveAt.UTC().Truncate(time.Second)
		if !at.After(now) || at.After(now.Add(LongestAhead)) {
			return provision.Errorf(AssignmentTimeInvalid, "An assignment for later must come into force in the future, within five years.").At("effective_at")
		}
		wish.EffectiveAt, begin = &at, at
	}
	if w.ReturnBy != nil {
		by := w.ReturnBy.UTC().Truncate(time.Second)
		if !by.After(begin) || by.After(now.Add(LongestAhead)) {
			return provision.Errorf(AssignmentTimeInvalid, "A device must be due back after its assignment begins, within five years.").At("return_by")
		}
		wish.ReturnBy = &by
	}
	return nil
}

// Unassign takes user and groups away from a device, which stays managed, and an assignment for later; without either
// nothing is recorded.
func (i *Intake) Unassign(ctx context.Context, by Actor, serial string, condition store.Condition) (provision.Device, error) {
	return i.update(ctx, serial, func(ctx context.Context, c *store.Change) error {
		if err := condition.Check(AssignmentVersion(c.Device)); err != nil {
			return err
		}
		facts, err := c.Device.AskUnassign()
		if err != nil {
			return err
		}
		return by.record(ctx, c, facts)
	})
}

// Deprovision ends a device's management, for a reason and in a way of [provision.CheckDeprovision]; unless it is away for
// repair, it is unassigned, too. Asking twice is asking once. It fails with [provision.DeviceNotManaged].
func (i *Intake) Deprovision(ctx context.Context, by Actor, serial, reason, way string) (provision.Device, error) {
	if err := provision.CheckDeprovision(reason, way); err != nil {
		return provision.Device{}, err
	}
	return i.ask(ctx, by, serial, func(d provision.Device) ([]provision.Fact, error) { return d.AskDeprovision(reason, way) })
}

// Withdraw takes a serial number back that only people ever named. Asking twice is asking once. It fails as
// [provision.Device.AskWithdraw] does.
func (i *Intake) Withdraw(ctx context.Context, by Actor, serial string) (provision.Device, error) {
	return i.ask(ctx, by, serial, provision.Device.AskWithdraw)
}

// Review decides for whom a device is that somebody else signed in on. It fails with [provision.NotInReview].
func (i *Intake) Review(ctx context.Context, by Actor, serial string, choice provision.ReviewChoice) (provision.Device, error) {
	serial, err := provision.ParseSerial(serial)
	if err != nil {
		return provision.Device{}, err
	}
	return i.db.Update(ctx, serial, func(ctx context.Context, c *store.Change) error {
		facts, err := c.Device.AskReview(choice)
		if err != nil {
			return err
		}
		return by.recordBy(ctx, facts, c.RecordLate) // the sign-in may be of yesterday
	})
}

// rule says which facts a request amounts to for a device.
type rule func(provision.Device) ([]provision.Fact, error)

// ask records what a rule makes of a request about a device.
func (i *Intake) ask(ctx context.Context, by Actor, serial string, r rule) (provision.Device, error) {
	serial, err := provision.ParseSerial(serial)
	if err != nil {
		return provision.Device{}, err
	}
	return i.db.Update(ctx, serial, by.asks(r))
}

func (a Actor) asks(r rule) func(context.Context, *store.Change) error {
	return func(ctx context.Context, c *store.Change) error {
		facts, err := r(c.Device)
		if err != nil {
			return err
		}
		return a.record(ctx, c, facts)
	}
}

// record records facts by this actor.
func (a Actor) record(ctx context.Context, c *store.Change, facts []provision.Fact) error {
	return a.recordBy(ctx, facts, c.Record)
}

func (a Actor) recordBy(ctx context.Context, facts []provision.Fact, record func(context.Context, provision.Fact) (provision.Fact, error)) error {
	for _, f := range facts {
		f.Actor = a.ID
		if f.Source == "" {
			f.Source = a.Source
		}
		if _, err := record(ctx, f); err != nil {
			return err
		}
	}
	return nil
}

// update changes a device that is known, and neither released nor about to be.
func (i *Intake) update(ctx context.Context, serial string, change func(context.Context, *store.Change) error) (provision.Device, error) {
	serial, err := provision.ParseSerial(serial)
	if err != nil {
		return provision.Device{}, err
	}
	return i.db.Update(ctx, serial, func(ctx context.Context, c *store.Change) error {
		if err := c.Device.CheckChange(); err != nil {
			return err
		}
		return change(ctx, c)
	})
}
