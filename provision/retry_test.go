package provision_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/provision"
)

// twice tries again after a minute and after ten more.
var twice = provision.Pace{PollAfter: minutes, RetryAfter: []time.Duration{minute, 10 * minute}}

func optional(key provision.ItemKey) provision.Item {
	return staged(provision.BestEffort, item(key))
}

func TestWhatNothingWaitsForIsTriedAgainSomeTimes(t *testing.T) {
	items := plan(optional(conf("wallpaper")))
	q := provision.Queries{Profiles: provision.Asked{Outstanding: true}}
	begins := func(now time.Time, attempt int) provision.Command {
		t.Helper()
		commands, _ := provision.Advance(items, q, twice, now)
		require.Equal(t, []string{"InstallProfile wallpaper"}, types(commands))
		require.Equal(t, attempt, commands[0].Attempt, "a repeated command has a UUID of its own")
		return commands[0]
	}
	waits := func(now, until time.Time) {
		t.Helper()
		commands, poll := provision.Advance(items, q, twice, now)
		require.Empty(t, commands)
		require.Equal(t, until, poll)
	}
	first := begins(noon, 1)
	provision.Take(items, answer(first, refused("no space left")), at(1))
	waits(at(1), at(2))
	second := begins(at(3), 2)
	require.Empty(t, find(items, conf("wallpaper")).Detail)
	require.False(t, provision.Take(items, answer(first), at(3)), "the first attempt is over")
	provision.Take(items, answer(second, refused("no space left")), at(4))
	waits(at(13), at(14))
	third := begins(at(14), 3)
	provision.Take(items, answer(third, refused("no space left")), at(15))
	waits(at(9999), time.Time{})
	require.Equal(t, provision.Failed, find(items, conf("wallpaper")).State)
	require.Equal(t, "no space left", find(items, conf("wallpaper")).Detail)

	items = provision.Reconcile([]provision.Item{optional(conf("wallpaper"))}, items)
	fourth := begins(at(10000), 4)
	provision.Take(items, answer(fourth, refused("no space left")), at(10000))
	waits(at(10000), at(10001))
}

func TestATryAgainGoesOnWithWhatDependsOnIt(t *testing.T) {
	after := optional(app("weather"))
	after.DependsOn = []provision.ItemKey{conf("wifi")}
	items := plan(optional(conf("wifi")), after)
	var q provision.Queries
	sent, _ := provision.Advance(items, q, twice, noon)
	provision.Take(items, answer(sent[0], refused("busy")), noon)
	sent, _ = provision.Advance(items, q, twice, at(1))
	require.Equal(t, []string{"InstallProfile wifi", "ProfileList management_profile"}, types(sent))
	provision.Take(items, answer(sent[0]), at(1))
	items = provision.Reconcile([]provision.Item{optional(conf("wifi")), after}, items)
	require.Equal(t, 1, find(items, conf("wifi")).Retries, "it is under way, and was tried as often as before")
	provision.Take(items, answer(sent[1], lists("com.example.wifi")), at(1))
	sent, _ = provision.Advance(items, q, twice, at(1))
	require.Equal(t, []string{"InstallApplication weather", "ManagedApplicationList ManagedApplicationList"}, types(sent))
}

func TestWhatIsNotTriedAgainByItself(t *testing.T) {
	mail, book := optional(app("mail")), optional(doc("handbook"))
	failed := func(it provision.Item, how ...func(*provision.Answer)) []provision.PlanItem {
		items := plan(it)
		sent, _ := provision.Advance(items, provision.Queries{}, twice, noon)
		for i, with := range how {
			provision.Take(items, answer(sent[i], with), noon)
		}
		require.Equal(t, provision.Failed, items[0].State)
		return items
	}
	ok := func(*provision.Answer) {}
	rejected := func(reason string) func(*provision.Answer) {
		return func(a *provision.Answer) { a.Rejection = reason }
	}
	books := func(state string) func(*provision.Answer) {
		return func(a *provision.Answer) {
			a.Books = map[string]provision.Book{"com.example.handbook": {State: state}}
		}
	}
	mac := plan(book)
	provision.SpareDocuments(mac, "Mac14,2", noon)
	mac2 := failed(book, refused("no"))
	provision.SpareDocuments(mac2, "Mac14,2", noon)
	leaving := provision.Reconcile(nil, failed(mail, refused("no")))
	leaving[0].State = provision.Removing

	for name, c := range map[string]struct {
		items []provision.PlanItem
		again bool
	}{
		"the device refused it":               {failed(mail, refused("no")), true},
		"the installation failed":             {failed(mail, ok, reports(app("mail"), "Failed")), true},
		"somebody installed it themselves":    {failed(mail, ok, reports(app("mail"), "UserInstalledApp")), true},
		"somebody declined it":                {failed(mail, ok, reports(app("mail"), "UserRejected")), false},
		"somebody declined its update":        {failed(mail, ok, reports(app("mail"), "UpdateRejected")), false},
		"somebody declined its management":    {failed(mail, ok, reports(app("mail"), "ManagementRejected")), false},
		"somebody removed it":                 {failed(mail, ok, reports(app("mail"), "ManagedButUninstalled")), false},
		"the command is wrong":                {failed(mail, func(a *provision.Answer) { a.Status = provision.AnswerFormatError }), false},
		"a download that broke":               {failed(book, rejected("DownloadInvalid")), true},
		"an unknown rejection":                {failed(book, rejected("Whatever")), true},
		"a device for several people":         {failed(book, rejected("EnterpriseBooksNotSupportedInMultiUser")), false},
		"a type that the device doesn't take": {failed(book, rejected("WrongMediaType")), false},
		"a book that failed":                  {failed(book, ok, books("Failed")), true},
		"a book that somebody removed":        {failed(book, ok, books("ManagedButUninstalled")), false},
		"a Mac's document":                    {mac, false},
		"a Mac's document, seen too late":     {mac2, false},
		"what is required, by this means":     {failed(item(app("mail")), refused("no")), false},
		"what is leaving":                     {leaving, false},
	} {
		t.Run(name, func(t *testing.T) {
			commands, _ := provision.Advance(c.items, provision.Queries{Apps: provision.Asked{Outstanding: true}}, twice, at(1000))
			if !c.again {
				require.Empty(t, commands)
				return
			}
			require.Equal(t, provision.Sent, c.items[0].State)
			require.Equal(t, 2, commands[0].Attempt)
			require.Equal(t, 1, c.items[0].Retries)
		})
	}
}
