package provision_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/provision"
)

// Lives of a device up to a point, from which the tables of this file start.
var (
	left     = provision.Verdict{Total: 2, RequiredLeft: 1}
	held     = provision.Verdict{Total: 2, RequiredLeft: 2, BeforeReleaseLeft: 1}
	done     = provision.Verdict{Total: 2}
	broken   = provision.Verdict{Total: 2, RequiredLeft: 1, Failed: []string{"app/mail"}}
	known    = []provision.Fact{fact(1, provision.Registered)}
	opened   = append(known[:1:1], inEpoch(1, fact(2, provision.Authenticated)))
	active   = append(opened[:2:2], activated(3, 1, false))
	both     = append(active[:3:3], assigned(4, someone("g")))
	planning = append(both[:4:4], provisioning(5, 1, left))
	ready    = append(planning[:5:5], settled(6, 5, done))
	enrolled = append(ready[:6:6], about(5, inEpoch(1, fact(7, provision.Enrolled))))
	failed   = append(planning[:5:5], settled(6, 5, broken))
	setup    = append(opened[:2:2], activated(3, 1, true), assigned(4, someone("g")), provisioning(5, 1, held))
)

func after(life []provision.Fact, more ...provision.Fact) provision.Device {
	return device(append(life[:len(life):len(life)], more...)...)
}

func TestStatus(t *testing.T) {
	const activation, assignment = "Awaiting Device Activation", "Awaiting User Assignment"
	stuck := because("app/mail failed", about(5, inEpoch(1, fact(7, provision.Stuck))))
	for name, c := range map[string]struct {
		d          provision.Device
		status     provision.Status
		labels     []string
		management provision.Management
		blockedBy  string
	}{
		"new":                          {device(), "Awaiting", []string{activation, assignment}, "staged", ""},
		"known":                        {device(known...), "Awaiting", []string{activation, assignment}, "staged", ""},
		"an Authenticate alone":        {device(opened...), "Awaiting", []string{activation, assignment}, "staged", ""},
		"activated":                    {device(active...), "Awaiting", []string{assignment}, "managed", ""},
		"assigned":                     {after(known, assigned(2, someone())), "Awaiting", []string{activation}, "staged", ""},
		"groups without anyone":        {after(active, assigned(4, &provision.Assignment{Groups: []string{"g"}})), "Awaiting", []string{assignment}, "managed", ""},
		"both":                         {device(both...), "Provisioning", []string{"Provisioning"}, "managed", ""},
		"under way":                    {device(planning...), "Provisioning", []string{"Provisioning"}, "managed", ""},
		"verified, not concluded":      {device(ready...), "Provisioning", []string{"Provisioning"}, "managed", ""},
		"enrolled":                     {device(enrolled...), "Enrolled", []string{"Enrolled"}, "managed", ""},
		"enrolled on hold":             {after(enrolled, fact(8, provision.HoldRequest)), "Enrolled", []string{"Enrolled"}, "managed", "on_hold"},
		"resumed":                      {after(enrolled, fact(8, provision.HoldRequest), fact(9, provision.ResumeRequest)), "Enrolled", []string{"Enrolled"}, "managed", ""},
		"reassigned":                   {after(enrolled, assigned(8, someone("h"))), "Provisioning", []string{"Provisioning"}, "managed", ""},
		"catalog changed":              {after(enrolled, fact(8, provision.CatalogChanged)), "Provisioning", []string{"Provisioning"}, "managed", ""},
		"unassigned":                   {after(enrolled, fact(8, provision.Unassigned)), "Awaiting", []string{assignment}, "managed", ""},
		"checked out":                  {after(enrolled, inEpoch(1, fact(8, provision.CheckedOut))), "Unmanaged", []string{"Unmanaged"}, "unmanaged", ""},
		"enrolling again":              {after(enrolled, inEpoch(2, fact(8, provision.Authenticated))), "Awaiting", []string{activation}, "staged", ""},
		"enrolled again":               {after(enrolled, activated(8, 2, false)), "Provisioning", []string{"Provisioning"}, "managed", ""},
		"stuck":                        {after(failed, stuck), "Provisioning", []string{"Provisioning"}, "managed", "stuck"},
		"stuck and retried":            {after(failed, stuck, fact(8, provision.RetryItem)), "Provisioning", []string{"Provisioning"}, "managed", ""},
		"stuck, then planned anew":     {after(failed, stuck, fact(8, provision.RetryItem), provisioning(9, 1, left)), "Provisioning", []string{"Provisioning"}, "managed", ""},
		"stuck in a former life":       {after(failed, stuck, activated(8, 2, false)), "Provisioning", []string{"Provisioning"}, "managed", ""},
		"conflict":                     {after(both, abm(5, provision.ABMConflict)), "Provisioning", []string{"Provisioning"}, "managed", "abm_conflict"},
		"taken off the server, staged": {after(known, abm(2, provision.ABMUnassigned)), "Unassigned", []string{"Unassigned"}, "staged", ""},
		"taken off the server":         {after(enrolled, abm(8, provision.ABMUnassigned)), "Unassign Pending", []string{"Unassign Pending"}, "managed", ""},
		"release asked for":            {after(enrolled, fact(8, provision.ReleaseRequest)), "Enrolled", []string{"Enrolled"}, "managed", ""},
		"released":                     {after(enrolled, fact(8, provision.ReleaseRequest), fact(9, provision.HoldRequest), fact(10, provision.Released)), "Released", []string{"Released"}, "managed", ""},
		"after release":                {after(enrolled, fact(8, provision.Released), assigned(9, someone("h")), activated(10, 2, false)), "Released", []string{"Released"}, "managed", ""},
		"kept in setup":                {after(setup, until(at(33), about(5, inEpoch(1, fact(6, provision.Stuck))))), "Provisioning", []string{"Provisioning"}, "managed", "stuck"},
		"kept in setup, then let out":  {after(setup, until(at(33), about(5, inEpoch(1, fact(6, provision.Stuck)))), inEpoch(1, fact(7, provision.SetupReleased))), "Provisioning", []string{"Provisioning"}, "managed", ""},
		"kept in setup, then extended": {after(setup, until(at(33), about(5, inEpoch(1, fact(6, provision.Stuck)))), until(at(90), inEpoch(1, fact(7, provision.ExtendHold)))), "Provisioning", []string{"Provisioning"}, "managed", ""},
		"kept in setup, nobody given":  {device(activated(3, 1, true), until(at(33), inEpoch(1, fact(6, provision.Stuck)))), "Awaiting", []string{assignment}, "managed", "stuck"},
	} {
		require.Equal(t, c.status, c.d.Status(), name)
		require.Equal(t, c.labels, c.d.Labels(), name)
		require.Equal(t, c.management, c.d.Management(), name)
		require.Equal(t, c.blockedBy, c.d.BlockedBy(), name)
		if c.status == provision.StatusAwaiting {
			require.Equal(t, c.labels, c.d.Awaiting(), name)
		} else {
			require.Empty(t, c.d.Awaiting(), name)
		}
	}
}

