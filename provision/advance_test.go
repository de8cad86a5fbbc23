package provision_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/provision"
)

// pace asks again after one minute, two, three, and tries nothing again.
var pace = provision.Pace{PollAfter: minutes}

func types(commands []provision.Command) []string {
	var names []string
	for _, c := range commands {
		names = append(names, string(c.Type)+" "+c.Item.Name)
	}
	return names
}

// answer is a device's answer, Acknowledged unless said otherwise.
func answer(c provision.Command, with ...func(*provision.Answer)) provision.Answer {
	a := provision.Answer{Command: c, Status: provision.AnswerAcknowledged}
	for _, w := range with {
		w(&a)
	}
	return a
}

func refused(detail string) func(*provision.Answer) {
	return func(a *provision.Answer) { a.Status, a.Detail = provision.AnswerError, detail }
}

func notNow(a *provision.Answer) { a.Status = provision.AnswerNotNow }

func lists(identifiers ...string) func(*provision.Answer) {
	return func(a *provision.Answer) { a.Profiles = identifiers }
}

func reports(key provision.ItemKey, state string) func(*provision.Answer) {
	return func(a *provision.Answer) { a.Apps = map[string]string{"com.example." + key.Name: state} }
}

func plan(items ...provision.Item) []provision.PlanItem { return provision.Reconcile(items, nil) }

func TestAdvanceSendsInOrderAndOnce(t *testing.T) {
	want, err := provision.Want([]provision.Group{group("g", item(conf("wifi")), item(conf("vpn"), conf("wifi")), item(app("mail"), conf("vpn")))}, mdmProfile)
	require.NoError(t, err)
	items := plan(want...)
	var q provision.Queries

	commands, poll := provision.Advance(items, q, pace, noon)
	require.Equal(t, []string{"DeviceInformation device_information", "InstallProfile wifi", "ProfileList management_profile"}, types(commands))
	require.Zero(t, poll)
	require.Equal(t, noon, find(items, conf("wifi")).UpdatedAt)
	list := commands[2]
	q.Profiles = provision.Asked{Count: 1, Outstanding: true}
	again, _ := provision.Advance(items, q, pace, noon)
	require.Empty(t, again, "all of it is under way")

	require.True(t, provision.Take(items, answer(commands[1]), at(1)))
	require.True(t, provision.Take(items, answer(list, lists(mdmProfile, "com.example.wifi")), at(1)))
	q.Profiles.Outstanding = false
	commands, _ = provision.Advance(items, q, pace, at(1))
	require.Equal(t, []string{"InstallProfile vpn", "ProfileList management_profile"}, types(commands), "mail waits for vpn")
	require.Equal(t, 2, commands[1].Attempt)

	provision.Take(items, answer(commands[0]), at(2))
	provision.Take(items, answer(commands[1], lists("com.example.vpn")), at(2))
	commands, _ = provision.Advance(items, q, pace, at(2))
	require.Equal(t, []string{"InstallApplication mail", "ManagedApplicationList ManagedApplicationList"}, types(commands))
	require.Equal(t, []string{"com.example.mail"}, commands[1].Identifiers)
}

func TestAdvanceDoesNotChaseAnInstallThatGotNotNow(t *testing.T) {
	items := plan(item(conf("wifi")), item(app("mail")))
	var q provision.Queries
	sent, _ := provision.Advance(items, q, pace, noon)
	require.Len(t, sent, 4)
	profile, mail, list, apps := sent[0], sent[1], sent[2], sent[3]
	q = provision.Queries{Profiles: provision.Asked{Count: 1}, Apps: provision.Asked{Count: 1}} // both answered before the installs

	provision.Take(items, answer(profile, notNow), noon)
	provision.Take(items, answer(mail, notNow), noon)
	provision.Take(items, answer(list, lists()), noon)
	provision.Take(items, answer(apps), noon)
	require.Equal(t, provision.Sent, find(items, conf("wifi")).State, "a list from before the install says nothing of it")
	require.Equal(t, provision.Sent, find(items, app("mail")).State)
	commands, poll := provision.Advance(items, q, pace, at(1))
	require.Empty(t, commands, "asking again would keep a connected device busy for ever")
	require.Zero(t, poll)

	provision.Take(items, answer(profile), at(2))
	commands, _ = provision.Advance(items, q, pace, at(2))
	require.Equal(t, []string{"ProfileList management_profile"}, types(commands))
	provision.Take(items, answer(mail), at(3))
	q.Profiles = provision.Asked{Count: 2, Outstanding: true}
	commands, _ = provision.Advance(items, q, pace, at(3))
	require.Equal(t, []string{"ManagedApplicationList ManagedApplicationList"}, types(commands))
}

