package rehearse

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/muster-mdm/muster/sim"
)

// kind is one way in which a life can go; the events are drawn anew for each device.
type kind struct {
	name   string
	weight int
	// signsIn says whether somebody signs in on the devices: in some lives, unless it is said here.
	signsIn often
	// refuses is what the device never installs.
	refuses string
	// calm devices have no bad luck: when they talk to the server decides how they end.
	calm   bool
	events func(r *rand.Rand) []Event
}

// often says in which lives something happens.
type often int

const (
	sometimes often = iota
	always
	never
)

func assign(groups ...string) Event {
	return Event{Do: Assign, User: "ANDREW", Groups: groups}
}

// kinds come in the order in which a small rehearsal takes them.
var kinds = []kind{
	{name: "assigned before activation", weight: 5, events: func(r *rand.Rand) []Event {
		return []Event{assign(anyGroups(r)...), {Do: SwitchOn, After: upTo(r, 2)}}
	}},
	{name: "assigned after activation", weight: 5, events: func(r *rand.Rand) []Event {
		return []Event{{Do: Register}, {Do: SwitchOn}, late(assign(anyGroups(r)...), upTo(r, 2))}
	}},
	{name: "assigned during activation", weight: 3, events: func(r *rand.Rand) []Event {
		return []Event{{Do: Register}, {Do: BeginActivation}, assign(anyGroups(r)...), {Do: FinishActivation}}
	}},
	// What the directory brings comes on top of an assignment that was before, and is replaced by one that comes after.
	{name: "assigned and switched on at once", weight: 3, signsIn: never, events: func(r *rand.Rand) []Event {
		return []Event{{Do: Register}, {Do: Together, Events: []Event{assign(anyGroups(r)...), {Do: SwitchOn}}}}
	}},
	{name: "switched on by whom it shall be for", weight: 8, signsIn: always, events: func(r *rand.Rand) []Event {
		return []Event{{Do: Buy}, {Do: SwitchOn, After: upTo(r, 1)}}
	}},
	{name: "kiosk with a technician", weight: 1, signsIn: never, events: func(*rand.Rand) []Event {
		return []Event{{Do: Assign, Technician: "TESSA", Groups: []string{kiosk}}, {Do: SwitchOn}}
	}},
	{name: "factory reset and enrolled anew", weight: 2, events: func(r *rand.Rand) []Event {
		return []Event{assign(anyGroups(r)...), {Do: SwitchOn}, {Do: Settle}, {Do: FactoryReset}, {Do: SwitchOn, After: upTo(r, 1)}}
	}},
	{name: "reset in the middle of provisioning", weight: 1, events: func(r *rand.Rand) []Event {
		return []Event{assign(drivers), {Do: SwitchOn}, {Do: FactoryReset, After: upTo(r, 1)}, {Do: SwitchOn}}
	}},
	{name: "reassigned when enrolled", weight: 2, events: func(*rand.Rand) []Event {
		return []Event{assign(drivers), {Do: SwitchOn}, {Do: Settle}, {Do: Assign, User: "BERTA", Groups: []string{sales, kiosk}}}
	}},
	{name: "reassigned in the middle of provisioning", weight: 2, events: func(r *rand.Rand) []Event {
		return []Event{{Do: Register}, {Do: SwitchOn}, assign(drivers), late(assign(sales), upTo(r, 1))}
	}},
	{name: "unassigned when enrolled", weight: 1, events: func(r *rand.Rand) []Event {
		return []Event{assign(anyGroups(r)...), {Do: SwitchOn}, {Do: Settle}, {Do: Unassign}}
	}},
	{name: "unassigned and assigned again", weight: 1, events: func(*rand.Rand) []Event {
		return []Event{assign(drivers), {Do: SwitchOn}, {Do: Settle}, {Do: Unassign}, late(assign(kiosk), time.Second)}
	}},
	{name: "checked out", weight: 1, events: func(r *rand.Rand) []Event {
		return []Event{assign(anyGroups(r)...), {Do: SwitchOn}, {Do: Settle}, {Do: CheckOut}}
	}},
	{name: "checked out and enrolled again", weight: 1, events: func(r *rand.Rand) []Event {
		return []Event{assign(anyGroups(r)...), {Do: SwitchOn}, {Do: Settle}, {Do: CheckOut}, {Do: SwitchOn, After: upTo(r, 1)}}
	}},
	{name: "never switched on", weight: 1, events: func(r *rand.Rand) []Event { return []Event{assign(anyGroups(r)...)} }},
	{name: "never assigned", weight: 1, signsIn: never, events: func(*rand.Rand) []Event { return []Event{{Do: Register}, {Do: SwitchOn}} }},
	{name: "neither", weight: 1, events: func(*rand.Rand) []Event { return []Event{{Do: Register}} }},
	{name: "groups without a user", weight: 1, events: func(*rand.Rand) []Event {
		return []Event{{Do: Assign, Groups: []string{drivers}}, {Do: SwitchOn}}
	}},
	{name: "activation broken off", weight: 1, events: func(*rand.Rand) []Event { return []Event{assign(sales), {Do: BeginActivation}} }},
	{name: "activation broken off and repeated", weight: 1, events: func(*rand.Rand) []Event {
		return []Event{assign(sales), {Do: BeginActivation}, {Do: Reboot}, {Do: SwitchOn}}
	}},
	{name: "refuses a required app", weight: 1, refuses: requiredApp, events: func(*rand.Rand) []Event {
		return []Event{assign(drivers), {Do: SwitchOn}}
	}},
	{name: "refuses an app that nothing waits for", weight: 1, refuses: bestEffortApp, events: func(*rand.Rand) []Event {
		return []Event{assign(drivers), {Do: SwitchOn}}
	}},
	{name: "stuck, then given another group", weight: 1, refuses: requiredApp, events: func(*rand.Rand) []Event {
		return []Event{assign(drivers), {Do: SwitchOn}, {Do: Settle}, assign(sales)}
	}},
	{name: "unassigned before it is switched on", weight: 1, events: func(*rand.Rand) []Event {
		return []Event{assign(sales), {Do: Unassign}}
	}},
	{name: "switched on by somebody else, whose it becomes", weight: 1, signsIn: always, events: func(*rand.Rand) []Event {
		return []Event{{Do: Buy}, reserved, {Do: SwitchOn}, {Do: Settle}, {Do: Review, Choice: takeSignedIn}}
	}},
	{name: "switched on by somebody else, and kept for whom it was", weight: 1, signsIn: always, events: func(*rand.Rand) []Event {
		return []Event{reserved, {Do: Buy}, {Do: SwitchOn}, {Do: Settle}, {Do: Review, Choice: keepReserved}}
	}},
	{name: "switched on by somebody else, and assigned anew", weight: 1, signsIn: always, events: func(*rand.Rand) []Event {
		return []Event{{Do: Buy}, reserved, {Do: SwitchOn}, {Do: Settle}, assign(kiosk)}
	}},
	{name: "switched on by somebody else, and nobody decides", weight: 1, signsIn: always, events: func(*rand.Rand) []Event {
		return []Event{{Do: Buy}, reserved, {Do: SwitchOn}}
	}},
	{name: "released", weight: 1, events: func(r *rand.Rand) []Event {
		return []Event{assign(anyGroups(r)...), {Do: SwitchOn}, {Do: Settle}, {Do: Release}}
	}},
	{name: "released before it is switched on", weight: 1, events: func(*rand.Rand) []Event {
		return []Event{{Do: Buy}, assign(sales), {Do: Release}}
	}},
	{name: "taken off its server before it is switched on", weight: 1, events: func(*rand.Rand) []Event {
		return []Event{{Do: Buy}, assign(sales), {Do: TakeOff}}
	}},
	{name: "taken off its server when enrolled", weight: 1, calm: true, events: func(*rand.Rand) []Event {
		return []Event{{Do: Buy}, assign(sales), {Do: SwitchOn}, {Do: Settle}, {Do: TakeOff}}
	}},
	{name: "taken off its server in the portal, then rebooted", weight: 1, calm: true, events: func(*rand.Rand) []Event {
		return []Event{{Do: Buy}, assign(kiosk), {Do: SwitchOn}, {Do: Settle}, {Do: TakenOff}, {Do: Settle}, {Do: Reboot}}
	}},
}

