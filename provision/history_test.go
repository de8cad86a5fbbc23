package provision_test

import (
	"pgregory.net/rapid"

	"github.com/muster-mdm/muster/provision"
)

// history draws what a store may have recorded of one device: ids rise, an enrollment's facts carry its epoch, and now and
// then something comes late from an enrollment that is over. It keeps no provision.Device, so that the tests that use it
// don't lean on what they test.
type history struct {
	t       *rapid.T
	facts   []provision.Fact
	id      int64
	epoch   int
	active  bool
	newest  int64 // of what changes what is wanted
	plans   []int64
	planned int // epoch of the newest plan
}

func drawHistory(t *rapid.T) []provision.Fact {
	h := &history{t: t}
	for range rapid.IntRange(0, 40).Draw(t, "facts") {
		h.step()
	}
	return h.facts
}

func (h *history) add(f provision.Fact) int64 {
	h.id += rapid.Int64Range(1, 3).Draw(h.t, "gap")
	f.ID, f.At = h.id, at(int(h.id))
	h.facts = append(h.facts, f)
	return h.id
}

func (h *history) pick(name string, options ...string) string {
	return rapid.SampledFrom(options).Draw(h.t, name)
}

func (h *history) step() {
	switch h.pick("what", "device", "device", "device", "wanted", "wanted", "plan", "plan", "plan", "conclusion", "conclusion", "request", "abm", "people", "late", "end") {
	case "device":
		h.device()
	case "wanted":
		h.wanted()
	case "plan":
		if h.active {
			h.plan()
		}
	case "conclusion":
		if len(h.plans) > 0 {
			h.conclude()
		}
	case "request":
		h.request()
	case "abm":
		h.abm()
	case "people":
		h.people()
	case "late":
		if h.epoch > 1 {
			h.late(rapid.IntRange(1, h.epoch-1).Draw(h.t, "earlier"))
		}
	case "end":
		if h.pick("ends", "no", "no", "no", "no", "yes") == "yes" {
			h.add(provision.Fact{Kind: provision.ReleaseRequest, Reason: "end_of_life"})
			if rapid.Bool().Draw(h.t, "cancelled") {
				h.add(provision.Fact{Kind: provision.CancelRelease})
			} else if rapid.Bool().Draw(h.t, "carried out") {
				h.add(provision.Fact{Kind: provision.Released})
			}
		}
	}
}

// people say for whom and until when the device is, or that it isn't used any more.
func (h *history) people() {
	soon := at(int(h.id) + rapid.IntRange(-5, 60).Draw(h.t, "minutes"))
	someone := &provision.Assignment{UserID: h.pick("user", "u1", "u2"), Groups: []string{"g"}}
	switch h.pick("say", "later", "loan", "signs in", "review", "deprovision", "deprovision sent", "refused", "remind", "withdraw", "withdraw", "register") {
	case "later":
		someone.EffectiveAt = &soon
		h.add(provision.Fact{Kind: provision.Assigned, Assignment: someone})
	case "loan":
		someone.ReturnBy = &soon
		h.newest = h.add(provision.Fact{Kind: provision.Assigned, Assignment: someone})
	case "withdraw": // also where nobody may: what is there must not be taken for nothing
		h.newest = h.add(provision.Fact{Kind: provision.Withdrawn})
	case "register":
		h.add(provision.Fact{Kind: provision.Registered})
	case "signs in":
		h.add(provision.Fact{Kind: provision.SignInHeld, Assignment: someone, Until: &soon, Choice: string(provision.TakeSignedIn)})
	case "review":
		h.add(provision.Fact{Kind: provision.SignInReviewed})
	case "deprovision":
		if h.active {
			h.add(provision.Fact{Kind: provision.Deprovision, Epoch: h.epoch, Reason: provision.ForRepair, Choice: h.pick("by", provision.Erase, provision.RemoveManagement)})
		}
	case "deprovision sent":
		h.add(provision.Fact{Kind: provision.DeprovisionSent, Epoch: max(h.epoch, 1)})
	case "refused":
		h.add(provision.Fact{Kind: provision.DeprovisionRefused, Epoch: max(h.epoch, 1), Round: rapid.IntRange(1, 3).Draw(h.t, "refusals")})
	case "remind":
		h.add(provision.Fact{Kind: provision.Reminded, Plan: h.newest, Round: rapid.IntRange(1, 3).Draw(h.t, "reminder")})
	}
}

