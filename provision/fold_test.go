package provision_test

import (
	"encoding/json"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/muster-mdm/muster/provision"
)

func same(t *rapid.T, want, got provision.Device, when string) {
	t.Helper()
	if !reflect.DeepEqual(want, got) {
		t.Fatalf("%s, the device is\n%+v\nnot\n%+v", when, got, want)
	}
}

// deliver draws an order of the facts with some of them repeated.
func deliver(t *rapid.T, facts []provision.Fact) []provision.Fact {
	all := slices.Clone(facts)
	if len(facts) > 0 {
		all = append(all, rapid.SliceOfN(rapid.SampledFrom(facts), 0, 10).Draw(t, "repeated")...)
	}
	if len(all) < 2 {
		return all
	}
	return rapid.Permutation(all).Draw(t, "order")
}

func TestAnyOrderWithRepeatsFoldsToTheSameDevice(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		facts := drawHistory(t)
		want := device(facts...)
		got := device(deliver(t, facts)...)
		same(t, want, got, "in another order")
		same(t, want, provision.FoldAll(got, facts...), "with all facts once more")
	})
}

// A join: whatever was folded in one place and another, together they give what all facts give.
func TestFoldingInPartsIsFoldingAll(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		facts := drawHistory(t)
		i := rapid.IntRange(0, len(facts)).Draw(t, "first part ends")
		j := rapid.IntRange(0, i).Draw(t, "second part begins") // they overlap
		first, second := facts[:i], facts[j:]
		want := device(facts...)
		same(t, want, provision.FoldAll(device(first...), second...), "first, then second")
		same(t, want, provision.FoldAll(device(second...), first...), "second, then first")
	})
}

func TestFoldedDevicesAreAsTheRequirementsSay(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		facts := drawHistory(t)
		want, got := model(facts), device(deliver(t, facts)...)
		switch {
		case got.Status() != want.status:
			t.Fatalf("status is %q, not %q", got.Status(), want.status)
		case !slices.Equal(got.Awaiting(), want.awaiting):
			t.Fatalf("it awaits %v, not %v", got.Awaiting(), want.awaiting)
		case got.Management() != want.management:
			t.Fatalf("it is %s, not %s", got.Management(), want.management)
		case !reflect.DeepEqual(got.Assignment, want.assignment):
			t.Fatalf("assigned %+v, not %+v", got.Assignment, want.assignment)
		case got.Activation.Epoch != want.epoch:
			t.Fatalf("epoch %d, not %d", got.Activation.Epoch, want.epoch)
		case got.OnHold != want.onHold:
			t.Fatalf("on hold: %t, not %t", got.OnHold, want.onHold)
		}
	})
}

func TestNeitherFactAloneCompletes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		missing := rapid.SampledFrom([]provision.Kind{provision.Activated, provision.Assigned}).Draw(t, "missing")
		d := provision.Device{Serial: "C07Q853LG9RM"}
		for _, f := range deliver(t, drawHistory(t)) {
			if f.Kind == missing {
				continue
			}
			d = provision.Fold(d, f)
			step := provision.Next(d, policy(), f.At)
			if d.Status() == provision.StatusEnrolled || d.MayEnroll() || step.Do == provision.ConcludeEnrolled {
				t.Fatalf("without %s it completes: %s, then %s", missing, d.Status(), step.Do)
			}
			if missing == provision.Activated && step.Do == provision.Apply {
				t.Fatal("commands go to a device that was never activated")
			}
		}
	})
}

// view is what people and workflows see of a device.
type view struct {
	Status     provision.Status
	Labels     []string
	BlockedBy  string
	Management provision.Management
	Verdict    provision.Verdict
	Next       provision.Step
	InSetup    bool
}

func viewOf(d provision.Device) view {
	step := provision.Next(d, policy(), at(10_000))
	if d.Plan.Epoch != d.Activation.Epoch {
		step.Plan = 0 // says only which plan the decision knew
	}
	return view{d.Status(), d.Labels(), d.BlockedBy(), d.Management(), d.Verdict(), step, d.InSetup()}
}

func TestLateFactsOfEarlierEnrollmentsChangeNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := &history{t: t}
		for range rapid.IntRange(1, 30).Draw(t, "facts") {
			h.step()
		}
		h.epoch++
		h.add(provision.Fact{Kind: provision.Authenticated, Epoch: h.epoch})
		h.newest = h.add(provision.Fact{Kind: provision.Activated, Epoch: h.epoch, AwaitingConfiguration: rapid.Bool().Draw(t, "awaiting")})
		h.active = true
		if rapid.Bool().Draw(t, "planned") {
			h.plan()
		}
		before := device(h.facts...)
		n := len(h.facts)
		for range rapid.IntRange(1, 5).Draw(t, "late") {
			if h.epoch > 1 {
				h.late(rapid.IntRange(1, h.epoch-1).Draw(t, "earlier"))
			}
		}
		after := provision.FoldAll(before, h.facts[n:]...)
		if b, a := viewOf(before), viewOf(after); !reflect.DeepEqual(b, a) {
			t.Fatalf("late facts made\n%+v of\n%+v", a, b)
		}
	})
}

func TestFactsThatWereNotRecordedChangeNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		facts := drawHistory(t)
		want := device(facts...)
		for _, f := range facts {
			f.ID = -rapid.Int64Range(0, 1).Draw(t, "no id")
			same(t, want, provision.Fold(want, f), "with a fact without an id")
		}
	})
}

func TestDevicesAndFactsSurviveJSON(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		facts := drawHistory(t)
		d := provision.Device{Serial: "C07Q853LG9RM"}
		for _, f := range facts {
			d = provision.Fold(again(t, d), again(t, f))
		}
		same(t, device(facts...), d, "through JSON")
	})
}

func again[T any](t *rapid.T, v T) T {
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatalf("writing %+v: %v", v, err)
	}
	var back T
	if err := json.Unmarshal(raw, &back); err != nil {
		t.Fatalf("reading %s: %v", raw, err)
	}
	return back
}

func TestEveryDeviceKnowsWhatItWaitsForAndWhatToDoNext(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := drawPolicy(t)
		d := provision.Device{Serial: "C07Q853LG9RM"}
		for _, f := range drawHistory(t) {
			d = provision.Fold(d, f)
			now := f.At.Add(rapid.SampledFrom(pauses).Draw(t, "later"))
			checkStep(t, provision.Next(d, p, now), now)
			status := d.Status()
			waits := d.Explain(p, now)
			if len(waits) == 0 && !slices.Contains([]provision.Status{provision.StatusEnrolled, provision.StatusReleased, provision.StatusWithdrawn}, status) {
				t.Fatalf("a device that is %s can't say why", status)
			}
			for _, w := range waits {
				if w.For == "" || w.Who == "" || w.Since.IsZero() {
					t.Fatalf("half an explanation: %+v", w)
				}
				if w.Until != nil && !w.Until.After(now) {
					t.Fatalf("it promises something for %s and it is %s: %+v", w.Until, now, w)
				}
			}
		}
	})
}

var pauses = []time.Duration{0, time.Second, minute, 20 * minute, 24 * time.Hour}

func drawPolicy(t *rapid.T) provision.Policy {
	durations := rapid.SliceOfN(rapid.SampledFrom(pauses[1:]), 0, 3)
	return provision.Policy{
		SetupHold:  rapid.SampledFrom(pauses).Draw(t, "setup hold"),
		HoldPolicy: rapid.SampledFrom([]provision.HoldPolicy{provision.HoldRelease, provision.HoldReleaseRequiredOnly, provision.HoldKeepAndAlert, ""}).Draw(t, "hold policy"),
		RetryAfter: durations.Draw(t, "retry after"),
		NudgeAfter: durations.Draw(t, "nudge after"), RemindBefore: durations.Draw(t, "remind before"), ReleaseDelay: rapid.SampledFrom(pauses).Draw(t, "release delay"),
		ReviewFreesSetup: rapid.Bool().Draw(t, "review frees setup"),
	}
}

// checkStep holds for every step: it is one of those known, and a wait ends in the future.
func checkStep(t *rapid.T, s provision.Step, now time.Time) {
	t.Helper()
	switch s.Do {
	case provision.WaitForFacts:
		if !s.Until.IsZero() && !s.Until.After(now) {
			t.Fatalf("a wait until %s, and it is %s", s.Until, now)
		}
	case provision.ConcludeStuck:
		if s.Reason == "" {
			t.Fatal("stuck without a reason")
		}
	case provision.Apply, provision.Nudge:
		if s.Round < 1 {
			t.Fatalf("%s in round %d", s.Do, s.Round)
		}
	case provision.LeaveSetup, provision.ConcludeEnrolled, provision.ConcludeReleased, provision.AskABM,
		provision.ConcludeReview, provision.ConcludePlanned, provision.Remind, provision.SendDeprovision:
	default:
		t.Fatalf("unknown step %q", s.Do)
	}
}

func TestStraysDontHideTheNewestWord(t *testing.T) {
	reassigned := slices.Concat(enrolled, []provision.Fact{assigned(8, someone("h")), provisioning(9, 1, left), settled(10, 9, done)})
	for name, stray := range map[string]provision.Fact{
		"a verdict on an older plan":         settled(20, 5, broken),
		"a conclusion on an older plan":      about(5, inEpoch(1, fact(20, provision.Enrolled))),
		"a plan of an enrollment before":     provisioning(20, 0, broken),
		"an alert of an enrollment before":   until(at(33), because("time is up", fact(20, provision.Stuck))),
		"a nudge of an older plan":           round(7, about(5, inEpoch(1, fact(20, provision.Nudged)))),
		"a way out of setup, before":         fact(20, provision.SetupReleased),
		"an enrollment that never was":       activated(20, 0, true),
		"an end of an enrollment before":     fact(20, provision.CheckedOut),
		"a word on a plan that never was":    settled(20, 0, broken),
		"an extension of a time that is up":  until(at(90), fact(20, provision.ExtendHold)),
		"a verdict that came before another": settled(6, 9, broken),
	} {
		d := after(reassigned, stray)
		require.Equal(t, viewOf(device(reassigned...)), viewOf(d), name)
		d = provision.Fold(d, about(9, inEpoch(1, fact(21, provision.Enrolled))))
		d = provision.Fold(d, about(5, inEpoch(1, fact(22, provision.Enrolled))))
		require.Equal(t, provision.StatusEnrolled, d.Status(), name)
	}
}
