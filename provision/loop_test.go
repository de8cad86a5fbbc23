package provision_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/muster-mdm/muster/provision"
)

func newWorld(t *rapid.T) *world {
	w := &world{
		t: t, policy: drawPolicy(t), now: noon, d: provision.Device{Serial: "C07Q853LG9RM"},
		skew:   rapid.SampledFrom([]time.Duration{0, -2 * minute, 2 * minute}).Draw(t, "skew"),
		groups: map[string]provision.Group{}, sent: map[string]bool{}, dislikes: map[string]int{}, hears: true,
	}
	for _, g := range drawGroups(t) {
		w.groups[g.Name] = g
	}
	for _, n := range []string{"a", "b", "list a", provision.SetupRelease} {
		w.dislikes[n] = rapid.SampledFrom([]int{0, 0, 0, 1, 2, -1}).Draw(t, n+" is refused")
	}
	w.busy = rapid.IntRange(0, 4).Draw(t, "NotNow")
	w.slow = rapid.IntRange(0, 4).Draw(t, "slow apps")
	w.clings = rapid.IntRange(0, 2).Draw(t, "clinging books")
	w.product = rapid.SampledFrom([]string{"", "iPad13,1", "iPhone14,5", "AppleTV14,1", "Mac14,2"}).Draw(t, "product")
	return w
}

func (w *world) boot() {
	epoch := w.d.NextEpoch()
	w.record(provision.Fact{Kind: provision.Authenticated, Epoch: epoch})
	w.items, w.queue, w.asked, w.sent = nil, nil, provision.Queries{}, map[string]bool{}
	w.configured = 0
	w.books = map[string]provision.Book{}
	w.record(provision.Fact{Kind: provision.Activated, Epoch: epoch, AwaitingConfiguration: rapid.Bool().Draw(w.t, "awaiting")})
}

func (w *world) assign() {
	names := []string{"g1", "g2", "g3"}
	groups := names[:rapid.IntRange(0, 3).Draw(w.t, "groups")]
	w.record(provision.Fact{Kind: provision.Assigned, Assignment: someone(groups...)})
}

// edit gives every item of a group another version, or takes the group's items away.
func (w *world) edit() {
	g := w.groups["g1"]
	items := make([]provision.Item, 0, len(g.Items))
	for _, it := range g.Items {
		if rapid.Bool().Draw(w.t, "stays") || len(it.DependsOn) > 0 {
			it.Version++
		}
		items = append(items, it)
	}
	w.groups["g1"] = provision.Group{Name: "g1", Items: items}
	w.record(provision.Fact{Kind: provision.CatalogChanged})
}

// disturb does something from outside in the middle of it all.
func (w *world) disturb() {
	switch rapid.SampledFrom([]string{"boot", "assign", "unassign", "edit", "hold", "resume", "retry", "extend", "let out", "leave", "silence", "answer", "wait", "work"}).Draw(w.t, "disturb") {
	case "boot":
		w.boot()
	case "assign":
		w.assign()
	case "unassign":
		w.record(provision.Fact{Kind: provision.Unassigned})
	case "edit":
		w.edit()
	case "hold":
		w.record(provision.Fact{Kind: provision.HoldRequest})
	case "resume":
		w.record(provision.Fact{Kind: provision.ResumeRequest})
	case "retry":
		w.record(provision.Fact{Kind: provision.RetryItem})
	case "extend":
		w.record(until(w.now.Add(10*minute), provision.Fact{Kind: provision.ExtendHold, Epoch: w.d.Activation.Epoch}))
	case "let out":
		w.record(provision.Fact{Kind: provision.ReleaseFromSetup, Epoch: w.d.Activation.Epoch})
	case "leave":
		w.record(provision.Fact{Kind: provision.CheckedOut, Epoch: w.d.Activation.Epoch})
	case "silence":
		w.hears = !w.hears
	case "answer":
		w.answer()
	case "wait":
		w.now = w.now.Add(rapid.SampledFrom(pauses).Draw(w.t, "pause"))
	case "work":
		w.carry(provision.Next(w.d, w.policy, w.now))
	}
}

// mostSteps is more than a device needs that is nudged each second for the half hour that its last try to leave Setup Assistant may take.
const mostSteps = 10_000

// Whatever happened, once somebody is given, the device is on and nobody holds it, it reaches Enrolled, or says for good
// what keeps it from that.
func TestTheLoopAlwaysEnds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		for range rapid.IntRange(0, 25).Draw(t, "disturbances") {
			w.disturb()
			if rapid.Bool().Draw(t, "it runs dry") {
				w.run(mostSteps)
			}
		}
		w.hears, w.busy = true, 0
		w.record(provision.Fact{Kind: provision.ResumeRequest})
		if !w.d.Active() {
			w.boot()
		}
		w.assign()
		w.run(mostSteps)
		w.mustHaveEnded()
	})
}

func (w *world) mustHaveEnded() {
	d := w.d
	enrolled, stuck := d.Status() == provision.StatusEnrolled, d.BlockedBy() == "stuck" && d.Stuck.Reason+d.SetupRefused.Reason != ""
	if !enrolled && !stuck {
		w.t.Fatalf("it ends %s, not enrolled and not stuck: %+v\nitems %+v\nqueue %+v", d.Status(), d, w.items, w.queue)
	}
	if enrolled && stuck {
		w.t.Fatal("it is enrolled and stuck")
	}
	if !enrolled {
		return
	}
	for _, it := range w.items {
		if it.Stage == provision.BestEffort && it.State == provision.Failed && !it.Final && it.Retries < len(w.policy.RetryAfter) {
			w.t.Fatalf("nobody tries %s again, which failed after %d retries", it.Key, it.Retries)
		}
		if it.Stage != provision.BestEffort && it.State != provision.Verified && it.State != provision.Removed &&
			it.State != provision.Removing && it.State != provision.RemovePending {
			w.t.Fatalf("enrolled, and the required %s is %s", it.Key, it.State)
		}
	}
}

// A device that answers everything ends Enrolled with what its groups want and nothing else, in whatever order it was
// assigned, reassigned and activated.
func TestAWillingDeviceEnrols(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		w.dislikes, w.policy.HoldPolicy = map[string]int{}, provision.HoldRelease
		w.product = "iPad13,1"
		w.policy.NudgeAfter = []time.Duration{minute}
		if rapid.Bool().Draw(t, "assigned first") {
			w.assign()
			w.run(mostSteps)
		}
		w.boot()
		for range rapid.IntRange(0, 6).Draw(t, "moments") {
			w.carry(provision.Next(w.d, w.policy, w.now))
			w.answer()
			if rapid.Bool().Draw(t, "edited") {
				w.edit()
			}
		}
		w.assign()
		w.run(mostSteps)
		if w.d.Status() != provision.StatusEnrolled {
			t.Fatalf("it ends %s: %+v\nitems %+v", w.d.Status(), w.d, w.items)
		}
		for _, it := range w.items {
			if it.State != provision.Verified && it.State != provision.Removed {
				t.Fatalf("%s ends %s", it.Key, it.State)
			}
		}
		w.mustHaveEnded()
	})
}
