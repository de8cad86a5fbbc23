package abm_test

import (
	"slices"
	"testing"
	"time"

	"github.com/micromdm/nanodep/godep"
	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/sim/abm"
)

func TestFetchPagesInOrderThenIsExhaustedThenSyncs(t *testing.T) {
	p := open(t, abm.Config{Seed: 7})
	serials := p.addNew(p.server.ID, 250)
	d := p.link(p.server.ID, 10)
	fetched, cursor := d.all(100)
	require.Equal(t, serials, fetched)
	require.Equal(t, 1, p.Counts().Requests["GET /session"])
	require.Equal(t, 3, p.Counts().Requests["POST /server/devices"])

	_, err := d.FetchDevices(t.Context(), name, godep.WithCursor(cursor))
	require.True(t, godep.IsCursorExhausted(err), "%v", err)
	news, cursor := d.news(cursor)
	require.Empty(t, news)
	_, err = d.FetchDevices(t.Context(), name, godep.WithCursor(cursor))
	require.True(t, godep.IsCursorExhausted(err), "%v", err)

	require.NoError(t, p.Add(p.server.ID, abm.Spec{Serial: "newcomer1"}))
	require.NoError(t, p.Unassign(serials[3]))
	require.NoError(t, p.Release(serials[4]))
	news, cursor = d.news(cursor)
	require.Equal(t, []string{"added NEWCOMER1", "deleted " + serials[3], "deleted " + serials[4]}, news)
	news, _ = d.news(cursor)
	require.Empty(t, news)
}

func TestLimitsOfPages(t *testing.T) {
	p := open(t, abm.Config{})
	p.addNew(p.server.ID, 1100)
	d := p.link(p.server.ID, 10)
	require.Len(t, d.fetch().Devices, 100)
	require.Len(t, d.fetch(godep.WithLimit(5000)).Devices, 1000)
	require.Len(t, d.fetch(godep.WithLimit(1)).Devices, 1)
}

func TestCursorRefusals(t *testing.T) {
	p := open(t, abm.Config{})
	p.addNew(p.server.ID, 3)
	other := p.AddServer(abm.Server{})
	d, e := p.link(p.server.ID, 10), p.link(other.ID, 10)
	_, cursor := d.all(2)
	half := d.fetch(godep.WithLimit(2)).Cursor
	syncWith := func(d *dep, cursor string) error {
		_, err := d.SyncDevices(t.Context(), name, godep.WithCursor(cursor))
		return err
	}
	requireRefused(t, syncWith(d, ""), 400, "CURSOR_REQUIRED")
	requireRefused(t, syncWith(d, "beef"), 400, "INVALID_CURSOR")
	requireRefused(t, syncWith(d, cursor+"00"), 400, "INVALID_CURSOR")
	requireRefused(t, syncWith(e, cursor), 400, "INVALID_CURSOR")
	requireRefused(t, syncWith(d, half), 400, "INVALID_CURSOR")
	_, err := d.FetchDevices(t.Context(), name, godep.WithCursor("beef"))
	require.True(t, godep.IsCursorInvalid(err))

	p.Jump(7*24*time.Hour - time.Hour)
	require.NoError(t, syncWith(d, cursor))
	p.Jump(2 * time.Hour)
	require.True(t, godep.IsCursorExpired(syncWith(d, cursor)))
	_, err = d.FetchDevices(t.Context(), name, godep.WithCursor(half))
	require.True(t, godep.IsCursorInvalid(err))
	_, cursor = d.all(2)
	require.NoError(t, syncWith(d, cursor), "a full fetch begins anew")
}

func TestIdleSyncIsExhaustedByQuirk(t *testing.T) {
	p := open(t, abm.Config{Quirks: abm.Quirks{ExhaustedWhenIdle: true}})
	d := p.link(p.server.ID, 10)
	_, cursor := d.all(10)
	_, err := d.SyncDevices(t.Context(), name, godep.WithCursor(cursor))
	require.True(t, godep.IsCursorExhausted(err))
	serials := p.addNew(p.server.ID, 1)
	news, _ := d.news(cursor)
	require.Equal(t, []string{"added " + serials[0]}, news)
}