func (h *history) abm() {
	state := rapid.SampledFrom([]provision.ABMState{
		provision.ABMPresent, provision.ABMPresent, provision.ABMUnassigned, provision.ABMReleased, provision.ABMMissing, provision.ABMConflict,
	}).Draw(h.t, "state")
	said := &provision.ABMFact{Server: h.pick("server", "main", "annex"), State: state}
	verb := rapid.SampledFrom([]provision.ABMVerb{provision.AssignProfile, provision.UnassignDevice, provision.ReleaseDevice}).Draw(h.t, "verb")
	switch h.pick("apple", "lists", "lists", "lists", "lists no more", "heard of", "asked", "answered", "blocked", "unassign") {
	case "lists":
		h.add(provision.Fact{Kind: provision.ABMSeen, ABM: said})
	case "lists no more":
		h.add(provision.Fact{Kind: provision.ABMGone, ABM: said})
	case "heard of":
		h.add(provision.Fact{Kind: provision.CheckedIn})
	case "asked":
		h.add(provision.Fact{Kind: provision.ABMAsked, ABM: &provision.ABMFact{Verb: verb}})
	case "answered":
		outcome := rapid.SampledFrom([]provision.ABMOutcome{provision.ABMDone, provision.ABMRetrying, provision.ABMGuided}).Draw(h.t, "outcome")
		h.add(provision.Fact{Kind: provision.ABMAnswered, ABM: &provision.ABMFact{Verb: verb, Outcome: outcome, Result: h.pick("result", "SUCCESS", "FAILED")}})
	case "blocked":
		cause := rapid.SampledFrom([]provision.BlockCause{"", provision.BlockedTerms}).Draw(h.t, "cause")
		h.add(provision.Fact{Kind: provision.ABMBlocked, ABM: &provision.ABMFact{Server: said.Server, Cause: cause}})
	case "unassign":
		h.add(provision.Fact{Kind: provision.UnassignFromMDM})
	}
}

func (h *history) device() {
	switch h.pick("does", "boots", "boots", "boots", "authenticates", "repeats", "leaves") {
	case "boots":
		if h.active || h.epoch == 0 {
			h.epoch++
		}
		h.add(provision.Fact{Kind: provision.Authenticated, Epoch: h.epoch})
		h.newest = h.add(provision.Fact{Kind: provision.Activated, Epoch: h.epoch, AwaitingConfiguration: rapid.Bool().Draw(h.t, "awaiting")})
		h.active = true
	case "authenticates":
		if h.active || h.epoch == 0 {
			h.epoch, h.active = h.epoch+1, false
		}
		h.add(provision.Fact{Kind: provision.Authenticated, Epoch: h.epoch})
	case "repeats":
		if h.active {
			h.add(provision.Fact{Kind: provision.Activated, Epoch: h.epoch, AwaitingConfiguration: rapid.Bool().Draw(h.t, "awaiting")})
		}
	case "leaves":
		if h.active {
			h.add(provision.Fact{Kind: provision.CheckedOut, Epoch: h.epoch})
			h.epoch, h.active = h.epoch+1, false // whatever comes next is another enrollment
			h.add(provision.Fact{Kind: provision.Registered})
			if rapid.Bool().Draw(h.t, "stays away") {
				h.epoch--
			}
		}
	}
}

func (h *history) wanted() {
	switch h.pick("wants", "assign", "assign", "assign", "groups", "unassign", "catalog", "retry") {
	case "assign":
		a := &provision.Assignment{UserID: h.pick("user", "u1", "u2"), Groups: []string{h.pick("group", "g", "h")}}
		h.newest = h.add(provision.Fact{Kind: provision.Assigned, Assignment: a})
	case "groups":
		h.newest = h.add(provision.Fact{Kind: provision.Assigned, Assignment: &provision.Assignment{Groups: []string{"g"}}})
	case "unassign":
		h.newest = h.add(provision.Fact{Kind: provision.Unassigned})
	case "catalog":
		h.newest = h.add(provision.Fact{Kind: provision.CatalogChanged})
	case "retry":
		h.newest = h.add(provision.Fact{Kind: provision.RetryItem})
	}
}

func (h *history) verdict() *provision.Verdict {
	v := &provision.Verdict{Total: 3, RequiredLeft: rapid.IntRange(0, 2).Draw(h.t, "left")}
	v.BeforeReleaseLeft = rapid.IntRange(0, v.RequiredLeft).Draw(h.t, "before release")
	v.RemovalsLeft = rapid.IntRange(0, 1).Draw(h.t, "removals")
	v.SetupLeft = rapid.Bool().Draw(h.t, "in setup")
	if v.RequiredLeft > 0 && rapid.Bool().Draw(h.t, "failed") {
		v.Failed = []string{"app/mail"}
	}
	return v
}

