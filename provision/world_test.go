package provision_test

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"pgregory.net/rapid"

	"github.com/muster-mdm/muster/provision"
)

// world plays the parts around the rules: a store that records and plans, a device with its moods, a workflow that asks
// Next. Its clock jumps from one event to the next.
type world struct {
	t      *rapid.T
	policy provision.Policy
	now    time.Time
	skew   time.Duration // of the store's clock

	d      provision.Device
	id     int64
	groups map[string]provision.Group
	items  []provision.PlanItem
	asked  provision.Queries
	queue  []provision.Command
	sent   map[string]bool
	pollAt time.Time
	// configured counts the DeviceConfigured of this enrollment.
	configured int

	dislikes map[string]int // how often the device refuses an item; -1 = always
	busy     int            // how often it answers NotNow
	slow     int            // how often an app or a document is still installing
	books    map[string]provision.Book
	clings   int    // how often a removed document is listed on
	product  string // what the device is
	hears    bool   // the device answers at all
}

func (w *world) record(f provision.Fact) {
	w.id++
	f.ID, f.At = w.id, w.now.Add(w.skew)
	could := w.d.MayAct()
	w.d = provision.Fold(w.d, f)
	if !could && w.d.MayAct() {
		w.pollAt = w.now // what was held back goes on
	}
}

// carry does one step as the store does.
func (w *world) carry(s provision.Step) {
	epoch := w.d.Activation.Epoch
	switch s.Do {
	case provision.Apply:
		w.apply(s)
	case provision.LeaveSetup:
		w.record(provision.Fact{Kind: provision.SetupReleased, Epoch: epoch, Reason: s.Reason})
		w.leaveSetup()
	case provision.ConcludeEnrolled:
		w.record(provision.Fact{Kind: provision.Enrolled, Epoch: epoch, Plan: s.Plan})
	case provision.ConcludeStuck:
		f := provision.Fact{Kind: provision.Stuck, Epoch: epoch, Plan: s.Plan, Reason: s.Reason}
		if !s.Until.IsZero() {
			f.Until = &s.Until
		}
		w.record(f)
	case provision.Nudge:
		w.record(until(s.Until, provision.Fact{Kind: provision.Nudged, Epoch: epoch, Plan: s.Plan, Round: s.Round}))
		provision.Renew(w.items)
		w.advance()
	case provision.ConcludeReleased:
		w.record(provision.Fact{Kind: provision.Released, Reason: s.Reason})
	case provision.WaitForFacts:
	}
}

func (w *world) apply(s provision.Step) {
	var want []provision.Item
	if a := w.d.Assignment; a.Complete() {
		var groups []provision.Group
		for _, name := range a.Groups {
			groups = append(groups, w.groups[name])
		}
		var err error
		if want, err = provision.Want(groups, mdmProfile); err != nil {
			w.record(provision.Fact{Kind: provision.Stuck, Epoch: w.d.Activation.Epoch, Reason: err.Error()})
			return
		}
	}
	w.items = provision.Reconcile(want, w.items)
	w.queue = slices.DeleteFunc(w.queue, w.superseded)
	verdict := w.d.Judge(w.items)
	w.record(provision.Fact{Kind: provision.Provisioning, Epoch: w.d.Activation.Epoch, For: w.d.Wanted(), Round: s.Round, Verdict: &verdict})
	w.advance()
}

// superseded: the command is of an attempt that is over, so the store takes it out of the queue.
func (w *world) superseded(c provision.Command) bool {
	it := find(w.items, c.Item)
	return c.Item.Kind != provision.BuiltinItem && (it == nil || it.Attempt != c.Attempt)
}

// leaveSetup sends DeviceConfigured, unless one is under way.
func (w *world) leaveSetup() {
	if slices.ContainsFunc(w.queue, func(c provision.Command) bool { return c.Type == provision.DeviceConfigured }) {
		return
	}
	w.configured++
	w.queue = append(w.queue, provision.Command{
		Type: provision.DeviceConfigured, Item: provision.ItemKey{Kind: provision.BuiltinItem, Name: provision.SetupRelease}, Attempt: w.configured,
	})
}

func minutes(n int) time.Duration { return time.Duration(n) * minute }

func (w *world) advance() {
	w.pollAt = time.Time{}
	if w.d.MayAct() {
		w.send()
	}
	if v := w.d.Judge(w.items); w.d.PlanCurrent() && w.d.Matters(v) {
		w.record(provision.Fact{Kind: provision.Settled, Epoch: w.d.Activation.Epoch, Plan: w.d.Plan.By, Verdict: &v})
	}
}

func (w *world) send() {
	var commands []provision.Command
	provision.SpareDocuments(w.items, w.product, w.now)
	commands, w.pollAt = provision.Advance(w.items, w.asked, provision.Pace{PollAfter: minutes, RetryAfter: w.policy.RetryAfter}, w.now)
	if again := w.d.SetupRetryAt(minutes); !again.IsZero() && !again.After(w.now) {
		w.leaveSetup()
	} else if !again.IsZero() && (w.pollAt.IsZero() || again.Before(w.pollAt)) {
		w.pollAt = again
	}
	for _, c := range commands {
		uuid := fmt.Sprint(c.Type, c.Item, c.Version, c.Attempt)
		if w.sent[uuid] {
			w.t.Fatalf("%s is sent twice", uuid)
		}
		w.sent[uuid] = true
		w.queue = append(w.queue, c)
		switch c.Type {
		case provision.ProfileList:
			w.asked.Profiles = provision.Asked{Count: c.Attempt, Outstanding: true}
		case provision.ManagedApplicationList:
			w.asked.Apps = provision.Asked{Count: c.Attempt, Outstanding: true}
		case provision.ManagedMediaList:
			w.asked.Documents = provision.Asked{Count: c.Attempt, Outstanding: true}
		default:
		}
	}
}

