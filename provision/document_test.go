package provision_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/muster-mdm/muster/provision"
)

const handbook = "com.example.handbook"

func books(state, version string) func(*provision.Answer) {
	return func(a *provision.Answer) {
		a.Books = map[string]provision.Book{handbook: {State: state, Version: version}}
	}
}

var mediaList = provision.Command{Type: provision.ManagedMediaList}

func TestADocumentIsVerifiedByAListInItsVersion(t *testing.T) {
	items := plan(version(2, item(doc("handbook"))))
	sent, _ := provision.Advance(items, provision.Queries{}, pace, noon)
	require.Equal(t, []string{"InstallMedia handbook", "ManagedMediaList ManagedMediaList"}, types(sent))
	require.Equal(t, handbook, sent[0].Identifier)
	require.Empty(t, sent[1].Identifiers, "this list can't be narrowed")
	it := find(items, doc("handbook"))

	require.False(t, provision.Take(items, answer(mediaList, books("Managed", "2")), noon), "a list from before the install says nothing of it")
	require.True(t, provision.Take(items, answer(sent[0]), noon))
	require.Equal(t, provision.Acknowledged, it.State)
	require.True(t, provision.Take(items, answer(mediaList, books("Installing", "2")), noon))
	require.Equal(t, provision.Acknowledged, it.State)
	require.Equal(t, "The document is under way (Installing).", it.Detail)

	q := provision.Queries{Documents: provision.Asked{Count: 1}}
	commands, poll := provision.Advance(items, q, pace, noon)
	require.Empty(t, commands)
	require.Equal(t, at(1), poll)
	commands, _ = provision.Advance(items, q, pace, at(1))
	require.Equal(t, []string{"ManagedMediaList ManagedMediaList"}, types(commands))
	require.Equal(t, 2, commands[0].Attempt)

	provision.Take(items, answer(mediaList, books("Managed", "1")), at(1))
	require.Equal(t, provision.Acknowledged, it.State, "the older version proves nothing")
	require.Contains(t, it.Detail, `version "1"`)
	provision.Take(items, answer(mediaList, books("Managed", "2")), at(2))
	require.Equal(t, provision.Verified, it.State)
}

func TestADocumentFails(t *testing.T) {
	for name, c := range map[string]struct {
		list   provision.Answer
		detail string
	}{
		"not listed":  {answer(mediaList), "does not list it"},
		"failed":      {answer(mediaList, books("Failed", "1")), "as Failed"},
		"thrown away": {answer(mediaList, books("ManagedButUninstalled", "1")), "as ManagedButUninstalled"},
		"of a store":  {answer(mediaList, books("Installed", "1")), "as Installed"},
		"no list":     {answer(mediaList, refused("not me")), "refused to list its documents: not me"},
	} {
		items := plan(item(doc("handbook")))
		sent, _ := provision.Advance(items, provision.Queries{}, pace, noon)
		provision.Take(items, answer(sent[0]), noon)
		require.True(t, provision.Take(items, c.list, noon), name)
		require.Equal(t, provision.Failed, items[0].State, name)
		require.Contains(t, items[0].Detail, c.detail, name)
	}
	for rejection, sentence := range map[string]string{
		"DownloadInvalid": "The device could not fetch the document from its address, or what it fetched is no valid document. It says: no",
		"Whatever":        "The device turned the document down: Whatever. It says: no",
	} {
		for _, status := range []provision.AnswerStatus{provision.AnswerError, provision.AnswerAcknowledged} {
			items := plan(item(doc("handbook")))
			sent, _ := provision.Advance(items, provision.Queries{}, pace, noon)
			provision.Take(items, answer(sent[0], func(a *provision.Answer) { a.Status, a.Detail, a.Rejection = status, "no", rejection }), noon)
			require.Equal(t, provision.Failed, items[0].State, "%s, %s", rejection, status)
			require.Equal(t, sentence, items[0].Detail)
		}
	}
}