func TestChangesDuringAFetchComeWithTheSyncAfterIt(t *testing.T) {
	p := open(t, abm.Config{})
	serials := p.addNew(p.server.ID, 6)
	d := p.link(p.server.ID, 10)
	first := d.fetch(godep.WithLimit(3))
	require.NoError(t, p.Unassign(serials[0], serials[4])) // one that was shown, one that was not
	added := p.addNew(p.server.ID, 1)
	second := d.fetch(godep.WithLimit(10), godep.WithCursor(first.Cursor))
	require.False(t, second.MoreToFollow)
	require.Equal(t, []string{serials[3], serials[5]}, []string{second.Devices[0].SerialNumber, second.Devices[1].SerialNumber})
	news, _ := d.news(second.Cursor)
	require.Equal(t, []string{"deleted " + serials[0], "deleted " + serials[4], "added " + added[0]}, news)
}

func TestAMovedDeviceLeavesOneServerAndComesToTheOther(t *testing.T) {
	p := open(t, abm.Config{})
	other := p.AddServer(abm.Server{Name: "Other"})
	d, e := p.link(p.server.ID, 10), p.link(other.ID, 10)
	serials := p.addNew(p.server.ID, 2)
	_, here := d.all(10)
	_, there := e.all(10)
	uuid := d.define(serials[0])
	_, here = d.news(here)
	require.NoError(t, p.Move(other.ID, serials[0]))

	page, err := e.SyncDevices(t.Context(), name, godep.WithCursor(there))
	require.NoError(t, err)
	require.Equal(t, "added", string(*page.Devices[0].OpType))
	require.Equal(t, "empty", string(*page.Devices[0].ProfileStatus), "the profile %s is the former server's", uuid)
	require.Nil(t, page.Devices[0].ProfileUuid)
	require.Equal(t, *page.Devices[0].OpDate, *page.Devices[0].DeviceAssignedDate)
	news, here := d.news(here)
	require.Equal(t, []string{"deleted " + serials[0]}, news)
	_, promised := p.ProfileFor(serials[0])
	require.False(t, promised)

	require.NoError(t, p.Move(p.server.ID, serials[0]))
	news, here = d.news(here)
	require.Equal(t, []string{"added " + serials[0]}, news)
	p.SetQuirks(abm.Quirks{ReturnAsModified: true})
	require.NoError(t, p.Unassign(serials[0]))
	require.NoError(t, p.Move(p.server.ID, serials[0]))
	news, _ = d.news(here)
	require.Equal(t, []string{"deleted " + serials[0], "modified " + serials[0]}, news)
}

func TestASilentReleaseShowsInAFullFetchOnly(t *testing.T) {
	p := open(t, abm.Config{})
	serials := p.addNew(p.server.ID, 4)
	d := p.link(p.server.ID, 10)
	_, cursor := d.all(10)
	require.NoError(t, p.Vanish(serials[1]))
	p.SetQuirks(abm.Quirks{SilentRelease: true})
	require.NoError(t, p.Release(serials[2]))
	news, _ := d.news(cursor)
	require.Empty(t, news)
	left, _ := d.all(10)
	require.Equal(t, []string{serials[0], serials[3]}, left)
	require.ErrorIs(t, p.Unassign(serials[1]), abm.ErrReleased)
}

func TestAttributesFollowTheProtocolVersion(t *testing.T) {
	p := open(t, abm.Config{})
	require.NoError(t, p.Add(p.server.ID, abm.Spec{Serial: "PAD1", Family: "iPad", AssetTag: "A-17", Color: "BLUE"}))
	for version, want := range map[int][2]string{1: {"", ""}, 2: {"iPad", "iOS"}, 6: {"iPad", "iOS"}, 7: {"iPad", "iPadOS"}} {
		one := p.link(p.server.ID, version).fetch().Devices[0]
		require.Equal(t, "PAD1", one.SerialNumber)
		require.Equal(t, "A-17", *one.AssetTag)
		require.Equal(t, "BLUE", *one.Color)
		require.NotEmpty(t, one.Model)
		require.NotEmpty(t, *one.Description)
		require.NotEmpty(t, *one.DeviceAssignedBy)
		require.Nil(t, one.OpType)
		if version == 1 {
			require.Nil(t, one.DeviceFamily)
			continue
		}
		require.Equal(t, want, [2]string{string(*one.DeviceFamily), string(*one.Os)})
	}
}

