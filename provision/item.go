package provision

import (
	"slices"
	"time"
)

// ItemKind is what an item is.
type ItemKind string

// Kinds of items. Builtin ones belong to every plan.
const (
	ConfigurationItem ItemKind = "configuration"
	AppItem           ItemKind = "app"
	DocumentItem      ItemKind = "document"
	BuiltinItem       ItemKind = "builtin"
)

// Builtin items.
const (
	// ManagementProfile is verified by ProfileList: the MDM profile is on the device (R75).
	ManagementProfile = "management_profile"
	// DeviceInformation asks the device about itself once per plan; it never holds anything up.
	DeviceInformation = "device_information"
	// SetupRelease is the DeviceConfigured command.
	SetupRelease = "setup_release"
	// IdentityRenewal is the InstallProfile of an enrollment profile by which the device gets a new certificate. It belongs
	// to no plan.
	IdentityRenewal = "identity_renewal"
)

// Stage says how much an item matters.
type Stage string

// Stages, strictest first: before_release holds the device in Setup Assistant, required holds "Enrolled", best_effort
// holds nothing.
const (
	BeforeRelease Stage = "before_release"
	Required      Stage = "required"
	BestEffort    Stage = "best_effort"
)

var stageRank = map[Stage]int{BeforeRelease: 0, Required: 1, BestEffort: 2}

// ValidStage reports whether s is a stage.
func ValidStage(s Stage) bool { _, ok := stageRank[s]; return ok }

// ItemKey names an item within a plan.
type ItemKey struct {
	Kind ItemKind `json:"kind"`
	Name string   `json:"name"`
}

// String returns kind/name, as people and the database see it.
func (k ItemKey) String() string { return string(k.Kind) + "/" + k.Name }

// Item is something a group brings.
type Item struct {
	Key   ItemKey `json:"key"`
	Stage Stage   `json:"stage"`
	// Version of the configuration, app or document; a newer one is installed over the older.
	Version int `json:"version"`
	// Identifier is the payload identifier of a configuration, the bundle identifier of an app or the persistent identifier
	// of a document.
	Identifier string `json:"identifier,omitempty"`
	// DependsOn are items that must be verified before this one is sent.
	DependsOn []ItemKey `json:"depends_on,omitempty"`
	// Groups say where the item comes from.
	Groups []string `json:"groups,omitempty"`
}

// ItemState is where an item stands on one device.
type ItemState string

// States of an item on a device:
//
//	pending → sent → acknowledged → verified
//	            └──────────┴──────▶ failed → (tried again) pending
//	(no longer wanted) remove_pending → removing → removed
const (
	Pending       ItemState = "pending"
	Sent          ItemState = "sent"
	Acknowledged  ItemState = "acknowledged"
	Verified      ItemState = "verified"
	Failed        ItemState = "failed"
	RemovePending ItemState = "remove_pending"
	Removing      ItemState = "removing"
	Removed       ItemState = "removed"
)

// PlanItem is an item on one device in one epoch.
type PlanItem struct {
	Item
	State   ItemState
	Attempt int
	// Position orders the plan.
	Position int
	// Detail says in words what the device last reported, for people.
	Detail string
	// Polls counts how often in a row an acknowledged app or document was asked after without being further. For a document
	// that is being removed it begins at 1 when the device has acknowledged the removal.
	Polls     int
	UpdatedAt time.Time
	// Retries counts how often a best_effort item was tried again by itself since it was last wanted anew.
	Retries int
	// Final: it failed in a way that no repetition by itself mends. A person declined it, the device is of a kind that never takes
	// it, or its command is wrong.
	Final bool
}

// leaving reports whether the item is on its way off the device.
func (i PlanItem) leaving() bool {
	return i.State == RemovePending || i.State == Removing || i.State == Removed
}

// Builtins are the items that Muster adds to every plan of an assigned device.
func Builtins(managementIdentifier string) []Item {
	return []Item{
		{Key: ItemKey{BuiltinItem, DeviceInformation}, Stage: BestEffort, Version: 1},
		{Key: ItemKey{BuiltinItem, ManagementProfile}, Stage: Required, Version: 1, Identifier: managementIdentifier},
	}
}