// A device acknowledges the removal of a book that it doesn't have, too, so only a list proves that it is gone.
func TestARemovedDocumentIsSeenToBeGone(t *testing.T) {
	items := provision.Reconcile(nil, []provision.PlanItem{planned(item(doc("handbook")), provision.Verified, 1)})
	sent, _ := provision.Advance(items, provision.Queries{}, pace, noon)
	require.Equal(t, []string{"RemoveMedia handbook", "ManagedMediaList ManagedMediaList"}, types(sent))
	require.False(t, provision.Take(items, answer(mediaList), noon), "a list from before the removal says nothing of it")

	require.True(t, provision.Take(items, answer(sent[0]), noon))
	require.False(t, provision.Take(items, answer(sent[0]), noon), "twice")
	require.Equal(t, provision.Removing, items[0].State)
	commands, _ := provision.Advance(items, provision.Queries{Documents: provision.Asked{Count: 1}}, pace, noon)
	require.Equal(t, []string{"ManagedMediaList ManagedMediaList"}, types(commands), "the first may have been answered before")

	require.True(t, provision.Take(items, answer(mediaList, books("Managed", "1")), noon))
	require.Equal(t, provision.Removing, items[0].State)
	require.Contains(t, items[0].Detail, "still lists the document as Managed")
	commands, poll := provision.Advance(items, provision.Queries{Documents: provision.Asked{Count: 2}}, pace, noon)
	require.Empty(t, commands)
	require.Equal(t, at(1), poll)

	again := append([]provision.PlanItem(nil), items...)
	require.True(t, provision.Take(items, answer(mediaList), at(1)))
	require.Equal(t, provision.Removed, items[0].State)
	require.Empty(t, items[0].Detail)

	provision.Renew(again)
	require.Equal(t, provision.RemovePending, again[0].State)
	commands, _ = provision.Advance(again, provision.Queries{Documents: provision.Asked{Count: 2, Outstanding: true}}, pace, at(9))
	require.Equal(t, []string{"RemoveMedia handbook"}, types(commands))
	require.Greater(t, commands[0].Attempt, sent[0].Attempt)
	require.True(t, provision.Take(again, answer(commands[0]), at(9)))
	require.True(t, provision.Take(again, answer(mediaList, books("Uninstalled", "1")), at(9)))
	require.Equal(t, provision.Removed, again[0].State)
}

func TestDevicesWithoutDocumentsSayWhy(t *testing.T) {
	for product, who := range map[string]string{
		"Mac14,2": "A Mac", "MacBookPro18,3": "A Mac", "iMac21,1": "A Mac", "AppleTV14,1": "An Apple TV", "RealityDevice14,1": "An Apple Vision",
		"iPhone14,5": "", "iPad13,1": "", "iPod9,1": "", "": "", "Whatever1,1": "",
	} {
		require.Equal(t, who, provision.WithoutDocuments(product), product)
		items := plan(item(doc("handbook")), item(conf("wifi")), item(doc("rules"), conf("wifi")))
		items = append(items, planned(item(doc("old")), provision.RemovePending, 2))
		provision.SpareDocuments(items, product, at(3))
		commands, _ := provision.Advance(items, provision.Queries{}, pace, at(3))
		if who == "" {
			require.Contains(t, types(commands), "InstallMedia handbook")
			require.Contains(t, types(commands), "RemoveMedia old")
			continue
		}
		require.Equal(t, []string{"InstallProfile wifi", "ProfileList management_profile"}, types(commands), product)
		for _, name := range []string{"handbook", "rules"} {
			require.Equal(t, provision.Failed, find(items, doc(name)).State)
			require.Contains(t, find(items, doc(name)).Detail, who+" takes no documents")
			require.Equal(t, at(3), find(items, doc(name)).UpdatedAt)
		}
		require.Equal(t, provision.Removed, find(items, doc("old")).State)
		require.Equal(t, []string{"document/handbook", "document/rules"}, device().Judge(items).Failed)
		find(items, doc("rules")).Stage = provision.BestEffort
		waits := provision.ExplainItems(items)
		require.Len(t, waits, 1, "a best_effort item isn't missed")
		require.Equal(t, "document/handbook: "+find(items, doc("handbook")).Detail, waits[0].For)
		require.Equal(t, at(3), waits[0].Since)
	}
}

func TestADocumentLinkOpensByItsKeyAndInItsTimeOnly(t *testing.T) {
	key := []byte("key")
	link := provision.DocumentLink{Serial: "C07Q853LG9RM", Epoch: 2, Document: "Hand\nbook", Content: 3, Until: noon.Local()}
	token := link.Token(key)
	got, err := provision.ParseDocumentLink(token, key, noon.Add(-time.Second))
	require.NoError(t, err)
	require.True(t, got.Until.Equal(link.Until))
	got.Until = link.Until
	require.Equal(t, link, got)

	refuses := func(token string, key []byte, now time.Time) {
		t.Helper()
		_, err := provision.ParseDocumentLink(token, key, now)
		require.Equal(t, provision.DocumentLinkRefused, provision.CodeOf(err))
	}
	refuses(token, key, noon)
	refuses(token, []byte("another"), at(-1))
	for _, junk := range []string{"", ".", "a.b", token[:len(token)-2], token + "x"} {
		refuses(junk, key, at(-1))
	}
	rapid.Check(t, func(t *rapid.T) {
		changed := []byte(token)
		i := rapid.IntRange(0, len(changed)-1).Draw(t, "at")
		changed[i] = rapid.SampledFrom([]byte("abcdefXYZ019-_.")).Draw(t, "letter")
		if string(changed) == token {
			return
		}
		if _, err := provision.ParseDocumentLink(string(changed), key, at(-1)); err == nil {
			t.Fatalf("%s is taken", changed)
		}
	})
}
