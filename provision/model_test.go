package provision_test

import "github.com/muster-mdm/muster/provision"

// modelled is what the requirements say of a set of facts, whatever order they come in. It looks at the set as a whole,
// where the code folds one fact after the other.
type modelled struct {
	status     provision.Status
	awaiting   []string
	management provision.Management
	assignment *provision.Assignment
	epoch      int
	onHold     bool
}

func newest(facts []provision.Fact, is func(provision.Fact) bool) *provision.Fact {
	var found *provision.Fact
	for i := range facts {
		if is(facts[i]) && (found == nil || facts[i].ID > found.ID) {
			found = &facts[i]
		}
	}
	return found
}

func oldest(facts []provision.Fact, is func(provision.Fact) bool) *provision.Fact {
	var found *provision.Fact
	for i := range facts {
		if is(facts[i]) && (found == nil || facts[i].ID < found.ID) {
			found = &facts[i]
		}
	}
	return found
}

func kind(kinds ...provision.Kind) func(provision.Fact) bool {
	return func(f provision.Fact) bool {
		for _, k := range kinds {
			if f.Kind == k {
				return true
			}
		}
		return false
	}
}

func of(epoch int, is func(provision.Fact) bool) func(provision.Fact) bool {
	return func(f provision.Fact) bool { return f.Epoch == epoch && is(f) }
}

func model(facts []provision.Fact) modelled {
	m := modelled{management: provision.Staged}
	for _, f := range facts {
		if kind(provision.Authenticated, provision.Activated, provision.CheckedOut)(f) {
			m.epoch = max(m.epoch, f.Epoch) // R70: a power-on of a known device starts another activation
		}
	}
	// R6: activation is the TokenUpdate, never the Authenticate alone.
	booted := oldest(facts, of(m.epoch, kind(provision.Activated)))
	left := newest(facts, of(m.epoch, kind(provision.CheckedOut))) != nil
	switch {
	case left:
		m.management = provision.Unmanaged
	case booted != nil:
		m.management = provision.Managed
	}
	// R5, R20: the last word on the assignment counts, whenever it was said.
	word := newest(facts, func(f provision.Fact) bool {
		return f.Kind == provision.Unassigned || f.Kind == provision.Withdrawn || f.Kind == provision.Assigned && f.Assignment.EffectiveAt == nil
	})
	if word != nil {
		m.assignment = word.Assignment
	}
	person := m.assignment != nil && (m.assignment.UserID != "" || m.assignment.TechnicianID != "")
	if f := newest(facts, kind(provision.HoldRequest, provision.ResumeRequest, provision.Withdrawn)); f != nil {
		m.onHold = f.Kind == provision.HoldRequest
	}
	// R55, R57: off its server, a staged device is Unassigned at once, a managed one when it was heard of since.
	seen := newest(facts, kind(provision.ABMSeen, provision.ABMGone))
	state := provision.ABMUnknown
	if seen != nil {
		state = seen.ABM.State
	}
	offServer := state == provision.ABMUnassigned || state == provision.ABMReleased
	heard := newest(facts, kind(provision.CheckedIn))
	pending := offServer && (heard == nil || heard.ID < seen.ID)

	// R56: deprovisioned means unmanaged at once, until the device enrolls anew.
	ended := newest(facts, of(m.epoch, kind(provision.Deprovision))) != nil
	if released := newest(facts, kind(provision.Released)) != nil; ended && !released {
		m.management = provision.Unmanaged
	}

	switch {
	case newest(facts, kind(provision.Released)) != nil:
		m.status = provision.StatusReleased
	case withdrawn(facts):
		m.status = provision.StatusWithdrawn
	case ended:
		m.status = provision.StatusDeprovisioned
	case state == provision.ABMReleased && (left || booted == nil):
		m.status = provision.StatusReleased
	case left:
		m.status = provision.StatusUnmanaged
	case pending && booted != nil:
		m.status = provision.StatusUnassignPending
	case offServer:
		m.status = provision.StatusUnassigned
	case booted != nil && person && m.concluded(facts, booted, word):
		m.status = provision.StatusEnrolled
	case booted != nil && person:
		m.status = provision.StatusProvisioning
	default: // R1–R4: each of the two is awaited, and shown, until it is there
		m.status = provision.StatusAwaiting
		if booted == nil {
			m.awaiting = append(m.awaiting, "Awaiting Device Activation")
		}
		if !person {
			m.awaiting = append(m.awaiting, "Awaiting User Assignment")
		}
	}
	return m
}

// concluded: the newest plan of this enrollment took all that is wanted into account, and was concluded.
func (m modelled) concluded(facts []provision.Fact, booted, word *provision.Fact) bool {
	plan := newest(facts, of(m.epoch, kind(provision.Provisioning)))
	if plan == nil {
		return false
	}
	for _, wanted := range []*provision.Fact{booted, word, newest(facts, kind(provision.CatalogChanged)), newest(facts, kind(provision.RetryItem))} {
		if wanted != nil && wanted.ID > plan.For {
			return false
		}
	}
	return newest(facts, func(f provision.Fact) bool { return f.Kind == provision.Enrolled && f.Plan == plan.ID }) != nil
}

// withdrawn: people took the serial number back and said nothing more of it, and nobody else ever spoke of it.
func withdrawn(facts []provision.Fact) bool {
	others := kind(provision.ABMSeen, provision.ABMGone, provision.Authenticated, provision.Activated, provision.CheckedOut, provision.SignInHeld)
	said := newest(facts, kind(provision.Withdrawn, provision.Assigned, provision.Unassigned, provision.Registered))
	return said != nil && said.Kind == provision.Withdrawn && newest(facts, others) == nil
}