func TestAdvancePollsAppsWithPauses(t *testing.T) {
	items := plan(item(app("mail")), item(app("maps")))
	sent, _ := provision.Advance(items, provision.Queries{}, pace, noon)
	q := provision.Queries{Apps: provision.Asked{Count: 1}}
	provision.Take(items, answer(sent[0]), noon)
	provision.Take(items, answer(sent[1]), noon)
	provision.Take(items, answer(sent[2], func(a *provision.Answer) {
		a.Apps = map[string]string{"com.example.mail": "Installing", "com.example.maps": "PromptingForLogin"}
	}), noon)
	require.Equal(t, 1, find(items, app("mail")).Polls)
	require.Contains(t, find(items, app("maps")).Detail, "Apple Account")

	commands, poll := provision.Advance(items, q, pace, noon)
	require.Empty(t, commands)
	require.Equal(t, at(1), poll)
	commands, poll = provision.Advance(items, q, pace, at(1))
	require.Len(t, commands, 1)
	require.ElementsMatch(t, []string{"com.example.mail", "com.example.maps"}, commands[0].Identifiers)
	require.Zero(t, poll)

	q.Apps = provision.Asked{Count: 2, Outstanding: true}
	commands, poll = provision.Advance(items, q, pace, at(1))
	require.Empty(t, commands, "one question at a time")
	require.Zero(t, poll)
	provision.Take(items, answer(provision.Command{Type: provision.ManagedApplicationList}, func(a *provision.Answer) {
		a.Apps = map[string]string{"com.example.mail": "Managed", "com.example.maps": "PromptingForLogin"}
	}), at(2))
	require.Equal(t, provision.Verified, find(items, app("mail")).State)
	q.Apps.Outstanding = false
	_, poll = provision.Advance(items, q, pace, at(2))
	require.Equal(t, at(4), poll, "the second pause is longer")
}

func TestAnAppThatMovesIsAskedAfterSooner(t *testing.T) {
	items := []provision.PlanItem{planned(item(app("mail")), provision.Acknowledged, 1)}
	say := func(state string) int {
		require.True(t, provision.Take(items, answer(provision.Command{Type: provision.ManagedApplicationList}, reports(app("mail"), state)), noon))
		return items[0].Polls
	}
	require.Equal(t, []int{1, 2, 3}, []int{say("Prompting"), say("Prompting"), say("Prompting")})
	require.Equal(t, []int{1, 2}, []int{say("PromptingForLogin"), say("PromptingForLogin")}, "somebody answered the first")
	require.Equal(t, 1, say("Installing"))
}