// reserved is for somebody who doesn't sign in.
var reserved = Event{Do: Assign, User: "BERTA", Groups: []string{sales}}

// perSecond is how many devices begin their lives in a second, so that a small machine is busy but not flooded.
const perSecond = 8

// Draw draws the lives of n devices. The same seed gives the same lives; with enough devices every kind is among them.
func Draw(seed uint64, n int) []Life { return drawOf(seed, n, kinds, true) }

// DrawWithoutSignIn draws lives in which nobody signs in on a device.
func DrawWithoutSignIn(seed uint64, n int) []Life {
	some := slices.DeleteFunc(slices.Clone(kinds), func(k kind) bool { return k.signsIn == always })
	return drawOf(seed, n, some, false)
}

func drawOf(seed uint64, n int, kinds []kind, signIn bool) []Life {
	r := rand.New(rand.NewPCG(seed, 0x6d7573746572))
	order := slices.Clone(kinds)
	for len(order) < n {
		order = append(order, weighted(r, kinds))
	}
	order = order[:n]
	r.Shuffle(n, func(i, j int) { order[i], order[j] = order[j], order[i] })
	lives := make([]Life, n)
	for i, serial := range sim.Serials(seed, n) {
		lives[i] = draw(r, order[i], serial)
		if signIn && lives[i].mayAsk() && (order[i].signsIn == always || order[i].signsIn == sometimes && chance(r, 0.5)) {
			lives[i].asks(somebody(r, i))
		}
		if len(lives[i].Events) > 0 {
			lives[i].Events[0].After = time.Duration(r.Float64() * float64(n) / perSecond * float64(time.Second))
		}
	}
	return lives
}

