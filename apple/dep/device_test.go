package dep_test

import (
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/apple/dep"
	"github.com/muster-mdm/muster/apple/fault"
	"github.com/muster-mdm/muster/sim/abm"
)

func TestAccountNamesServerAndOrganization(t *testing.T) {
	p := open(t, abm.Config{Name: "Acme", Domain: "acme.test", School: true})
	a, err := p.client(p.server.ID).Account(t.Context())
	require.NoError(t, err)
	require.Equal(t, p.server.ID, a.ServerUUID)
	require.Len(t, a.OrgIDHash, 64, "from protocol version 3")
	require.NotEmpty(t, a.OrgID)
	require.NotEmpty(t, a.OrgPhone)
	require.NotEmpty(t, a.OrgAddress)
	a.OrgID, a.OrgIDHash, a.OrgPhone, a.OrgAddress = "", "", "", ""
	require.Contains(t, a.URLs, dep.URL{URI: "/devices/sync", Methods: []string{"POST"}, Default: 100, Maximum: 1000})
	require.Contains(t, a.URLs, dep.URL{URI: "/account", Methods: []string{"GET"}})
	a.URLs = nil
	require.Equal(t, dep.Account{
		ServerName: "Muster", ServerUUID: p.server.ID, AdminID: "admin@acme.test", FacilitatorID: "admin@acme.test",
		OrgName: "Acme", OrgEmail: "it@acme.test", OrgType: "edu", OrgVersion: "v2",
	}, a)
}

func TestFetchThenSync(t *testing.T) {
	p := open(t, abm.Config{})
	serials := p.addNew(p.server.ID, 7)
	c := p.client(p.server.ID)
	fetched, cursor := all(t.Context(), t, c, 3)
	require.Equal(t, serials, fetched)

	_, err := c.Fetch(t.Context(), cursor, 3)
	requireFault(t, err, fault.CursorExhausted, http.StatusBadRequest, "EXHAUSTED_CURSOR")

	fresh := p.addNew(p.server.ID, 1)[0]
	require.NoError(t, p.Unassign(serials[0]))
	page, err := c.Sync(t.Context(), cursor, 1)
	require.NoError(t, err)
	require.True(t, page.More)
	require.Equal(t, [2]string{fresh, "added"}, [2]string{page.Devices[0].Serial, page.Devices[0].OpType})
	require.WithinDuration(t, p.Now(), page.Devices[0].OpDate, time.Minute)
	require.Equal(t, page.Devices[0].AssignedAt, page.Devices[0].OpDate)
	page, err = c.Sync(t.Context(), page.Cursor, 0)
	require.NoError(t, err)
	require.False(t, page.More)
	require.WithinDuration(t, p.Now(), page.FetchedUntil, time.Minute)
	require.Equal(t, [2]string{serials[0], "deleted"}, [2]string{page.Devices[0].Serial, page.Devices[0].OpType})
	require.Zero(t, page.Devices[0].AssignedAt)

	page, err = c.Sync(t.Context(), page.Cursor, 0)
	require.NoError(t, err)
	require.Empty(t, page.Devices)
	require.NotEmpty(t, page.Cursor)
}

