package provision

import "time"

// Ways of deprovisioning.
const (
	// RemoveManagement takes the management profile, and with it all that it brought, off the device.
	RemoveManagement = "remove_management"
	// Erase erases the device.
	Erase = "erase"
)

// Reasons for deprovisioning (R56).
const (
	ForRepair    = "repair"
	EmployeeLeft = "employee_left"
	Retire       = "retire"
	InStock      = "in_stock"
)

// DeprovisionItem is the builtin item that the command is about by which a device is deprovisioned.
const DeprovisionItem = "deprovision"

// CheckDeprovision fails with [DeprovisionInvalid] when the reason or the way isn't one of those above.
func CheckDeprovision(reason, way string) error {
	switch reason {
	case ForRepair, EmployeeLeft, Retire, InStock:
	default:
		return Errorf(DeprovisionInvalid, "A device is deprovisioned for %s, %s, %s or %s, not %.40q.", ForRepair, EmployeeLeft, Retire, InStock, reason).At("reason")
	}
	if way != RemoveManagement && way != Erase {
		return Errorf(DeprovisionInvalid, "A device is deprovisioned by %s or %s, not %.40q.", RemoveManagement, Erase, way).At("by")
	}
	return nil
}

func (d *Device) foldDeprovision(f Fact) {
	switch f.Kind {
	case Deprovision:
		if d.Deprovision.within(f) {
			d.DeprovisionBy = f.Choice
		}
	case DeprovisionSent:
		d.DeprovisionSent.within(f)
	case DeprovisionRefused:
		if d.DeprovisionRefused.within(f) {
			d.DeprovisionRefusals = f.Round
		}
	}
}

// Deprovisioned reports whether the device's management was ended by an operator, from when he said so (R56) until it
// enrolls anew.
func (d Device) Deprovisioned() bool {
	return d.Deprovision.set() && d.Deprovision.Epoch == d.Activation.Epoch && !d.Over()
}

// deprovisioning reports whether the device has not done yet what deprovisions it.
func (d Device) deprovisioning() bool { return d.Deprovisioned() && d.Active() }

// nextDeprovision sends the command, and once more some time after the device refused it.
func nextDeprovision(d Device, p Policy, now time.Time) Step {
	sent := d.DeprovisionSent
	if !sent.set() || sent.Epoch != d.Activation.Epoch || sent.By < d.Deprovision.By {
		return Step{Do: SendDeprovision, Reason: d.Deprovision.Reason}
	}
	refused := d.DeprovisionRefused
	if !refused.set() || refused.By < sent.By || len(p.NudgeAfter) == 0 {
		return Step{Do: WaitForFacts}
	}
	at := refused.At.Add(p.NudgeAfter[min(d.DeprovisionRefusals, len(p.NudgeAfter))-1])
	if now.Before(at) {
		return Step{Do: WaitForFacts, Until: at}
	}
	return Step{Do: SendDeprovision, Reason: "The device refused it before."}
}

// DeprovisionCommand is the command by which the device is deprovisioned; managementIdentifier is that of the enrollment
// profile.
func (d Device) DeprovisionCommand(managementIdentifier string, attempt int) Command {
	c := Command{Type: EraseDevice, Item: ItemKey{Kind: BuiltinItem, Name: DeprovisionItem}, Attempt: attempt}
	if d.DeprovisionBy == RemoveManagement {
		c.Type, c.Identifier = RemoveProfile, managementIdentifier
	}
	return c
}

// DeprovisionAnswer returns the fact that an answer to that command amounts to, if there is news in it.
func (d Device) DeprovisionAnswer(a Answer) (Fact, bool) {
	if a.Command.Item.Name != DeprovisionItem || a.Command.Item.Kind != BuiltinItem || !a.Status.Final() || !d.deprovisioning() {
		return Fact{}, false
	}
	f := Fact{Kind: CheckedOut, Epoch: d.Activation.Epoch, Source: FromDevice}
	if a.Status != AnswerAcknowledged {
		round := 1
		if d.DeprovisionRefused.Epoch == f.Epoch {
			round += d.DeprovisionRefusals
		}
		f.Kind, f.Reason, f.Round = DeprovisionRefused, refusal(a), round
	}
	return f, true
}

func (d Device) explainDeprovisioned() Wait {
	if !d.Active() {
		return Wait{For: sentence("The device is deprovisioned", d.Deprovision.Reason), Since: d.Deprovision.At, Who: "the person who holds the device: enroll it again to use it"}
	}
	w := Wait{For: "The device is deprovisioned here and has not carried it out yet; it must be switched on.", Since: d.Deprovision.At, Who: whoDevice}
	if r := d.DeprovisionRefused; r.set() && r.By > d.DeprovisionSent.By {
		w.For, w.Since = sentence("The device refuses to be deprovisioned and is told again", r.Reason), r.At
	}
	return w
}