func TestAdvanceRemoves(t *testing.T) {
	wifi, mail := item(conf("wifi")), item(app("mail"))
	items := provision.Reconcile(nil, []provision.PlanItem{planned(wifi, provision.Verified, 1), planned(mail, provision.Failed, 3)})
	commands, _ := provision.Advance(items, provision.Queries{}, pace, noon)
	require.Equal(t, []string{"RemoveProfile wifi", "RemoveApplication mail"}, types(commands))
	require.Equal(t, 2, commands[0].Attempt)
	require.Equal(t, "com.example.wifi", commands[0].Identifier)

	require.True(t, provision.Take(items, answer(commands[0]), at(1)))
	require.True(t, provision.Take(items, answer(commands[1], refused("it is busy")), at(1)))
	require.Equal(t, provision.Removed, items[0].State)
	require.Equal(t, provision.Removing, items[1].State)
	more, _ := provision.Advance(items, provision.Queries{}, pace, at(2))
	require.Empty(t, more, "a refused removal waits for a nudge")
	provision.Renew(items)
	more, _ = provision.Advance(items, provision.Queries{}, pace, at(3))
	require.Equal(t, []string{"RemoveApplication mail"}, types(more))
	require.Equal(t, 5, more[0].Attempt)
	require.True(t, provision.Take(items, answer(more[0], refused("there is none"), func(a *provision.Answer) { a.Absent = true }), at(4)))
	require.Equal(t, provision.Removed, items[1].State, "what isn't there is removed")
	provision.Renew(items)
	require.Equal(t, provision.Removed, items[1].State)
}

func TestTakeInstallAnswers(t *testing.T) {
	for name, c := range map[string]struct {
		key    provision.ItemKey
		with   []func(*provision.Answer)
		state  provision.ItemState
		detail string
	}{
		"acknowledged":            {conf("x"), nil, provision.Acknowledged, ""},
		"an app":                  {app("x"), nil, provision.Acknowledged, ""},
		"refused":                 {conf("x"), []func(*provision.Answer){refused("no space")}, provision.Failed, "no space"},
		"refused without a word":  {conf("x"), []func(*provision.Answer){refused("")}, provision.Failed, "The device answered Error and gave no reason."},
		"not now":                 {conf("x"), []func(*provision.Answer){notNow}, provision.Sent, "The device answered NotNow; it is asked again."},
		"a badly written command": {app("x"), []func(*provision.Answer){refused(""), func(a *provision.Answer) { a.Status = provision.AnswerFormatError }}, provision.Failed, "The device answered CommandFormatError and gave no reason."},
	} {
		items := plan(item(c.key))
		sent, _ := provision.Advance(items, provision.Queries{}, pace, noon)
		a := answer(sent[0], c.with...)
		require.True(t, provision.Take(items, a, at(1)), name)
		require.Equal(t, c.state, items[0].State, name)
		require.Equal(t, c.detail, items[0].Detail, name)
		require.Equal(t, at(1), items[0].UpdatedAt, name)
		require.False(t, provision.Take(items, a, at(2)), "%s, twice", name)
		require.Equal(t, at(1), items[0].UpdatedAt, name)
	}
}

func TestTakeIgnoresAttemptsThatAreOver(t *testing.T) {
	items := plan(item(conf("x")))
	first, _ := provision.Advance(items, provision.Queries{}, pace, noon)
	items = provision.Reconcile([]provision.Item{version(2, item(conf("x")))}, items)
	second, _ := provision.Advance(items, provision.Queries{Profiles: provision.Asked{Count: 1, Outstanding: true}}, pace, at(1))
	require.Equal(t, 2, second[0].Attempt)
	for _, a := range []provision.Answer{answer(first[0]), answer(first[0], refused("x")), answer(first[0], notNow)} {
		require.False(t, provision.Take(items, a, at(2)))
	}
	require.Equal(t, provision.Sent, items[0].State)
	require.False(t, provision.Take(items, answer(provision.Command{Type: provision.DeviceConfigured, Item: provision.ItemKey{Kind: provision.BuiltinItem, Name: provision.SetupRelease}, Attempt: 1}), at(2)))
}