// Reconcile compares what is wanted with what is recorded and returns the items of the device's plan as they should be
// now. Items wanted and verified in their version stay; failed ones begin a new attempt; what is no longer wanted is
// removed, or forgotten when it was never sent. Attempts of one item only rise, whatever goes and comes back, so that
// each has CommandUUIDs of its own.
func Reconcile(want []Item, have []PlanItem) []PlanItem {
	old := map[ItemKey]PlanItem{}
	for _, it := range have {
		old[it.Key] = it
	}
	wanted := map[ItemKey]bool{}
	claimed := map[claim]int{}
	plan := make([]PlanItem, 0, len(want)+len(have)) // never grown, because successors are pointed at
	for pos, it := range want {
		wanted[it.Key] = true
		if c, claims := it.claim(); claims {
			claimed[c] = pos
		}
		plan = append(plan, renew(it, old, pos))
	}
	for _, it := range have {
		if wanted[it.Key] || it.State == Pending && it.Attempt == 1 {
			continue
		}
		it.Position = len(plan)
		var successor *PlanItem
		c, _ := it.claim()
		if at, taken := claimed[c]; taken {
			successor = &plan[at]
		}
		it.leave(successor)
		plan = append(plan, it)
	}
	return plan
}

// leave turns an unwanted item towards its removal. An item whose identifier a wanted one claims is replaced by that,
// because a removal would take the successor away; the successor counts as sent then, so that whatever stands under its
// identifier is removed even if it is given up before its turn comes.
func (i *PlanItem) leave(successor *PlanItem) {
	switch {
	case i.State == Removed:
		return
	case i.Key.Kind == BuiltinItem:
		i.State, i.Detail = Removed, ""
	case successor != nil:
		i.State, i.Detail = Removed, "Replaced by "+successor.Key.String()+"."
		successor.Attempt = max(successor.Attempt, 2)
	case i.leaving():
		return
	default:
		i.State, i.Detail = RemovePending, ""
	}
	i.Polls, i.Retries, i.Final = 0, 0, false
	i.Attempt++
}

func renew(want Item, old map[ItemKey]PlanItem, pos int) PlanItem {
	next := PlanItem{Item: want, Position: pos, State: Pending, Attempt: 1}
	was, known := old[want.Key]
	if !known {
		return next
	}
	next.Attempt = was.Attempt
	same := was.Version == want.Version && was.Identifier == want.Identifier
	switch {
	case same && !was.leaving() && was.State != Failed:
		next.State, next.Detail, next.Polls, next.UpdatedAt, next.Retries = was.State, was.Detail, was.Polls, was.UpdatedAt, was.Retries
	case was.State != Pending:
		next.Attempt++
	}
	return next
}

// Judge sums up a plan.
func Judge(items []PlanItem) Verdict {
	var v Verdict
	for _, it := range items {
		if it.leaving() {
			if it.State != Removed {
				v.RemovalsLeft++
			}
			continue
		}
		v.Total++
		if it.Stage == BestEffort || it.State == Verified {
			continue
		}
		v.RequiredLeft++
		if it.Stage == BeforeRelease {
			v.BeforeReleaseLeft++
		}
		if it.State == Failed {
			v.Failed = append(v.Failed, it.Key.String())
		}
	}
	return v
}

// Matters reports whether a Settled fact is due: a new verdict decides something, or says that everything required is
// there.
func (d Device) Matters(v Verdict) bool {
	return d.decides(v) || v.RequiredLeft == 0 && d.Verdict().RequiredLeft > 0
}

// decides reports whether a new verdict may change what is done next: everything required is there and the device out of
// Setup Assistant, everything that precedes its release from there is done, the last removal is done, or another required
// item failed.
func (d Device) decides(v Verdict) bool {
	last := d.Verdict()
	switch {
	case v.Equal(last):
		return false
	case v.done() && !last.done():
		return true
	case v.RemovalsLeft == 0 && last.RemovalsLeft > 0:
		return true
	case d.InSetup() && v.BeforeReleaseLeft == 0 && last.BeforeReleaseLeft > 0:
		return true
	}
	return len(v.Failed) > 0 && !slices.Equal(v.Failed, last.Failed)
}
