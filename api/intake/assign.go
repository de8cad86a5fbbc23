package intake

import (
	"context"
	"reflect"

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
}

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
		out.Changed, out.Reservation = false, c.Device.Known.By == 0 // it may be run again
		if err := c.Device.CheckChange(); err != nil {
			return err
		}
		if err := condition.Check(AssignmentVersion(c.Device)); err != nil {
			return err
		}
		if c.Device.Assignment != nil && reflect.DeepEqual(*c.Device.Assignment, a) {
			return nil
		}
		out.Changed = true
		fact := by.fact(provision.Assigned)
		fact.Assignment = &a
		_, err := c.Record(ctx, fact)
		return err
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

// Unassign takes user and groups away from a device, which stays managed; without an assignment nothing is recorded.
func (i *Intake) Unassign(ctx context.Context, by Actor, serial string, condition store.Condition) (provision.Device, error) {
	return i.update(ctx, serial, func(ctx context.Context, c *store.Change) error {
		if err := condition.Check(AssignmentVersion(c.Device)); err != nil {
			return err
		}
		if c.Device.Assignment == nil {
			return nil
		}
		_, err := c.Record(ctx, by.fact(provision.Unassigned))
		return err
	})
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
