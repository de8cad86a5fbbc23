package intake

import (
	"context"

	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/store"
)

// Give gives a device what signing in on it is rewarded with, as a part of the change; an error undoes the sign-in.
type Give func(context.Context, *store.Change) error

// SignedIn takes it that somebody signed in on a device during setup: the device is for them from now on, or what else the policy
// of its server says (R49, R53), and gives what it takes to enroll, all of it or nothing. epoch is the enrollment that the
// device had when they began. It returns the fact that was recorded, if any, and fails with [provision.SignInExpired] when the
// device enrolled meanwhile.
func (i *Intake) SignedIn(ctx context.Context, serial string, epoch int, id Identified, give Give) (recorded provision.Kind, err error) {
	wish, err := i.signedInWish(id)
	if err != nil {
		return "", err
	}
	_, err = i.db.SignIn(ctx, serial, wish, func(ctx context.Context, c *store.Change, s provision.SignedIn, p provision.SignInPolicy) error {
		recorded = "" // it may be run again
		if c.Device.Activation.Epoch != epoch {
			return provision.Errorf(provision.SignInExpired, "The device was set up meanwhile. Go back, and begin again.")
		}
		d := c.Device
		if i.settings.UnassignAtReenrollment {
			d = d.ChangingHands()
		}
		if f, some := d.SignInFact(s, p, c.Now()); some {
			f.Actor, f.Source = s.UserID, provision.FromSignIn
			if _, err := c.Record(ctx, f); err != nil {
				return err
			}
			recorded = f.Kind
		}
		return give(ctx, c)
	})
	return recorded, err
}

// signedInWish is the assignment that the directory's word leads to: the person, and the groups that theirs bring.
func (i *Intake) signedInWish(id Identified) (store.Wish, error) {
	p, err := provision.CheckPerson(provision.Person{Name: id.Person.Name, Domain: id.Person.Domain, Email: id.Person.Email})
	if err != nil {
		return store.Wish{}, provision.Errorf(provision.EmailMissing, "The directory has no proper e-mail address for you. Ask your administrator to enter it.")
	}
	return store.Wish{User: &p, Groups: id.Groups(), OwnedBy: provision.Corporate, Requirement: i.settings.AssignmentRequirement}, nil
}