func (h *history) plan() {
	f := provision.Fact{Kind: provision.Provisioning, Epoch: h.epoch, For: h.newest, Round: rapid.IntRange(1, 3).Draw(h.t, "round"), Verdict: h.verdict()}
	h.plans = append(h.plans, h.add(f))
	h.planned = h.epoch
}

func (h *history) conclude() {
	f := provision.Fact{Epoch: h.planned, Plan: rapid.SampledFrom(h.plans).Draw(h.t, "plan")}
	if rapid.Bool().Draw(h.t, "of the newest") {
		f.Plan = h.plans[len(h.plans)-1]
	}
	switch h.pick("concludes", "settled", "settled", "enrolled", "enrolled", "stuck", "alert", "nudged", "setup released", "setup finished", "setup refused") {
	case "settled":
		f.Kind, f.Verdict = provision.Settled, h.verdict()
	case "enrolled":
		f.Kind = provision.Enrolled
	case "stuck":
		f.Kind, f.Reason = provision.Stuck, "app/mail failed"
	case "alert":
		f.Kind, f.Reason = provision.Stuck, "time is up"
		f = until(at(int(h.id)), f)
	case "nudged":
		f.Kind, f.Round = provision.Nudged, rapid.IntRange(1, 3).Draw(h.t, "nudge")
	case "setup released":
		f = provision.Fact{Kind: provision.SetupReleased, Epoch: h.epoch}
	case "setup finished":
		f = provision.Fact{Kind: provision.SetupFinished, Epoch: h.epoch}
	case "setup refused":
		f = provision.Fact{Kind: provision.SetupRefused, Epoch: h.epoch, Round: rapid.IntRange(1, provision.MostSetupTries).Draw(h.t, "refusal"), Reason: "no"}
	}
	h.add(f)
}

func (h *history) request() {
	switch h.pick("asks", "hold", "resume", "resume", "let out", "extend") {
	case "hold":
		h.add(provision.Fact{Kind: provision.HoldRequest, Reason: "on loan"})
	case "resume":
		h.add(provision.Fact{Kind: provision.ResumeRequest})
	case "let out":
		h.add(provision.Fact{Kind: provision.ReleaseFromSetup, Epoch: h.epoch})
	case "extend":
		h.add(until(at(int(h.id)+90), provision.Fact{Kind: provision.ExtendHold, Epoch: h.epoch}))
	}
}

// late adds a fact of an enrollment that is over.
func (h *history) late(epoch int) {
	f := provision.Fact{Epoch: epoch}
	switch h.pick("late", "authenticated", "activated", "checked out", "settled", "enrolled", "stuck", "nudged", "setup released", "setup finished", "setup refused", "let out", "extend") {
	case "authenticated":
		f.Kind = provision.Authenticated
	case "activated":
		f.Kind, f.AwaitingConfiguration = provision.Activated, rapid.Bool().Draw(h.t, "awaiting")
	case "checked out":
		f.Kind = provision.CheckedOut
	case "settled":
		f.Kind, f.Plan, f.Verdict = provision.Settled, h.oldPlan(), &provision.Verdict{Total: 1}
	case "enrolled":
		f.Kind, f.Plan = provision.Enrolled, h.oldPlan()
	case "stuck":
		f.Kind, f.Plan, f.Reason = provision.Stuck, h.oldPlan(), "long ago"
	case "nudged":
		f.Kind, f.Plan, f.Round = provision.Nudged, h.oldPlan(), 2
	case "setup released":
		f.Kind = provision.SetupReleased
	case "setup finished":
		f.Kind = provision.SetupFinished
	case "setup refused":
		f.Kind, f.Round, f.Reason = provision.SetupRefused, provision.MostSetupTries, "long ago"
	case "let out":
		f.Kind = provision.ReleaseFromSetup
	case "extend":
		f.Kind = provision.ExtendHold
		f = until(at(5), f)
	}
	h.add(f)
}

// oldPlan is a plan of an earlier epoch, or one that never was.
func (h *history) oldPlan() int64 {
	for i, f := range h.facts {
		if f.Kind == provision.Provisioning && f.Epoch < h.epoch && (i%2 == 0 || len(h.plans) == 1) {
			return f.ID
		}
	}
	return 0
}