// DrawEnrolling draws lives without bad luck that begin with the two facts in any order and all end Enrolled.
func DrawEnrolling(seed uint64, n int) []Life {
	const orders = 4 // the kinds that differ in the order of the facts only
	r := rand.New(rand.NewPCG(seed, 0x656e726f6c))
	lives := make([]Life, n)
	for i, serial := range sim.Serials(seed, n) {
		k := kinds[i%orders]
		lives[i] = Life{Serial: serial, Kind: k.name, Events: k.events(r)}
		lives[i].Events[0].After = time.Duration(r.Float64() * float64(n) / perSecond * float64(time.Second))
	}
	return lives
}

// mayAsk reports whether the device can ask for somebody: it learns from Apple that it shall, when it is switched on.
func (l Life) mayAsk() bool { return l.Bought && has(l.Events, SwitchOn) }

// asks has a person sign in on the device, who is also whom it is assigned to unless the kind of life says otherwise.
func (l *Life) asks(p Person) {
	l.Person = &p
	for i, e := range l.Events {
		if e.Do == Assign && e.User == assign().User {
			l.Events[i].User = p.Name
		}
	}
}

func somebody(r *rand.Rand, i int) Person {
	return Person{Name: fmt.Sprintf("person%04d", i), In: []string{"fleet", "shop", ""}[r.IntN(3)]}
}

func weighted(r *rand.Rand, kinds []kind) kind {
	total := 0
	for _, k := range kinds {
		total += k.weight
	}
	at := r.IntN(total)
	for _, k := range kinds {
		if at -= k.weight; at < 0 {
			return k
		}
	}
	return kinds[0]
}

func draw(r *rand.Rand, k kind, serial string) Life {
	l := Life{Serial: serial, Kind: k.name, Events: k.events(r), Awaits: chance(r, 0.3), Faults: faults(r)}
	if k.calm {
		l.Faults = sim.Faults{}
	} else {
		l.Events = disturb(r, l.Events)
	}
	if l.Bought = has(l.Events, Buy) || chance(r, 0.75); l.Bought {
		l.Events = bought(r, l.Events)
	}
	each(l.Events, func(e Event) {
		if e.Do == CheckOut { // sent once, whatever becomes of it: a lost one would leave no trace to be modelled
			l.Faults.LoseRequest, l.Faults.LoseAnswer = 0, 0
		}
	})
	if k.refuses != "" {
		l.Refuses = []string{k.refuses}
	}
	return l
}

func has(events []Event, verb Verb) bool {
	found := false
	each(events, func(e Event) { found = found || e.Do == verb })
	return found
}

// bought has Apple Business Manager list the device at some time before it is switched on, instead of a technician
// registering it: that may be before or after somebody assigned it.
func bought(r *rand.Rand, events []Event) []Event {
	if has(events, Buy) {
		return events
	}
	for i, e := range events {
		if e.Do == Register {
			events[i].Do = Buy
			return events
		}
	}
	on := slices.IndexFunc(events, func(e Event) bool { return e.Do == SwitchOn || e.Do == BeginActivation || e.Do == Together })
	if on < 0 {
		on = len(events)
	}
	return slices.Insert(events, r.IntN(on+1), Event{Do: Buy})
}

// disturb repeats assignments and lets devices reboot and lose their network, which must change nothing in the end.
func disturb(r *rand.Rand, events []Event) []Event {
	var lived []Event
	for _, e := range events {
		lived = append(lived, e)
		luck := r.Float64()
		switch {
		case e.Do == Assign && luck < 0.25:
			e.After = upTo(r, 0.5)
			lived = append(lived, e)
		case e.Do == SwitchOn && luck < 0.2:
			lived = append(lived, Event{Do: Reboot, After: upTo(r, 1)})
		case e.Do == SwitchOn && luck < 0.4:
			lived = append(lived, Event{Do: GoOffline, After: upTo(r, 1), For: time.Second + upTo(r, 3)})
		}
	}
	return lived
}

// faults are what goes wrong on a device's side: most have little luck with something, none has bad luck for ever.
func faults(r *rand.Rand) sim.Faults {
	f := sim.Faults{Limit: 1, Install: sim.Span{Max: 2 * time.Second}, NotNowFor: sim.Span{Min: 500 * time.Millisecond}}
	if chance(r, 0.25) {
		f.NotNow = 0.3
	}
	if chance(r, 0.25) {
		f.LoseRequest, f.LoseAnswer = 0.1, 0.1
	}
	if chance(r, 0.2) {
		f.RepeatAnswer = 0.3
	}
	if chance(r, 0.15) {
		f.RefuseShare = 0.2
	}
	if chance(r, 0.15) {
		f.Fail = map[string]int{requiredApp: 1}
	}
	if chance(r, 0.2) {
		f.DuplicateTokenUpdate = 1
	}
	return f
}

func anyGroups(r *rand.Rand) []string {
	choices := [][]string{{drivers}, {drivers}, {sales}, {kiosk}, {drivers, sales}, {plain}, {sales, kiosk}, {Basic}}
	return choices[r.IntN(len(choices))]
}

func late(e Event, after time.Duration) Event {
	e.After = after
	return e
}

func chance(r *rand.Rand, share float64) bool { return r.Float64() < share }

func upTo(r *rand.Rand, seconds float64) time.Duration {
	return time.Duration(r.Float64() * seconds * float64(time.Second))
}
