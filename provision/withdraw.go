package provision

import "time"

// NotWithdrawable is the code of devices that more than people know of, so that they can't be withdrawn.
const NotWithdrawable Code = "device_not_withdrawable"

// foldWithdrawn takes back what people said of the serial number so far: for whom it is, and that it is held.
func (d *Device) foldWithdrawn(f Fact) {
	d.Withdrawal.newer(f)
	d.foldAssignment(f)
	if d.HoldMark.newer(f) {
		d.OnHold, d.HoldReason = false, ""
	}
}

// Withdrawn reports whether the serial number was taken back, and neither assigned nor registered since. A device that
// Apple Business Manager listed or that spoke for itself, whenever that was, is there whatever people say.
func (d Device) Withdrawn() bool {
	return d.Withdrawal.set() && d.Withdrawal.By >= max(d.PlannedMark.By, d.Registered.By) && !d.listed() && !d.heardOf()
}

// listed reports whether an Apple Business Manager server ever listed the device.
func (d Device) listed() bool { return d.ABMMark.set() }

// heardOf reports whether the device ever spoke for itself: it enrolled, or began to, or somebody signed in on it.
func (d Device) heardOf() bool {
	return d.Activation.Epoch > 0 || d.AssignedFor > 0 || d.Review.set()
}

// knownSince is when the device became known; of one that was withdrawn before, the oldest that is kept of its life since.
func (d Device) knownSince() time.Time {
	oldest := d.Known
	for _, m := range []Mark{d.Registered, d.PlannedMark, d.AssignmentMark, d.ABMMark, d.Activation.Opened, d.Activation.Activated} {
		if m.By > d.Withdrawal.By && oldest.By <= d.Withdrawal.By || m.By > d.Withdrawal.By && m.By < oldest.By {
			oldest = m
		}
	}
	return oldest.At
}

// Unknown reports whether nobody knows the device: nothing was ever recorded of it, or it was withdrawn since.
func (d Device) Unknown() bool { return !d.Known.set() || d.Withdrawn() }

// Ended reports whether the device's life here is over, so that no workflow should run for it: for good ([Device.Over]), or
// until it is assigned or registered again or turns up ([Device.Withdrawn]).
func (d Device) Ended() bool { return d.Over() || d.Withdrawn() }

// AskWithdraw takes a serial number back that only people ever named, by assigning or registering it: one that was mistyped, say.
// It fails with [NotWithdrawable] when Apple Business Manager listed the device or it was heard of, and with [DeviceReleased] and
// [ReleasePending].
func (d Device) AskWithdraw() ([]Fact, error) {
	if d.Withdrawn() {
		return nil, nil
	}
	if err := d.CheckAssign(); err != nil {
		return nil, err
	}
	switch {
	case d.listed():
		return nil, Errorf(NotWithdrawable, "Device %s can't be withdrawn: Apple Business Manager lists it, or did. Unassign it to take user and groups away, or release it at the end of its life.", d.Serial)
	case d.heardOf():
		return nil, Errorf(NotWithdrawable, "Device %s can't be withdrawn: it enrolled, or somebody signed in on it. Unassign it to take user and groups away, or release it at the end of its life.", d.Serial)
	}
	return []Fact{{Kind: Withdrawn}}, nil
}
