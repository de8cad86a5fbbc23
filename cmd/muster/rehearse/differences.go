package rehearse

import (
	"fmt"
	"maps"
	"slices"

	"github.com/muster-mdm/muster/api/client"
	"github.com/muster-mdm/muster/sim"
)

// differences compares what the API says of a device, and what the device itself holds, with the model.
func differences(want Expected, got client.Device, device sim.Snapshot) []string {
	var wrong []string
	differs := func(what string, want, got any) {
		if fmt.Sprint(want) != fmt.Sprint(got) {
			wrong = append(wrong, fmt.Sprintf("%s is %v instead of %v", what, got, want))
		}
	}
	differs("status", want.Status, got.Status)
	differs("labels", want.Labels, got.Labels)
	differs("management", want.Management, got.Management)
	differs("epoch", want.Epoch, got.Epoch)
	blocked := ""
	if got.BlockedBy != nil {
		blocked = string(*got.BlockedBy)
	}
	differs("blocked_by", want.BlockedBy, blocked)
	if want.Status == statusReleased {
		return wrong // what the device still does is nobody's business
	}
	differs("enrolled on the device", want.Management == managed, device.Enrolled)
	differs("held in Setup Assistant", false, device.AwaitingConfiguration)
	if want.Holds == nil || !device.Enrolled {
		return wrong
	}
	have := held(device)
	for _, identifier := range slices.Sorted(maps.Keys(want.Holds)) {
		differs(identifier+" on the device", want.Holds[identifier], have[identifier])
	}
	return wrong
}

// held are the identifiers of the profiles, and of the apps and documents that are completely installed.
func held(s sim.Snapshot) map[string]bool {
	have := map[string]bool{}
	for _, p := range s.Profiles {
		have[p.Identifier] = true
	}
	for _, a := range s.Apps {
		have[a.BundleID] = a.State == "Managed"
	}
	for _, b := range s.Media {
		have[contentKey(b.Content)] = b.State == "Managed"
	}
	return have
}