func TestExplain(t *testing.T) {
	type wait struct {
		says  string
		since int
		who   string
		until int // in minutes, if any
	}
	stuck := because("app/mail failed, tried 3 times", about(5, inEpoch(1, fact(7, provision.Stuck))))
	for name, c := range map[string]struct {
		d    provision.Device
		want []wait
	}{
		"known": {device(known...), []wait{
			{"Awaiting Device Activation: the device must be switched on, reach Apple and enroll. So far only people have named its serial number", 1, "the person who holds", 0},
			{"Awaiting User Assignment: nobody is assigned", 1, "a technician", 0},
		}},
		"an Authenticate alone": {after(opened, assigned(3, someone())), []wait{{"has not sent its push token", 2, "the device", 0}}},
		"groups without anyone": {after(active, assigned(4, &provision.Assignment{Groups: []string{"g", "h"}})), []wait{{"groups g, h are kept", 4, "a technician", 0}}},
		"unassigned":            {after(enrolled, fact(8, provision.Unassigned)), []wait{{"nobody is assigned", 8, "a technician", 0}}},
		"in setup, nobody given": {device(activated(3, 1, true)), []wait{
			{"nobody is assigned", 3, "a technician", 0}, {"held in Setup Assistant", 3, "a technician", 33},
		}},
		"both":                {device(both...), []wait{{"is being worked out", 4, "Muster", 0}}},
		"under way":           {device(planning...), []wait{{"1 of 2 items", 5, "the device", 20}}},
		"held in setup":       {device(setup...), []wait{{"held in Setup Assistant; 1 more items", 3, "the device", 20}}},
		"failed":              {device(failed...), []wait{{"Failed: app/mail. What failed is tried again", 6, "Muster", 0}}},
		"stuck":               {after(failed, stuck), []wait{{"can't go on by itself: app/mail failed, tried 3 times.", 7, "an administrator", 0}}},
		"verified":            {device(ready...), []wait{{"is being concluded", 6, "Muster", 0}}},
		"enrolled":            {device(enrolled...), nil},
		"enrolled on hold":    {after(enrolled, because("on loan", fact(8, provision.HoldRequest))), []wait{{"on hold: on loan.", 8, "an operator", 0}}},
		"provisioning, held":  {after(planning, fact(6, provision.HoldRequest)), []wait{{"on hold.", 6, "an operator", 0}}},
		"conflict":            {after(both, abm(5, provision.ABMConflict)), []wait{{"still claims the device", 5, "Apple Business Manager", 0}}},
		"checked out":         {after(enrolled, inEpoch(1, fact(8, provision.CheckedOut))), []wait{{"profile is gone", 8, "the person who holds", 0}}},
		"off the server":      {after(enrolled, abm(8, provision.ABMUnassigned)), []wait{{"taken off this server", 8, "the person who holds", 0}}},
		"release asked for":   {after(enrolled, fact(8, provision.ReleaseRequest)), []wait{{"being carried out", 8, "Muster", 0}}},
		"released":            {after(enrolled, fact(8, provision.ReleaseRequest), fact(9, provision.Released)), nil},
		"alerted, nobody yet": {device(activated(3, 1, true), until(at(5), because("time is up", inEpoch(1, fact(6, provision.Stuck))))), []wait{{"nobody is assigned", 3, "a technician", 0}, {"held in Setup", 3, "a technician", 33}, {"by itself: time is up.", 6, "a technician", 0}}},
	} {
		got := c.d.Explain(policy(), at(10))
		require.Len(t, got, len(c.want), "%s: %v", name, got)
		for i, w := range c.want {
			require.Contains(t, got[i].For, w.says, name)
			require.Contains(t, got[i].Who, w.who, name)
			require.Equal(t, at(w.since), got[i].Since, name)
			if w.until == 0 {
				require.Nil(t, got[i].Until, name)
				continue
			}
			require.NotNil(t, got[i].Until, name)
			require.Equal(t, at(w.until), *got[i].Until, name)
		}
	}
}

