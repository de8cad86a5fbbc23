package activities

import (
	"fmt"

	"github.com/muster-mdm/muster/provision"
)

// checkByHand returns an operator's own fact with nothing in it but what belongs to its kind. It refuses what only a
// device can say, because a device that isn't there can't be provisioned.
func checkByHand(f provision.Fact) (provision.Fact, error) {
	clean := provision.Fact{Kind: f.Kind, Actor: f.Actor, Source: provision.FromOperator}
	if clean.Actor == "" {
		clean.Actor = "operator"
	}
	var err error
	switch f.Kind {
	case provision.Unassigned, provision.CatalogChanged, provision.RetryItem, provision.ResumeRequest, provision.ReleaseFromSetup,
		provision.CheckedOut, provision.CancelRelease, provision.UnassignFromMDM, provision.SignInReviewed:
	case provision.HoldRequest:
		clean.Reason = f.Reason
	case provision.Deprovision:
		clean.Reason, clean.Choice = f.Reason, f.Choice
		err = provision.CheckDeprovision(f.Reason, f.Choice)
	case provision.ABMSeen, provision.ABMGone:
		clean.ABM = f.ABM
		if f.ABM == nil || f.ABM.State == provision.ABMUnknown {
			err = provision.Errorf(provision.Invalid, "%s says nothing of Apple Business Manager: give abm.server and abm.state.", f.Kind)
		}
	case provision.Assigned:
		clean.Assignment, err = checkAssignment(f.Assignment)
	case provision.ReleaseRequest:
		clean.Reason = f.Reason
		if f.Reason != "end_of_life" && f.Reason != "permanently_damaged" {
			err = provision.Errorf(provision.ReleaseReason, "A release needs the reason end_of_life or permanently_damaged, not %q.", f.Reason)
		}
	case provision.ExtendHold:
		clean.Until = f.Until
		if f.Until == nil {
			err = provision.Errorf(provision.Invalid, "extend_hold needs a new deadline: give until.")
		}
	case provision.Activated, provision.Authenticated, provision.Settled, provision.Registered, provision.Provisioning,
		provision.SetupReleased, provision.SetupFinished, provision.SetupRefused, provision.Enrolled, provision.Stuck, provision.Nudged, provision.Released,
		provision.CheckedIn, provision.ABMAsked, provision.ABMAnswered, provision.ABMBlocked, provision.IdentityRenewed,
		provision.SignInHeld, provision.DeprovisionSent, provision.DeprovisionRefused, provision.Reminded,
		provision.DeviceProfileChosen, provision.Withdrawn:
		err = provision.Errorf(provision.Invalid, "%s can't be signalled by hand: only the device or Muster itself can tell it.", f.Kind)
	default:
		err = provision.Errorf(provision.Invalid, "%q is no fact that Muster knows.", fmt.Sprintf("%.40s", f.Kind))
	}
	return clean, err
}

func checkAssignment(a *provision.Assignment) (*provision.Assignment, error) {
	if a == nil || a.UserID == "" && a.TechnicianID == "" && len(a.Groups) == 0 {
		return nil, provision.Errorf(provision.AssignmentEmpty, "The assignment names neither a user, nor a technician, nor a group.")
	}
	checked := *a
	checked.Groups = nil
	for _, name := range a.Groups {
		name, err := provision.CheckGroupName(name)
		if err != nil {
			return nil, err
		}
		checked.Groups = append(checked.Groups, name)
	}
	return &checked, nil
}
