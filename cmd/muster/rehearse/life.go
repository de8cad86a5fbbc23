package rehearse

import (
	"time"

	"github.com/muster-mdm/muster/sim"
)

// Verb is something that happens to a device.
type Verb string

// Verbs. The first ones are done by people at a desk, the rest by whoever holds the device.
const (
	Register Verb = "register"
	Assign   Verb = "assign"
	Unassign Verb = "unassign"
	Release  Verb = "release"
	// Buy has the device listed by the organisation's Apple Business Manager, and ends when Muster knows that.
	Buy Verb = "buy"
	// TakeOff has Muster take the device off its MDM server there; TakenOff is that somebody did so in Apple's portal.
	TakeOff  Verb = "take_off"
	TakenOff Verb = "taken_off"
	// Review decides for whom the device is on which somebody else signed in.
	Review Verb = "review"

	// SwitchOn boots the device and enrolls it.
	SwitchOn Verb = "switch_on"
	// BeginActivation does the same up to the Authenticate; FinishActivation sends the TokenUpdate.
	BeginActivation  Verb = "begin_activation"
	FinishActivation Verb = "finish_activation"
	// FactoryReset erases the device; the server is told nothing.
	FactoryReset Verb = "factory_reset"
	// CheckOut removes the management profile, and the device says so.
	CheckOut Verb = "check_out"
	Reboot   Verb = "reboot"
	// GoOffline takes the device off the network for Event.Pause, during which the life goes on.
	GoOffline Verb = "go_offline"

	// Settle waits until the device is as modelled so far.
	Settle Verb = "settle"
	// Together lets Event.Events happen at the same time.
	Together Verb = "together"
)

// Event is one step of a life. An event begins After the one before has ended.
type Event struct {
	Do    Verb
	After time.Duration
	For   time.Duration // of GoOffline
	// Groups, User and Technician are an Assign's.
	Groups           []string
	User, Technician string
	// Choice is a Review's.
	Choice string
	Events []Event
}

// Life is what happens to one device.
type Life struct {
	Serial string
	// Kind says in a few words what is particular about it.
	Kind   string
	Events []Event
	// Awaits: the device stays in Setup Assistant until it is told to go on.
	Awaits bool
	// Bought: Apple Business Manager lists the device, so it learns from Apple where to enroll.
	Bought bool
	// Person signs in whenever the device is switched on; nil: it enrolls without asking anybody. Only for a device that is Bought.
	Person *Person
	// Refuses are the identifiers that the device will never install.
	Refuses []string
	Faults  sim.Faults
}

// each visits events in their order, those that happen together in the order in which they are listed.
func each(events []Event, visit func(Event)) {
	for _, e := range events {
		visit(e)
		each(e.Events, visit)
	}
}