// A serial number may be mistyped as long as only people named it, so just then an explanation says so.
func TestExplainNamedByPeople(t *testing.T) {
	for name, c := range map[string]struct {
		d     provision.Device
		named bool
	}{
		"registered":             {device(known...), true},
		"reserved":               {device(assigned(1, someone())), true},
		"listed by Apple":        {device(append(slices.Clone(known), abm(2, provision.ABMPresent))...), false},
		"enrollment began":       {device(opened...), false},
		"activated, unassigned":  {device(active...), false},
		"withdrawn and back":     {device(fact(1, provision.Registered), fact(2, provision.Withdrawn), fact(3, provision.Registered)), true},
		"gone from Apple's list": {device(abm(1, provision.ABMPresent), assigned(2, someone()), gone(3, provision.ABMReleased), abm(4, provision.ABMPresent)), false},
	} {
		waits := c.d.Explain(policy(), at(10))
		require.NotEmpty(t, waits, name)
		require.Equal(t, c.named, strings.Contains(waits[0].For, "withdraw it if it is mistyped"), "%s: %v", name, waits)
	}
}

func TestNextEpoch(t *testing.T) {
	for name, c := range map[string]struct {
		d    provision.Device
		want int
	}{
		"first":                        {device(), 1},
		"a repeated Authenticate":      {device(opened...), 1},
		"after an enrollment":          {device(active...), 2},
		"after a checkout":             {after(active, inEpoch(1, fact(4, provision.CheckedOut))), 2},
		"a repeat of a re-activation":  {after(active, inEpoch(2, fact(4, provision.Authenticated))), 2},
		"after an end without a start": {device(inEpoch(1, fact(1, provision.CheckedOut))), 2},
	} {
		require.Equal(t, c.want, c.d.NextEpoch(), name)
	}
}

func TestDelivers(t *testing.T) {
	authenticated := inEpoch(2, fact(0, provision.Authenticated))
	require.False(t, device(opened...).Delivers(authenticated), "it changes no decision")
	require.True(t, device(active...).Delivers(authenticated), "it ends an enrollment")
	require.True(t, after(active, inEpoch(1, fact(4, provision.CheckedOut))).Delivers(authenticated), "the status changes")
	for _, kind := range provision.Signals() {
		switch kind {
		case provision.Authenticated, provision.SetupFinished, provision.SetupRefused, provision.ABMAnswered, provision.SignInReviewed,
			provision.Withdrawn: // by what the device is: they have tests of their own
		default:
			require.True(t, device().Delivers(fact(0, kind)), kind)
		}
	}
	for _, kind := range []provision.Kind{provision.Registered, provision.Provisioning, provision.SetupReleased, provision.Enrolled, provision.Stuck, provision.Nudged, provision.Released, provision.ABMAsked} {
		require.False(t, device(active...).Delivers(fact(0, kind)), kind)
		require.NotContains(t, provision.Signals(), kind)
		require.False(t, kind.Begins(), kind)
	}
	var begin []provision.Kind
	for _, kind := range provision.Signals() {
		if kind.Begins() {
			begin = append(begin, kind)
		}
	}
	require.ElementsMatch(t, []provision.Kind{provision.ABMSeen, provision.Assigned, provision.Activated}, begin)
}
