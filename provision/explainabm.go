package provision

import (
	"fmt"
	"time"
)

const whoCanceller = "an administrator, with cancel-release"

// explainRelease says how far a release is that was asked for.
func (d Device) explainRelease(p Policy, now time.Time) []Wait {
	due := d.ReleaseDue(p)
	w := Wait{For: "The release was asked for and is being carried out.", Since: d.ReleaseAsked.At, Who: whoMuster}
	switch r := d.ABMRelease; {
	case now.Before(due):
		w.For, w.Who, w.Until = "The release was asked for and is carried out when the time to cancel it is over.", whoCanceller, &due
	case d.ABM.State == ABMConflict:
		w.For, w.Who = "The release was asked for, but two servers claim the device: "+d.explainConflict(), whoABM
	case d.blockedByABM():
		return []Wait{w, d.explainBlock()}
	case !r.pending(d.ReleaseAsked):
	case r.Answered.By < r.Asked.By:
		w.For = "Apple is being asked to release the device."
	case r.Outcome == ABMGuided:
		w.For, w.Who = sentence("The device must be released in Apple Business Manager: open it there by its serial number and choose Release; the next sync confirms it", r.Result), whoABM
	case r.Outcome == ABMRetrying:
		w.For, w.Until = sentence("Apple did not release the device and is asked again", r.Result), coming(r.Until, now)
	}
	return []Wait{w}
}

// explainABM names what the device waits for on Apple's side.
func (d Device) explainABM(now time.Time) []Wait {
	var waits []Wait
	if d.blockedByABM() {
		waits = append(waits, d.explainBlock())
	}
	if d.UnassignWanted() {
		waits = append(waits, d.explainUnassign(now))
	}
	if r := d.ABMProfile; d.WaitsForABM() && r.Outcome == ABMRetrying {
		waits = append(waits, Wait{
			For:   sentence(fmt.Sprintf("The device profile %q is not assigned to the device at Apple, so it would set up unmanaged; Apple's answer", r.Profile), r.Result),
			Since: r.Answered.At, Who: whoMuster, Until: coming(r.Until, now),
		})
	}
	if d.ABM.State == ABMMissing {
		waits = append(waits, Wait{
			For:   fmt.Sprintf("Apple Business Manager server %q no longer lists the device; whether it was unassigned or released is being found out.", d.ABM.Server),
			Since: d.ABMMark.At, Who: whoMuster,
		})
	}
	return waits
}

func (d Device) explainBlock() Wait {
	what, who := d.ABMBlock.Cause.Explain(d.ABMBlock.Server)
	return Wait{For: what, Since: d.ABMBlock.At, Who: who}
}

// coming is a time that is not over yet: what is due already promises nothing.
func coming(until *time.Time, now time.Time) *time.Time {
	if until == nil || !until.After(now) {
		return nil
	}
	return until
}

func (d Device) explainUnassign(now time.Time) Wait {
	w := Wait{For: "The device is being taken off this MDM server in Apple Business Manager.", Since: d.UnassignAsked.At, Who: whoMuster}
	switch r := d.ABMUnassign; {
	case r.Asked.By < d.UnassignAsked.By:
	case !r.pending(d.UnassignAsked):
		w.For = "Apple took the device off this MDM server; the next sync confirms it."
	case r.Answered.By < r.Asked.By:
	case r.Outcome == ABMGuided:
		w.For, w.Who = sentence("The device must be taken off this MDM server in Apple Business Manager: open it there by its serial number and choose Unassign; the next sync confirms it", r.Result), whoABM
	case r.Outcome == ABMRetrying:
		w.For, w.Until = sentence("Apple did not take the device off this MDM server and is asked again", r.Result), coming(r.Until, now)
	}
	return w
}

func (d Device) explainUnassigned() Wait {
	w := Wait{For: "The device was taken off this server in Apple Business Manager; assign it there to this server again to use it.", Since: d.ABMMark.At, Who: whoABM}
	switch {
	case d.ABM.State == ABMReleased:
		w.For, w.Who = "The device was released in Apple Business Manager, but its management profile is still there: erase it or remove the profile.", whoHolder
	case d.Active():
		w.For = "The device was taken off this server in Apple Business Manager and is still managed; assign it there again, or remove its management."
	}
	return w
}

func (d Device) explainConflict() string {
	if d.ABM.Other == "" {
		return "Another Apple Business Manager server still claims the device."
	}
	return fmt.Sprintf("Apple Business Manager servers %q and %q both list the device; it must be taken off the one that it doesn't belong to, and goes on by itself then.",
		d.ABM.Server, d.ABM.Other)
}
