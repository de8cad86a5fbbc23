package rehearse

import "slices"

// The labels and words of the requirements (R2–R4, R10–R13, R55), spelled out here once more on purpose: the model must
// not share the server's mistakes.
const (
	awaitingActivation = "Awaiting Device Activation"
	awaitingAssignment = "Awaiting User Assignment"

	statusAwaiting     = "Awaiting"
	statusProvisioning = "Provisioning"
	statusEnrolled     = "Enrolled"
	statusUnmanaged    = "Unmanaged"

	statusUnassignPending = "Unassign Pending"
	statusUnassigned      = "Unassigned"

	statusReleased = "Released"

	takeSignedIn = "take_signed_in"
	keepReserved = "keep_reserved"

	staged    = "staged"
	managed   = "managed"
	unmanaged = "unmanaged"
)

// Expected is how a device must end.
type Expected struct {
	Status     string
	Labels     []string
	Management string
	Epoch      int
	BlockedBy  string
	// Holds says of the profiles, apps and documents of the catalog, by identifier, whether they must be on the device; nil when nothing
	// can be said because the server no longer decides it.
	Holds map[string]bool
}

// fate is what a life amounts to; only the newest word on each axis counts, whatever the order (R5).
type fate struct {
	released bool

	off, heardOf bool // taken off its server in Apple Business Manager, and in touch with Muster since

	open             bool // Authenticate without TokenUpdate: not an activation (R6)
	active, ended    bool
	epoch            int
	user, technician string
	groups           []string
	held             bool // somebody else signed in, and nobody has decided (R53)
}

// Model says how a device must end after some events of its life. It is written from the requirements alone.
func Model(c catalog, l Life, events []Event) Expected {
	var f fate
	each(events, func(e Event) { f.take(e, l.Person) })
	return f.expected(c, l)
}

func (f *fate) take(e Event, p *Person) {
	switch e.Do {
	case Assign:
		f.assign(e.User, e.Technician, e.Groups)
	case Unassign:
		f.assign("", "", nil)
	case Review:
		if f.held = false; e.Choice == takeSignedIn {
			f.assign(p.Name, "", p.groups())
		}
	case Release:
		f.released = true
	case SwitchOn:
		f.signIn(p)
		f.authenticate()
		f.open, f.active = false, true
	case BeginActivation:
		f.authenticate()
	case FinishActivation:
		f.open, f.active = false, true
	case CheckOut:
		f.active, f.ended = false, true
	case TakeOff, TakenOff:
		f.off, f.heardOf = true, false
	case Reboot:
		f.heardOf = true
	case Register, Buy, FactoryReset, GoOffline, Settle, Together:
		// Registering, a reset or an outage tells nothing about any axis.
	}
}

func (f *fate) assign(user, technician string, groups []string) {
	f.user, f.technician, f.groups, f.held = user, technician, groups, false
}

// signIn is R49 and R53: who signs in gets a device that is nobody's, with what the directory brings on top of groups that it
// had; on somebody else's an operator decides.
func (f *fate) signIn(p *Person) {
	switch {
	case p == nil:
	case !f.complete() || f.user == p.Name:
		f.assign(p.Name, "", slices.Concat(f.groups, p.groups()))
	default:
		f.held = true
	}
}

// authenticate opens an epoch (R70). A device that never got further than that repeats it in the same one.
func (f *fate) authenticate() {
	if !f.open {
		f.epoch++
	}
	f.open, f.active, f.ended = true, false, false
}

func (f *fate) complete() bool { return f.user != "" || f.technician != "" }

func (f *fate) expected(c catalog, l Life) Expected {
	e := Expected{Epoch: f.epoch, Management: staged}
	switch {
	case f.active:
		e.Management = managed
	case f.ended:
		e.Management = unmanaged
	}
	switch {
	case f.released:
		e.Status = statusReleased
		e.Labels = []string{statusReleased}
		return e
	case f.ended:
		e.Status = statusUnmanaged
		e.Labels = []string{statusUnmanaged}
		return e
	case f.off:
		e.Status = statusUnassigned // R57: a staged device with the next sync
		if f.active && !f.heardOf {
			e.Status = statusUnassignPending // R55: a managed one when it is heard of
		}
		e.Labels = []string{e.Status}
		if f.active {
			e.Holds = holds(c, c.members(f.groups), nil)
		}
		return e
	case !f.active || !f.complete():
		e.Status = statusAwaiting
		e.Labels = f.awaiting()
		if f.active {
			e.Holds = holds(c, nil, nil)
		}
		return e
	}
	if f.held {
		e.Status, e.Labels, e.BlockedBy, e.Holds = statusProvisioning, []string{statusProvisioning}, "sign_in_review", holds(c, nil, nil)
		return e
	}
	wanted := c.members(f.groups)
	missing := unreachable(wanted, l.Refuses)
	e.Status, e.Labels, e.Holds = statusEnrolled, []string{statusEnrolled}, holds(c, wanted, missing)
	if slices.ContainsFunc(wanted, func(m member) bool { return m.stage != bestEffort && missing[m.key()] }) {
		e.Status, e.Labels, e.BlockedBy = statusProvisioning, []string{statusProvisioning}, "stuck"
	}
	return e
}

func (f *fate) awaiting() []string {
	var labels []string
	if !f.active {
		labels = append(labels, awaitingActivation)
	}
	if !f.complete() {
		labels = append(labels, awaitingAssignment)
	}
	return labels
}

// unreachable are the keys of what the device refuses and of all that waits for it.
func unreachable(wanted []member, refused []string) map[string]bool {
	missing := map[string]bool{}
	names := map[string]bool{}
	for range wanted { // as often as the longest chain could be
		for _, m := range wanted {
			waits := slices.ContainsFunc(m.after, func(name string) bool { return names[name] })
			if waits || slices.Contains(refused, m.identifier) {
				missing[m.key()], names[m.name] = true, true
			}
		}
	}
	return missing
}

// holds says of the whole catalog what must be on the device: what it wants and can have, and nothing else (R24).
func holds(c catalog, wanted []member, missing map[string]bool) map[string]bool {
	h := map[string]bool{}
	for _, t := range c.things() {
		h[t.identifier] = false
	}
	for _, m := range wanted {
		if !missing[m.key()] {
			h[m.identifier] = true
		}
	}
	return h
}