func TestDeviceShowsWhatAppleDoes(t *testing.T) {
	p := open(t, abm.Config{AdminID: "it@acme.test"})
	require.NoError(t, p.Add(p.server.ID, abm.Spec{
		Serial: "C02ABC1234XY", Family: "iPad", OS: "iPadOS", Model: "iPad Pro", Color: "SILVER", Description: "IPAD PRO", AssetTag: "A-1",
	}))
	c := p.client(p.server.ID)
	page, err := c.Fetch(t.Context(), "", 0)
	require.NoError(t, err)
	d := page.Devices[0]
	require.WithinDuration(t, p.Now(), d.AssignedAt, time.Minute)
	d.AssignedAt = time.Time{}
	require.Equal(t, dep.Device{
		Serial: "C02ABC1234XY", Family: "iPad", OS: "iPadOS", Model: "iPad Pro", Color: "SILVER", Description: "IPAD PRO", AssetTag: "A-1",
		ProfileStatus: "empty", AssignedBy: "it@acme.test",
	}, d)

	uuid := define(t, c)
	assign(t, c, uuid, d.Serial)
	_, ok := p.Activate(d.Serial)
	require.True(t, ok)
	details, err := c.Details(t.Context(), []string{d.Serial, "NOBODY"})
	require.NoError(t, err)
	require.Len(t, details, 1, "what isn't the server's isn't shown")
	d = details[d.Serial]
	require.Equal(t, [3]string{"C02ABC1234XY", "pushed", uuid}, [3]string{d.Serial, d.ProfileStatus, d.ProfileUUID})
	require.WithinDuration(t, p.Now(), d.ProfileAssignedAt, time.Minute)
	require.WithinDuration(t, p.Now(), d.ProfilePushedAt, time.Minute)
	require.Zero(t, d.OpDate)

	none, err := c.Details(t.Context(), nil)
	require.NoError(t, err)
	require.Empty(t, none)
	_, err = c.Details(t.Context(), slices.Repeat([]string{d.Serial}, 1001))
	require.ErrorContains(t, err, "takes 1000 at most")
}

func TestCursorsThatAreNoUse(t *testing.T) {
	p := open(t, abm.Config{})
	p.addNew(p.server.ID, 5)
	c := p.client(p.server.ID)
	first, err := c.Fetch(t.Context(), "", 2)
	require.NoError(t, err)
	_, cursor := all(t.Context(), t, c, 1000)

	_, err = c.Sync(t.Context(), first.Cursor, 0)
	requireFault(t, err, fault.CursorInvalid, 400, "INVALID_CURSOR")
	_, err = c.Sync(t.Context(), "made up", 0)
	requireFault(t, err, fault.CursorInvalid, 400, "INVALID_CURSOR")
	_, err = c.Sync(t.Context(), "", 0)
	requireFault(t, err, fault.CursorInvalid, 400, "CURSOR_REQUIRED")
	_, err = c.Fetch(t.Context(), "made up", 0)
	requireFault(t, err, fault.CursorInvalid, 400, "INVALID_CURSOR")

	p.Jump(8 * 24 * time.Hour)
	_, err = c.Sync(t.Context(), cursor, 0)
	requireFault(t, err, fault.CursorExpired, 400, "EXPIRED_CURSOR")
	_, err = c.Fetch(t.Context(), first.Cursor, 2)
	requireFault(t, err, fault.CursorInvalid, 400, "INVALID_CURSOR")
}

// What Apple repeats, reverses or stands still on is passed on: the caller has the state to judge it by.
func TestPagesComeAsTheyAre(t *testing.T) {
	p := open(t, abm.Config{})
	serials := p.addNew(p.server.ID, 3)
	c := p.client(p.server.ID)
	_, cursor := all(t.Context(), t, c, 10)
	require.NoError(t, p.Unassign(serials...))
	for kind, want := range map[string][]string{
		abm.FaultSameCursor: serials,
		abm.FaultRepeat:     append(slices.Clone(serials), serials[0]),
		abm.FaultDisorder:   {serials[2], serials[1], serials[0]},
	} {
		p.SetFaults(abm.Fault{Kind: kind, Share: 1, Times: 1})
		page, err := c.Sync(t.Context(), cursor, 0)
		require.NoError(t, err)
		got := make([]string, len(page.Devices))
		for i, d := range page.Devices {
			got[i] = d.Serial
		}
		require.Equal(t, want, got, kind)
		require.Equal(t, kind == abm.FaultSameCursor, page.Cursor == cursor && page.More, kind)
	}
}

func TestQuirksOfCursors(t *testing.T) {
	p := open(t, abm.Config{Quirks: abm.Quirks{ExhaustedWhenIdle: true, QuotedErrors: true}})
	c := p.client(p.server.ID)
	_, cursor := all(t.Context(), t, c, 10)
	_, err := c.Sync(t.Context(), cursor, 0)
	requireFault(t, err, fault.CursorExhausted, 400, "EXHAUSTED_CURSOR")
}