func TestTakeLists(t *testing.T) {
	profiles := provision.Command{Type: provision.ProfileList}
	apps := provision.Command{Type: provision.ManagedApplicationList, Identifiers: []string{"com.example.x"}}
	others := provision.Command{Type: provision.ManagedApplicationList, Identifiers: []string{"com.example.y"}}
	management := provision.Builtins(mdmProfile)[1]
	for name, c := range map[string]struct {
		item   provision.Item
		answer provision.Answer
		state  provision.ItemState
		detail string
	}{
		"listed":                       {item(conf("x")), answer(profiles, lists("a", "com.example.x")), provision.Verified, ""},
		"not listed":                   {item(conf("x")), answer(profiles, lists("a")), provision.Failed, "does not list it"},
		"no list":                      {item(conf("x")), answer(profiles, refused("locked")), provision.Failed, "refused to list its profiles: locked"},
		"the management profile":       {management, answer(profiles, lists(mdmProfile)), provision.Verified, ""},
		"without a management profile": {management, answer(profiles, lists("a")), provision.Failed, "does not list the management profile"},
		"profiles say nothing of apps": {item(app("x")), answer(profiles, lists("com.example.x")), provision.Acknowledged, ""},
		"apps say nothing of profiles": {item(conf("x")), answer(apps, reports(app("x"), "Managed")), provision.Acknowledged, ""},
		"managed":                      {item(app("x")), answer(apps, reports(app("x"), "Managed")), provision.Verified, ""},
		"not asked after":              {item(app("x")), answer(others, reports(app("x"), "Managed")), provision.Acknowledged, ""},
		"an app not listed":            {item(app("x")), answer(apps), provision.Failed, "does not list it"},
		"no list of apps":              {item(app("x")), answer(apps, refused("")), provision.Failed, "refused to list its apps: The device answered Error"},
	} {
		items := []provision.PlanItem{planned(c.item, provision.Acknowledged, 1)}
		changed := provision.Take(items, c.answer, at(1))
		require.Equal(t, c.state, items[0].State, name)
		require.Contains(t, items[0].Detail, c.detail, name)
		require.Equal(t, c.state != provision.Acknowledged, changed, name)
	}
	for _, state := range []provision.ItemState{provision.Pending, provision.Sent, provision.Verified, provision.Failed, provision.RemovePending, provision.Removing, provision.Removed} {
		items := []provision.PlanItem{planned(item(conf("x")), state, 1), planned(item(app("x")), state, 1)}
		require.False(t, provision.Take(items, answer(profiles, lists()), at(1)), state)
		require.False(t, provision.Take(items, answer(apps), at(1)), state)
	}
}

func TestTakeAppStates(t *testing.T) {
	for state, c := range map[string]struct {
		becomes provision.ItemState
		detail  string
	}{
		"Queued":                  {provision.Acknowledged, "under way"},
		"NeedsRedemption":         {provision.Acknowledged, "redemption code"},
		"Redeeming":               {provision.Acknowledged, "under way"},
		"Prompting":               {provision.Acknowledged, "agree"},
		"PromptingForLogin":       {provision.Acknowledged, "Apple Account"},
		"ValidatingPurchase":      {provision.Acknowledged, "under way"},
		"PromptingForUpdate":      {provision.Acknowledged, "agree"},
		"PromptingForUpdateLogin": {provision.Acknowledged, "Apple Account"},
		"PromptingForManagement":  {provision.Acknowledged, "agree"},
		"ValidatingUpdate":        {provision.Acknowledged, "under way"},
		"Updating":                {provision.Acknowledged, "under way"},
		"Installing":              {provision.Acknowledged, "under way"},
		"Unknown":                 {provision.Acknowledged, "under way"},
		"Managed":                 {provision.Verified, ""},
		"ManagedButUninstalled":   {provision.Failed, "ManagedButUninstalled"},
		"UserInstalledApp":        {provision.Failed, "UserInstalledApp"},
		"UserRejected":            {provision.Failed, "UserRejected"},
		"UpdateRejected":          {provision.Failed, "UpdateRejected"},
		"ManagementRejected":      {provision.Failed, "ManagementRejected"},
		"Failed":                  {provision.Failed, "Failed"},
	} {
		items := []provision.PlanItem{planned(item(app("x")), provision.Acknowledged, 1)}
		require.True(t, provision.Take(items, answer(provision.Command{Type: provision.ManagedApplicationList}, reports(app("x"), state)), at(1)))
		require.Equal(t, c.becomes, items[0].State, state)
		require.Contains(t, items[0].Detail, c.detail, state)
	}
}
