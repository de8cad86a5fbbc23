package provision

import (
	"fmt"
	"strings"
	"time"
)

// Wait is one thing a device waits for.
type Wait struct {
	// For is a sentence; Since when it has been so; Who can end it.
	For   string    `json:"for"`
	Since time.Time `json:"since"`
	Who   string    `json:"who"`
	// Until is when Muster acts by itself, if it will.
	Until *time.Time `json:"until,omitempty"`
}

// Who can end a wait.
const (
	whoMuster     = "Muster"
	whoDevice     = "the device"
	whoHolder     = "the person who holds the device"
	whoTechnician = "a technician, with assign"
	whoOperator   = "an operator, with resume"
	whoReleaser   = "an operator, with release-from-setup"
	whoAdmin      = "an administrator: mend the item or the group, then retry"
	whoABM        = "an administrator of Apple Business Manager"
)

// Explain says what a device that isn't Enrolled waits for, since when and who can unblock it. It is empty only for
// devices that Muster released, for withdrawn ones and for Enrolled ones that nothing holds.
func (d Device) Explain(p Policy, now time.Time) []Wait {
	switch {
	case d.Ended():
		return nil
	case d.ReleasePending():
		return d.explainRelease(p, now)
	}
	waits := d.explainHeld(now)
	held := len(waits) > 0
	waits = append(waits, d.explainABM(now)...)
	waits = append(waits, d.explainLoan(now)...)
	switch d.Status() {
	case StatusAwaiting:
		waits = append(waits, d.explainAwaiting(p, now)...)
	case StatusProvisioning:
		if !held {
			waits = append(waits, d.explainProvisioning(p, now))
		}
	case StatusUnmanaged:
		waits = append(waits, Wait{For: "The management profile is gone from the device; it must be enrolled again.", Since: d.Activation.Ended.At, Who: whoHolder})
	case StatusDeprovisioned:
		waits = append(waits, d.explainDeprovisioned())
	case StatusUnassignPending:
		waits = append(waits, Wait{For: "The device was taken off this server in Apple Business Manager; it is Unassigned once it is heard of again: it must be switched on.", Since: d.ABMMark.At, Who: whoHolder})
	case StatusUnassigned:
		waits = append(waits, d.explainUnassigned())
	case StatusReleased:
		waits = append(waits, Wait{For: "The device was released in Apple Business Manager. Release it here, too, or add it there again.", Since: d.ABMMark.At, Who: "an administrator, with release"})
	case StatusEnrolled, StatusWithdrawn:
	}
	return waits
}

// ExplainItems says of each item that failed, and is missed, what the device or Muster said of it.
func ExplainItems(items []PlanItem) []Wait {
	var waits []Wait
	for _, it := range items {
		if it.State == Failed && it.Stage != BestEffort && it.Detail != "" {
			waits = append(waits, Wait{For: it.Key.String() + ": " + it.Detail, Since: it.UpdatedAt, Who: whoAdmin})
		}
	}
	return waits
}

// explainHeld names what keeps Muster from acting although it knows what to do.
func (d Device) explainHeld(now time.Time) []Wait {
	var waits []Wait
	if d.OnHold {
		waits = append(waits, Wait{For: sentence("The device is on hold", d.HoldReason), Since: d.HoldMark.At, Who: whoOperator})
	}
	if d.ABM.State == ABMConflict {
		waits = append(waits, Wait{For: d.explainConflict(), Since: d.ABMMark.At, Who: whoABM})
	}
	if d.InReview() {
		waits = append(waits, d.explainReview(now))
	}
	return waits
}

func (d Device) explainAwaiting(p Policy, now time.Time) []Wait {
	var waits []Wait
	if !d.Active() {
		w := Wait{For: AwaitingActivation + ": the device must be switched on, reach Apple and enroll.", Since: d.knownSince(), Who: whoHolder}
		if !d.listed() && !d.heardOf() {
			w.For += " So far only people have named its serial number: withdraw it if it is mistyped."
		}
		if d.Activation.State == Opened {
			w = Wait{For: AwaitingActivation + ": enrollment began; the device has not sent its push token yet.", Since: d.Activation.Opened.At, Who: whoDevice}
		}
		waits = append(waits, w)
	}
	if !d.Assignment.Complete() {
		waits = append(waits, d.explainAssignment())
	}
	if deadline := d.Deadline(p); d.InSetup() && d.MayAct() && now.Before(deadline) {
		waits = append(waits, Wait{For: "The device is held in Setup Assistant meanwhile.", Since: d.Activation.Activated.At, Who: whoTechnician, Until: &deadline})
	}
	if d.setupStuck() {
		waits = append(waits, d.explainSetupStuck())
	}
	if d.stuckNow() {
		waits = append(waits, Wait{For: sentence("Nothing goes on by itself", d.Stuck.Reason), Since: d.Stuck.At, Who: whoTechnician})
	}
	return waits
}

func (d Device) explainAssignment() Wait {
	w := Wait{For: AwaitingAssignment + ": nobody is assigned.", Since: d.knownSince(), Who: whoTechnician}
	if d.AssignmentMark.By > d.Withdrawal.By {
		w.Since = d.AssignmentMark.At
	}
	if d.Assignment != nil && len(d.Assignment.Groups) > 0 {
		w.For = fmt.Sprintf("%s: groups %s are kept, but no user or technician is given.", AwaitingAssignment, strings.Join(d.Assignment.Groups, ", "))
	}
	return w
}

func (d Device) explainProvisioning(p Policy, now time.Time) Wait {
	var until *time.Time
	if step := Next(d, p, now); step.Do == WaitForFacts && !step.Until.IsZero() {
		until = &step.Until
	}
	v := d.Verdict()
	switch {
	case d.stuckNow():
		return Wait{For: sentence("Provisioning can't go on by itself", d.Stuck.Reason), Since: d.Stuck.At, Who: whoAdmin}
	case d.setupStuck():
		return d.explainSetupStuck()
	case !d.PlanCurrent():
		return Wait{For: "What belongs on the device is being worked out and sent.", Since: d.wantedAt(), Who: whoMuster}
	case len(v.Failed) > 0:
		return Wait{For: fmt.Sprintf("Failed: %s. What failed is tried again.", strings.Join(v.Failed, ", ")), Since: d.VerdictAt(), Who: whoMuster, Until: until}
	case d.InSetup() && v.BeforeReleaseLeft > 0:
		return Wait{For: fmt.Sprintf("The device is held in Setup Assistant; %d more items must be on it before.", v.BeforeReleaseLeft), Since: d.Activation.Activated.At, Who: whoDevice, Until: until}
	case v.RequiredLeft == 0 && d.SetupLeft() && !d.InSetup():
		return Wait{For: "All required items are verified; the device has not left Setup Assistant yet.", Since: d.SetupReleased.At, Who: whoDevice, Until: until}
	case v.RequiredLeft == 0:
		return Wait{For: "All required items are verified; enrollment is being concluded.", Since: d.VerdictAt(), Who: whoMuster}
	}
	return Wait{For: fmt.Sprintf("%d of %d items are still to be installed and verified.", v.RequiredLeft, v.Total), Since: d.Plan.At, Who: whoDevice, Until: until}
}

func (d Device) wantedAt() time.Time {
	newest := Mark{}
	for _, m := range []Mark{d.Activation.Activated, d.AssignmentMark, d.Catalog, d.Retry} {
		if m.By > newest.By {
			newest = m
		}
	}
	return newest.At
}

func sentence(text, reason string) string {
	if reason == "" {
		return text + "."
	}
	return text + ": " + strings.TrimSuffix(reason, ".") + "."
}
