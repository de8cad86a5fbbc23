package abm_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/sim/abm"
)

func TestAnActivityTakesItsTimeThenShowsInTheOtherAPI(t *testing.T) {
	p := open(t, abm.Config{Lifetime: abm.Lifetimes{Activity: time.Hour}})
	serials := p.addNew(p.server.ID, 3)
	d, a := p.link(p.server.ID, 10), p.api(false)
	_, cursor := d.all(10)

	id, err := a.act(abm.ActivityUnassign, p.server.ID, serials[:2]...)
	require.NoError(t, err)
	for _, want := range []string{"SUBMITTED", "PRE_PROCESSING", "PENDING", "PROCESSING", "POST_PROCESSING"} {
		got := a.activity(id).Attributes
		require.Equal(t, [2]string{"IN_PROGRESS", want}, [2]string{got.Status, got.Sub})
		require.Nil(t, got.Done)
		p.Jump(12 * time.Minute)
	}
	got := a.activity(id).Attributes
	require.Equal(t, [2]string{"COMPLETED", "COMPLETED_WITH_SUCCESS"}, [2]string{got.Status, got.Sub})
	require.NotNil(t, got.Done)
	require.Equal(t, "UNASSIGNED", a.device(serials[0]).Attributes.Status)
	news, cursor := d.news(cursor)
	require.Equal(t, []string{"deleted " + serials[0], "deleted " + serials[1]}, news)

	status, log := p.raw("GET", strings.TrimPrefix(got.Log, apple), nil, "")
	require.Equal(t, 200, status)
	require.Contains(t, log, serials[0]+",UNASSIGN_DEVICES,SUCCESS,")
	status, _ = p.raw("GET", "/downloads/00/"+id+".csv", nil, "")
	require.Equal(t, 404, status)
	p.SetFaults(abm.Fault{Kind: abm.FaultError, Share: 1, Times: 1, Path: "/downloads/"})
	status, _ = p.raw("GET", strings.TrimPrefix(got.Log, apple), nil, "")
	require.Equal(t, 503, status)
	require.Equal(t, 3, p.Counts().Requests["GET /downloads/{id}"])

	_, err = a.act(abm.ActivityAssign, p.server.ID, strings.ToLower(serials[0]))
	require.NoError(t, err)
	p.Jump(time.Hour)
	news, cursor = d.news(cursor)
	require.Equal(t, []string{"added " + serials[0]}, news)

	_, err = a.act(abm.ActivityRelease, "", serials[2])
	require.NoError(t, err)
	news, cursor = d.news(cursor)
	require.Empty(t, news, "in progress")
	p.Jump(time.Hour)
	news, _ = d.news(cursor)
	require.Equal(t, []string{"deleted " + serials[2]}, news)
	require.NotNil(t, a.device(serials[2]).Attributes.Released, "what tells a release from an unassignment")
	require.Nil(t, a.device(serials[1]).Attributes.Released)

	p.Jump(31 * 24 * time.Hour)
	requireAPIError(t, a.get("/v1/orgDeviceActivities/"+id, &one{}), 404, "NOT_FOUND")
}

func TestActivitiesThatFailInPartOrWhole(t *testing.T) {
	p := open(t, abm.Config{Lifetime: abm.Lifetimes{Activity: time.Hour}})
	other := p.AddServer(abm.Server{})
	mine, theirs := p.addNew(p.server.ID, 2), p.addNew(other.ID, 1)
	a := p.api(false)
	ends := func(kind, server string, serials ...string) [2]string {
		t.Helper()
		id, err := a.act(kind, server, serials...)
		require.NoError(t, err)
		p.Jump(time.Hour)
		got := a.activity(id).Attributes
		return [2]string{got.Status, got.Sub}
	}
	require.Equal(t, [2]string{"COMPLETED", "COMPLETED_WITH_ERROR"}, ends(abm.ActivityUnassign, p.server.ID, mine[0], theirs[0], "NOBODY"))
	require.Equal(t, [2]string{"FAILED", "COMPLETED_WITH_FAILURE"}, ends(abm.ActivityUnassign, p.server.ID, theirs[0], "NOBODY"))
	require.Equal(t, "ASSIGNED", a.device(theirs[0]).Attributes.Status)

	p.SetFaults(abm.Fault{Kind: abm.FaultActivityFailed, Share: 1, Times: 1})
	require.Equal(t, [2]string{"FAILED", "COMPLETED_WITH_FAILURE"}, ends(abm.ActivityUnassign, p.server.ID, mine[1]))
	p.SetFaults(abm.Fault{Kind: abm.FaultActivityStopped, Share: 1, Times: 1, Path: abm.ActivityUnassign})
	id, err := a.act(abm.ActivityUnassign, p.server.ID, mine[1])
	require.NoError(t, err)
	p.Jump(40 * time.Minute)
	require.Equal(t, "STOPPING", a.activity(id).Attributes.Sub)
	p.Jump(20 * time.Minute)
	require.Equal(t, "STOPPED", a.activity(id).Attributes.Status)
	require.Equal(t, "ASSIGNED", a.device(mine[1]).Attributes.Status)

	p.SetFaults(abm.Fault{Kind: abm.FaultActivitySlow, Share: 1, Times: 1, Seconds: 7200})
	require.Equal(t, [2]string{"IN_PROGRESS", "PENDING"}, ends(abm.ActivityUnassign, p.server.ID, mine[1]))
	_, err = a.act(abm.ActivityRelease, "", mine[1])
	requireAPIError(t, err, 409, "CONFLICT")
	require.Len(t, p.Running(), 1)
	require.True(t, p.StopActivity(p.Running()[0]))
	require.False(t, p.StopActivity("none"))
	require.Equal(t, [2]string{"COMPLETED", "COMPLETED_WITH_SUCCESS"}, ends(abm.ActivityRelease, "", mine[1]))
}

func TestActivitiesEndInTheOrderOfTheirEnds(t *testing.T) {
	p := open(t, abm.Config{Lifetime: abm.Lifetimes{Activity: time.Hour}})
	serials := p.addNew(p.server.ID, 3)
	d, a := p.link(p.server.ID, 10), p.api(false)
	_, cursor := d.all(10)
	p.SetFaults(abm.Fault{Kind: abm.FaultActivitySlow, Share: 1, Times: 1, Seconds: 7200})
	for _, serial := range serials {
		_, err := a.act(abm.ActivityUnassign, p.server.ID, serial)
		require.NoError(t, err)
	}
	p.Jump(3 * time.Hour)
	news, _ := d.news(cursor)
	require.Equal(t, []string{"deleted " + serials[1], "deleted " + serials[2], "deleted " + serials[0]}, news)
}
