package provision_test

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/provision"
)

func policed(change func(*provision.Policy)) provision.Policy {
	p := policy()
	change(&p)
	return p
}

func round(n int, f provision.Fact) provision.Fact { f.Round = n; return f }

func TestNext(t *testing.T) {
	keep := policed(func(p *provision.Policy) { p.HoldPolicy = provision.HoldKeepAndAlert })
	required := policed(func(p *provision.Policy) { p.HoldPolicy = provision.HoldReleaseRequiredOnly })
	wait := provision.Step{Do: provision.WaitForFacts, Epoch: 1}
	waitUntil := func(minutes int) provision.Step { s := wait; s.Until = at(minutes); return s }
	step := func(do provision.Action, with ...func(*provision.Step)) provision.Step {
		s := provision.Step{Do: do, Epoch: 1}
		for _, w := range with {
			w(&s)
		}
		return s
	}
	on := func(plan int64) func(*provision.Step) { return func(s *provision.Step) { s.Plan = plan } }
	try := func(n int) func(*provision.Step) { return func(s *provision.Step) { s.Round = n } }
	why := func(reason string) func(*provision.Step) { return func(s *provision.Step) { s.Reason = reason } }
	due := func(minutes int) func(*provision.Step) { return func(s *provision.Step) { s.Until = at(minutes) } }
	const timeIsUp, operator, precedes = "The time in Setup Assistant is up.", "An operator asked for it.", "Everything that must precede is on the device."
	const kept = "The time in Setup Assistant is up and the policy keeps the device there"
	nudged := func(id int64, n int) provision.Fact {
		return round(n, about(5, inEpoch(1, fact(id, provision.Nudged))))
	}
	third := round(3, provisioning(6, 1, left))
	exhausted := slices.Concat(both, []provision.Fact{third, settled(7, 6, broken)})
	lastTry := slices.Concat(setup[:4], []provision.Fact{round(3, provisioning(5, 1, held))})
	removing := provision.Verdict{Total: 2, RemovalsLeft: 1}

	for name, c := range map[string]struct {
		d    provision.Device
		p    provision.Policy
		now  int
		want provision.Step
	}{
		"nothing known":              {device(), policy(), 10, provision.Step{Do: provision.WaitForFacts}},
		"not activated":              {device(opened...), policy(), 10, wait},
		"assigned alone":             {device(assigned(1, someone("g"))), policy(), 10, provision.Step{Do: provision.WaitForFacts}},
		"activated alone":            {device(active...), policy(), 10, wait},
		"groups without anyone":      {after(active, assigned(4, &provision.Assignment{Groups: []string{"g"}})), policy(), 10, wait},
		"both":                       {device(both...), policy(), 10, step(provision.Apply, try(1))},
		"reassigned":                 {after(enrolled, assigned(8, someone("h"))), policy(), 10, step(provision.Apply, try(1))},
		"catalog changed":            {after(enrolled, fact(8, provision.CatalogChanged)), policy(), 10, step(provision.Apply, try(1))},
		"unassigned":                 {after(enrolled, fact(8, provision.Unassigned)), policy(), 10, step(provision.Apply, try(1))},
		"under way":                  {device(planning...), policy(), 10, waitUntil(20)},
		"silent":                     {device(planning...), policy(), 20, step(provision.Nudge, on(5), try(1), due(80))},
		"silent since a nudge":       {after(planning, nudged(20, 1)), policy(), 21, waitUntil(80)},
		"silent for long":            {after(planning, nudged(20, 1)), policy(), 80, step(provision.Nudge, on(5), try(2), due(140))},
		"the last pause repeats":     {after(planning, nudged(20, 1), nudged(80, 2)), policy(), 139, waitUntil(140)},
		"a nudge dated behind":       {after(planning, until(at(200), nudged(20, 1))), policy(), 100, waitUntil(200)},
		"a nudge of an older plan":   {after(both, about(2, inEpoch(1, fact(5, provision.Nudged))), provisioning(6, 1, left)), policy(), 7, waitUntil(21)},
		"nudges off":                 {device(planning...), policed(func(p *provision.Policy) { p.NudgeAfter = nil }), 500, wait},
		"verified":                   {device(ready...), policy(), 10, step(provision.ConcludeEnrolled, on(5))},
		"enrolled":                   {device(enrolled...), policy(), 500, wait},
		"enrolled, removals left":    {after(both, provisioning(5, 1, removing), about(5, inEpoch(1, fact(6, provision.Enrolled)))), policy(), 7, waitUntil(20)},
		"unassigned, removals left":  {after(enrolled, fact(8, provision.Unassigned), provisioning(9, 1, provision.Verdict{RemovalsLeft: 1})), policy(), 10, waitUntil(24)},
		"unassigned, all is removed": {after(enrolled, fact(8, provision.Unassigned), provisioning(9, 1, provision.Verdict{})), policy(), 500, wait},
		"failed once":                {device(failed...), policy(), 6, waitUntil(7)},
		"failed once, pause over":    {device(failed...), policy(), 7, step(provision.Apply, on(5), try(2), why("Failed items are tried again."))},
		"failed twice":               {after(both, round(2, provisioning(5, 1, left)), settled(6, 5, broken)), policy(), 7, waitUntil(16)},
		"failed for good":            {device(exhausted...), policy(), 8, step(provision.ConcludeStuck, on(6), why("app/mail failed, tried 3 times"))},
		"no second try":              {device(failed...), policed(func(p *provision.Policy) { p.RetryAfter = nil }), 8, step(provision.ConcludeStuck, on(5), why("app/mail failed, tried once"))},
		"stuck":                      {after(exhausted, about(6, inEpoch(1, fact(8, provision.Stuck)))), policy(), 500, wait},
		"stuck and retried":          {after(exhausted, about(6, inEpoch(1, fact(8, provision.Stuck))), fact(9, provision.RetryItem)), policy(), 10, step(provision.Apply, try(1))},
		"stuck without a plan":       {after(both, inEpoch(1, fact(5, provision.Stuck))), policy(), 500, wait},
		"the groups were mended":     {after(both, inEpoch(1, fact(5, provision.Stuck)), fact(6, provision.CatalogChanged)), policy(), 7, step(provision.Apply, try(1))},
		"stuck without one, earlier": {after(both, inEpoch(1, fact(5, provision.Stuck)), activated(6, 2, false)), policy(), 7, provision.Step{Do: provision.Apply, Round: 1, Epoch: 2}},

		"on hold":                  {after(ready, fact(7, provision.HoldRequest)), policy(), 500, wait},
		"resumed":                  {after(ready, fact(7, provision.HoldRequest), fact(8, provision.ResumeRequest)), policy(), 10, step(provision.ConcludeEnrolled, on(5))},
		"conflict":                 {after(ready, abm(7, provision.ABMConflict)), policy(), 500, wait},
		"conflict is over":         {after(ready, abm(7, provision.ABMConflict), abm(8, provision.ABMPresent)), policy(), 10, step(provision.ConcludeEnrolled, on(5))},
		"checked out":              {after(ready, inEpoch(1, fact(7, provision.CheckedOut))), policy(), 500, wait},
		"release asked for":        {after(known, because("end_of_life", fact(2, provision.ReleaseRequest))), policy(), 10, provision.Step{Do: provision.ConcludeReleased, Reason: "end_of_life"}},
		"release of a held device": {after(ready, fact(7, provision.HoldRequest), fact(8, provision.ReleaseRequest)), policy(), 10, step(provision.ConcludeReleased)},
		"released":                 {after(ready, fact(7, provision.ReleaseRequest), fact(8, provision.Released)), policy(), 10, wait},

		"in setup, nobody given":          {device(activated(3, 1, true)), policy(), 10, waitUntil(33)},
		"in setup, time is up":            {device(activated(3, 1, true)), policy(), 33, step(provision.LeaveSetup, why(timeIsUp))},
		"assigned in setup":               {device(activated(3, 1, true), assigned(10, someone("g"))), policy(), 11, step(provision.Apply, try(1))},
		"in setup, under way":             {device(setup...), policy(), 10, waitUntil(20)},
		"in setup, deadline before nudge": {device(setup...), policed(func(p *provision.Policy) { p.SetupHold = 10 * minute }), 10, waitUntil(13)},
		"in setup, all precedes":          {after(setup, settled(6, 5, left)), policy(), 10, step(provision.LeaveSetup, on(5), why(precedes))},
		"in setup, catalog changed":       {after(setup, settled(6, 5, left), fact(7, provision.CatalogChanged)), policy(), 10, step(provision.Apply, try(1))},
		"in setup, all is there":          {after(setup, settled(6, 5, done)), policy(), 10, step(provision.LeaveSetup, on(5), why(precedes))},
		"out of setup":                    {after(setup, settled(6, 5, done), inEpoch(1, fact(7, provision.SetupReleased))), policy(), 10, step(provision.ConcludeEnrolled, on(5))},
		"in setup, extended":              {after(setup, until(at(90), inEpoch(1, fact(6, provision.ExtendHold)))), policy(), 85, step(provision.Nudge, on(5), try(1), due(145))},
		"extended, time is up":            {after(setup, until(at(90), inEpoch(1, fact(6, provision.ExtendHold)))), policy(), 90, step(provision.LeaveSetup, why(timeIsUp))},
		"extended in a former life":       {after(setup, until(at(90), inEpoch(1, fact(6, provision.ExtendHold))), activated(40, 2, true), fact(41, provision.Unassigned)), policy(), 69, provision.Step{Do: provision.WaitForFacts, Until: at(70), Epoch: 2}},
		"an operator lets it out":         {after(setup, inEpoch(1, fact(6, provision.ReleaseFromSetup))), policy(), 10, step(provision.LeaveSetup, why(operator))},
		"even while it is on hold":        {after(setup, fact(6, provision.HoldRequest), inEpoch(1, fact(7, provision.ReleaseFromSetup))), policy(), 10, step(provision.LeaveSetup, why(operator))},
		"on hold in setup":                {after(setup, fact(6, provision.HoldRequest)), policy(), 500, wait},
		"let out in a former life":        {after(setup, inEpoch(1, fact(6, provision.ReleaseFromSetup)), activated(7, 2, true), fact(8, provision.Unassigned)), policy(), 10, provision.Step{Do: provision.WaitForFacts, Until: at(37), Epoch: 2}},

		"keep, time is up":               {device(setup...), keep, 33, step(provision.ConcludeStuck, on(5), due(33), why(kept))},
		"keep, nobody given":             {device(activated(3, 1, true)), keep, 33, step(provision.ConcludeStuck, due(33), why(kept))},
		"keep, alerted":                  {after(setup, until(at(33), about(5, inEpoch(1, fact(34, provision.Stuck)))), nudged(35, 1)), keep, 36, waitUntil(95)},
		"keep, alerted, assigned then":   {device(activated(3, 1, true), until(at(33), inEpoch(1, fact(34, provision.Stuck))), assigned(35, someone("g"))), keep, 36, step(provision.Apply, try(1))},
		"keep, alerted unplanned":        {device(activated(3, 1, true), assigned(4, someone("g")), until(at(33), inEpoch(1, fact(34, provision.Stuck)))), keep, 36, step(provision.Apply, try(1))},
		"keep, extended since":           {after(setup, until(at(33), about(5, inEpoch(1, fact(34, provision.Stuck)))), until(at(60), inEpoch(1, fact(35, provision.ExtendHold))), nudged(36, 1)), keep, 60, step(provision.ConcludeStuck, on(5), due(60), why(kept))},
		"keep, all precedes at last":     {after(setup, until(at(33), about(5, inEpoch(1, fact(34, provision.Stuck)))), settled(35, 5, left)), keep, 36, step(provision.LeaveSetup, on(5), why(precedes))},
		"keep, then failed for good":     {after(lastTry, until(at(33), about(5, inEpoch(1, fact(34, provision.Stuck)))), settled(35, 5, brokenBefore)), keep, 36, step(provision.ConcludeStuck, on(5), why("app/mail failed, tried 3 times"))},
		"keep, both were said":           {after(lastTry, until(at(33), about(5, inEpoch(1, fact(34, provision.Stuck)))), settled(35, 5, brokenBefore), about(5, inEpoch(1, fact(36, provision.Stuck)))), keep, 37, wait},
		"keep, failed for good before":   {after(lastTry, settled(6, 5, brokenBefore), about(5, inEpoch(1, fact(7, provision.Stuck)))), keep, 36, wait},
		"required only, nothing failed":  {device(setup...), required, 33, step(provision.LeaveSetup, why(timeIsUp))},
		"required only, failed":          {after(setup, settled(6, 5, brokenBefore)), required, 33, step(provision.ConcludeStuck, on(5), due(33), why(kept+"; failed: app/mail"))},
		"required only, tried again":     {after(setup[:4], round(2, provisioning(32, 1, held))), required, 33, step(provision.ConcludeStuck, on(32), due(33), why(kept))},
		"required only, kept and mended": {after(setup, settled(6, 5, brokenBefore), until(at(33), about(5, inEpoch(1, fact(34, provision.Stuck)))), fact(35, provision.RetryItem), provisioning(36, 1, held)), required, 37, waitUntil(51)},
		"release, stuck":                 {after(setup, inEpoch(1, fact(6, provision.Stuck))), policy(), 33, step(provision.LeaveSetup, why(timeIsUp))},
		"keep, stuck already":            {after(setup[:4], inEpoch(1, fact(6, provision.Stuck))), keep, 33, wait},
	} {
		t.Run(name, func(t *testing.T) { require.Equal(t, c.want, provision.Next(c.d, c.p, at(c.now))) })
	}
}

// brokenBefore: something that must precede the way out of Setup Assistant failed.
var brokenBefore = provision.Verdict{Total: 2, RequiredLeft: 2, BeforeReleaseLeft: 1, Failed: []string{"app/mail"}}

func TestNextCountsTimeFromTheNewestWord(t *testing.T) {
	d := after(planning, settled(30, 5, provision.Verdict{Total: 2, RequiredLeft: 1, RemovalsLeft: 0}))
	require.Equal(t, at(45), provision.Next(d, policy(), at(31)).Until, "the device spoke at 30")
	require.Equal(t, time.Time{}, provision.Next(device(enrolled...), policy(), at(31)).Until)
}
