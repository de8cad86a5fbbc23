package provision_test

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/muster-mdm/muster/provision"
)

// FuzzAdvanceAndTake plays plans, answers of all kinds and changes of the catalog in any order, stale and repeated ones
// included. No attempt gets a command twice, and what was verified stays so until it has a new version or attempt.
func FuzzAdvanceAndTake(f *testing.F) { f.Fuzz(rapid.MakeFuzz(advanceAndTake)) }

func TestAdvanceAndTake(t *testing.T) { rapid.Check(t, advanceAndTake) }

type tried struct {
	kind    provision.RequestType
	item    provision.ItemKey
	attempt int
}

func advanceAndTake(t *rapid.T) {
	var items []provision.PlanItem
	var sent []provision.Command
	var q provision.Queries
	seen := map[tried]bool{}
	for n := range rapid.IntRange(1, 60).Draw(t, "steps") {
		now := at(n)
		before := map[provision.ItemKey]provision.PlanItem{}
		for _, it := range items {
			before[it.Key] = it
		}
		switch rapid.SampledFrom([]string{"reconcile", "advance", "advance", "answer", "answer", "answer", "nudge", "spare"}).Draw(t, "step") {
		case "reconcile":
			items = provision.Reconcile(drawWanted(t), items)
		case "advance":
			var commands []provision.Command
			commands, _ = provision.Advance(items, q, pace, now)
			for _, c := range commands {
				key := tried{c.Type, c.Item, c.Attempt}
				if seen[key] {
					t.Fatalf("a second command for %+v", key)
				}
				seen[key] = true
				noteQuery(&q, c)
			}
			sent = append(sent, commands...)
		case "answer":
			if len(sent) > 0 {
				a := drawAnswer(t, sent)
				noteAnswer(&q, a)
				provision.Take(items, a, now)
			}
		case "nudge":
			provision.Renew(items)
		case "spare":
			provision.SpareDocuments(items, rapid.SampledFrom([]string{"", "iPad13,1", "Mac14,2"}).Draw(t, "product"), now)
		}
		checkItems(t, before, items)
	}
}

func checkItems(t *rapid.T, before map[provision.ItemKey]provision.PlanItem, items []provision.PlanItem) {
	for i, it := range items {
		was, known := before[it.Key]
		if it.Position != i {
			t.Fatalf("%s stands at %d and says %d", it.Key, i, it.Position)
		}
		if !known {
			continue
		}
		if it.Attempt < was.Attempt {
			t.Fatalf("%s goes back from attempt %d to %d", it.Key, was.Attempt, it.Attempt)
		}
		if was.State == provision.Verified && it.State != provision.Verified && it.Attempt == was.Attempt {
			t.Fatalf("%s was verified and is %s in the same attempt", it.Key, it.State)
		}
		if was.State == provision.Removed && it.State != provision.Removed && it.Attempt == was.Attempt {
			t.Fatalf("%s was removed and is %s in the same attempt", it.Key, it.State)
		}
	}
}

func drawWanted(t *rapid.T) []provision.Item {
	groups := drawGroups(t)
	for g := range groups {
		for i := range groups[g].Items {
			groups[g].Items[i].Version = rapid.IntRange(1, 3).Draw(t, "version")
		}
	}
	if rapid.Bool().Draw(t, "nobody") {
		return nil
	}
	want, err := provision.Want(groups, mdmProfile)
	if err != nil {
		t.Fatalf("composing: %v", err)
	}
	return want
}

func noteQuery(q *provision.Queries, c provision.Command) {
	asked := provision.Asked{Count: c.Attempt, Outstanding: true}
	switch c.Type {
	case provision.ProfileList:
		q.Profiles = asked
	case provision.ManagedApplicationList:
		q.Apps = asked
	case provision.ManagedMediaList:
		q.Documents = asked
	default:
	}
}

func noteAnswer(q *provision.Queries, a provision.Answer) {
	switch {
	case a.Status == provision.AnswerNotNow:
	case a.Command.Type == provision.ProfileList && a.Command.Attempt == q.Profiles.Count:
		q.Profiles.Outstanding = false
	case a.Command.Type == provision.ManagedApplicationList && a.Command.Attempt == q.Apps.Count:
		q.Apps.Outstanding = false
	case a.Command.Type == provision.ManagedMediaList && a.Command.Attempt == q.Documents.Count:
		q.Documents.Outstanding = false
	}
}

func drawAnswer(t *rapid.T, sent []provision.Command) provision.Answer {
	a := provision.Answer{
		Command: rapid.SampledFrom(sent).Draw(t, "command"),
		Status: rapid.SampledFrom([]provision.AnswerStatus{
			provision.AnswerAcknowledged, provision.AnswerAcknowledged, provision.AnswerError, provision.AnswerFormatError, provision.AnswerNotNow, "Idle?",
		}).Draw(t, "status"),
		Detail: rapid.SampledFrom([]string{"", "no"}).Draw(t, "detail"),
		Absent: rapid.Bool().Draw(t, "absent"),
		Apps:   map[string]string{},
		Books:  map[string]provision.Book{},
	}
	if a.Command.Type == provision.InstallMedia {
		a.Rejection = rapid.SampledFrom([]string{"", "", "DownloadInvalid", "Whatever"}).Draw(t, "rejection")
	}
	for _, n := range []string{"a", "b", "c", "d"} {
		if rapid.Bool().Draw(t, "lists "+n) {
			a.Profiles = append(a.Profiles, "com.example."+n)
			a.Apps["com.example."+n] = rapid.SampledFrom([]string{"Managed", "Installing", "Failed", "PromptingForLogin", ""}).Draw(t, n+" is")
			a.Books["com.example."+n] = provision.Book{
				State:   rapid.SampledFrom([]string{"Managed", "Managed", "Installing", "Uninstalled", "Unknown", ""}).Draw(t, n+" reads"),
				Version: rapid.SampledFrom([]string{"", "1", "2", "3"}).Draw(t, n+" is in version"),
			}
		}
	}
	return a
}