func TestDetailsAndDisown(t *testing.T) {
	p := open(t, abm.Config{})
	other := p.AddServer(abm.Server{Name: "May not disown"})
	mine, theirs := p.addNew(p.server.ID, 2), p.addNew(other.ID, 1)
	d := p.link(p.server.ID, 10)
	details, err := d.DeviceDetails(t.Context(), name, mine[0], theirs[0], "NOBODY")
	require.NoError(t, err)
	require.Equal(t, "SUCCESS", *details.Devices[mine[0]].ResponseStatus)
	require.NotEmpty(t, details.Devices[mine[0]].Model)
	require.Equal(t, "NOT_ACCESSIBLE", *details.Devices[theirs[0]].ResponseStatus)
	require.Equal(t, "NOT_ACCESSIBLE", *details.Devices["NOBODY"].ResponseStatus)
	_, err = d.DeviceDetails(t.Context(), name)
	requireRefused(t, err, 400, "DEVICE_ID_REQUIRED")
	_, err = d.DeviceDetails(t.Context(), name, slices.Repeat(mine[:1], 1001)...)
	requireRefused(t, err, 400, "MALFORMED_REQUEST_BODY")

	gone, err := d.DisownDevices(t.Context(), name, mine[0], theirs[0])
	require.NoError(t, err)
	require.Equal(t, "SUCCESS", string(gone.Devices[mine[0]]))
	require.Equal(t, "NOT_ACCESSIBLE", string(gone.Devices[theirs[0]]))
	shown, _ := p.Device(mine[0])
	require.True(t, shown.Released)
	gone, err = p.link(other.ID, 10).DisownDevices(t.Context(), name, theirs[0])
	require.NoError(t, err)
	require.Equal(t, "FAILED", string(gone.Devices[theirs[0]]))
	_, err = d.DisownDevices(t.Context(), name)
	requireRefused(t, err, 400, "DEVICE_ID_REQUIRED")
}

func TestActivationLock(t *testing.T) {
	p := open(t, abm.Config{})
	require.NoError(t, p.Add(p.server.ID, abm.Spec{Serial: "PHONE", Family: "iPhone"}, abm.Spec{Serial: "TV", Family: "AppleTV"}))
	d := p.link(p.server.ID, 10)
	for _, want := range [][2]string{{"PHONE", "SUCCESS"}, {"PHONE", "DEVICE_ALREADY_LOCKED"}, {"TV", "DEVICE_NOT_SUPPORTED"}, {"NOBODY", "NOT_ACCESSIBLE"}} {
		answer, err := d.ActivationLock(t.Context(), name, want[0], "", "lost")
		require.NoError(t, err)
		require.Equal(t, want, [2]string{answer.SerialNumber, answer.ResponseStatus})
	}
	_, err := d.ActivationLock(t.Context(), name, "", "", "")
	requireRefused(t, err, 400, "MALFORMED_REQUEST_BODY")
	shown, _ := p.Device("phone")
	require.True(t, shown.Locked)
}

func TestBodiesThatAreNotJSON(t *testing.T) {
	p := open(t, abm.Config{})
	session := map[string]string{"X-ADM-Auth-Session": p.sessionOf(p.download(p.server.ID))}
	for _, path := range []string{"/server/devices", "/devices/sync", "/devices", "/profile", "/profile/devices", "/device/activationlock", "/account-driven-enrollment/profile"} {
		status, body := p.raw("POST", path, session, "{")
		require.Equal(t, 400, status, path)
		require.Equal(t, "MALFORMED_REQUEST_BODY", body)
	}
	status, _ := p.raw("DELETE", "/account", session, "")
	require.Equal(t, 405, status)
	status, _ = p.raw("GET", "/nowhere", session, "")
	require.Equal(t, 404, status)
}

func TestAccountDrivenEnrollment(t *testing.T) {
	p := open(t, abm.Config{})
	d := p.link(p.server.ID, 10)
	require.Error(t, d.Do(t.Context(), name, "GET", "/account-driven-enrollment/profile", nil, nil))
	requireRefused(t, d.AssignAccountDrivenEnrollmentProfile(t.Context(), name, ""), 400, "MDM_SERVICE_DISCOVERY_URL_REQUIRED")
	requireRefused(t, d.AssignAccountDrivenEnrollmentProfile(t.Context(), name, "ftp://x"), 400, "MDM_SERVICE_DISCOVERY_URL_NOT_VALID")
	require.NoError(t, d.AssignAccountDrivenEnrollmentProfile(t.Context(), name, "https://mdm.example/.well-known/com.apple.remotemanagement"))
	var got struct {
		URL string `json:"mdm_service_discovery_url"`
	}
	require.NoError(t, d.Do(t.Context(), name, "GET", "/account-driven-enrollment/profile", nil, &got))
	require.Contains(t, got.URL, "mdm.example")
}