// answer has the device answer the first command of its queue, if it talks at all.
func (w *world) answer() bool {
	if !w.hears || !w.d.Active() || len(w.queue) == 0 {
		return false
	}
	c := w.queue[0]
	a := provision.Answer{Command: c, Status: provision.AnswerAcknowledged}
	w.queue = w.queue[1:]
	switch {
	case w.busy > 0:
		w.busy--
		a.Status = provision.AnswerNotNow
		w.queue = append(w.queue, c) // it gets it again after the others
	case w.dislikes[c.Item.Name] != 0 && (c.Item.Kind != provision.BuiltinItem || c.Type == provision.DeviceConfigured):
		w.dislikes[c.Item.Name]--
		a.Status, a.Detail = provision.AnswerError, "no"
	case c.Type == provision.ProfileList:
		w.asked.Profiles.Outstanding = false
		a.Profiles = w.profiles()
	case c.Type == provision.ManagedApplicationList:
		w.asked.Apps.Outstanding = false
		a.Apps = w.apps(c.Identifiers)
	case c.Type == provision.InstallMedia:
		w.books[c.Identifier] = provision.Book{State: "Managed", Version: strconv.Itoa(c.Version)}
	case c.Type == provision.RemoveMedia:
		w.remove(c.Identifier)
	case c.Type == provision.ManagedMediaList:
		w.asked.Documents.Outstanding = false
		a.Books = w.listed()
	}
	if f, news := w.d.SetupAnswer(a); news {
		w.record(f)
	}
	before := slices.Clone(w.items)
	provision.Take(w.items, a, w.now)
	w.checkProofs(before)
	twice := slices.Clone(w.items)
	counts := c.Type == provision.ManagedApplicationList || c.Type == provision.ManagedMediaList // how often it said so
	if a.Status != provision.AnswerNotNow && !counts && provision.Take(twice, a, w.now) {
		w.t.Fatalf("the same answer to %s twice changes the plan again", c.Type)
	}
	w.advance()
	return true
}

func (w *world) profiles() []string {
	listed := []string{mdmProfile}
	for _, it := range w.items {
		if it.Key.Kind == provision.ConfigurationItem && w.dislikes["list "+it.Key.Name] == 0 {
			listed = append(listed, it.Identifier)
		}
	}
	return listed
}

func (w *world) apps(identifiers []string) map[string]string {
	state := "Managed"
	if w.slow > 0 {
		w.slow--
		state = rapid.SampledFrom([]string{"Installing", "PromptingForLogin", "Queued"}).Draw(w.t, "app is")
	}
	apps := map[string]string{}
	for _, id := range identifiers {
		apps[id] = state
	}
	return apps
}

// remove takes a book off the device, which may list it a little longer.
func (w *world) remove(identifier string) {
	delete(w.books, identifier)
	if w.clings > 0 {
		w.clings--
		w.books[identifier] = provision.Book{State: "Uninstalled"}
	}
}

// listed are the device's books; those under way become what they are when they were listed once.
func (w *world) listed() map[string]provision.Book {
	books := maps.Clone(w.books)
	for id, b := range books {
		if w.slow > 0 && b.State == "Managed" {
			w.slow--
			b.State = rapid.SampledFrom([]string{"Installing", "PromptingForLogin", "Queued", "Updating"}).Draw(w.t, "book is")
			books[id] = b
		}
	}
	return books
}

// checkProofs: what was verified stays so until a new version or attempt.
func (w *world) checkProofs(before []provision.PlanItem) {
	for _, was := range before {
		is := find(w.items, was.Key)
		if was.State == provision.Verified && is.State != provision.Verified {
			w.t.Fatalf("%s was verified and is %s", was.Key, is.State)
		}
		if _, there := w.books[was.Identifier]; was.Key.Kind == provision.DocumentItem && was.State == provision.Removing &&
			is.State == provision.Removed && there && w.books[was.Identifier].State == "Managed" {
			w.t.Fatalf("%s counts as removed and is on the device", was.Key)
		}
	}
}

// run goes on until nothing happens any more without a fact from outside.
func (w *world) run(most int) {
	last := provision.Step{}
	for n := 0; ; n++ {
		if n > most {
			w.t.Fatalf("no end after %d steps, last %+v of %+v", most, last, w.d)
		}
		step := provision.Next(w.d, w.policy, w.now)
		checkStep(w.t, step, w.now)
		if step.Do != provision.WaitForFacts {
			if step == last {
				w.t.Fatalf("%+v is asked for twice, although it was done", step)
			}
			last = step
			w.carry(step)
			continue
		}
		if w.answer() {
			continue
		}
		if !w.sleep(step.Until) {
			return
		}
	}
}

// sleep jumps to whatever comes first; it reports whether anything does. A device that never speaks, or refuses a removal
// again and again, is nudged for ever, so that alone doesn't count.
func (w *world) sleep(until time.Time) bool {
	next := until
	if !w.pollAt.IsZero() && (next.IsZero() || w.pollAt.Before(next)) {
		next = w.pollAt
	}
	if next.IsZero() {
		return false
	}
	if w.d.Nudged.Plan == w.d.Plan.By && w.d.Nudges > 4 && w.pollAt.IsZero() && len(w.d.Verdict().Failed) == 0 {
		next = w.d.Deadline(w.policy)
		if !w.d.InSetup() || !w.now.Before(next) {
			return false
		}
	}
	w.now = next
	if !w.pollAt.IsZero() && !w.pollAt.After(w.now) {
		w.advance()
	}
	return true
}
