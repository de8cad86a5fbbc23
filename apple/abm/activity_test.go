package abm_test

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/apple/abm"
	"github.com/muster-mdm/muster/apple/fault"
	simabm "github.com/muster-mdm/muster/sim/abm"
)

func start(t *testing.T, c *abm.Client, kind abm.ActivityKind, serverID string, serials ...string) string {
	t.Helper()
	id, err := c.StartActivity(t.Context(), kind, serverID, serials)
	require.NoError(t, err)
	return id
}

func state(t *testing.T, c *abm.Client, id string) abm.ActivityState {
	t.Helper()
	s, err := c.Activity(t.Context(), id)
	require.NoError(t, err)
	require.Equal(t, id, s.ID)
	return s
}

func TestActivitiesToTheirEnd(t *testing.T) {
	p := open(t, simabm.Config{Lifetime: simabm.Lifetimes{Activity: time.Hour}})
	other := p.AddServer(simabm.Server{})
	serial := p.addNew(p.server.ID, 1)[0]
	c := p.client()
	for _, step := range []struct {
		kind   abm.ActivityKind
		server string
		left   string
	}{{abm.Unassign, p.server.ID, ""}, {abm.Assign, other.ID, other.ID}, {abm.Release, "", ""}} {
		id := start(t, c, step.kind, step.server, serial)
		s := state(t, c, id)
		require.Equal(t, [2]string{"IN_PROGRESS", "SUBMITTED"}, [2]string{s.Status, s.SubStatus})
		require.False(t, s.Ended() || s.Succeeded())
		require.WithinDuration(t, p.Now(), s.CreatedAt, time.Minute)
		require.Zero(t, s.CompletedAt)
		_, err := c.StartActivity(t.Context(), step.kind, step.server, []string{serial})
		f := requireFault(t, err, fault.Refused, 409, "CONFLICT")
		require.Contains(t, f.Detail, id)

		p.Jump(time.Hour)
		s = state(t, c, id)
		require.Equal(t, [2]string{"COMPLETED", "COMPLETED_WITH_SUCCESS"}, [2]string{s.Status, s.SubStatus})
		require.True(t, s.Ended() && s.Succeeded())
		require.WithinDuration(t, p.Now(), s.CompletedAt, time.Minute)
		require.Nil(t, s.Failures)
		left, err := c.AssignedServer(t.Context(), serial)
		require.NoError(t, err)
		require.Equal(t, step.left, left)
	}
	d, err := c.OrgDevice(t.Context(), serial)
	require.NoError(t, err)
	require.NotZero(t, d.ReleasedAt)

	id := start(t, c, abm.Assign, p.server.ID, p.addNew("", 1)...)
	p.Jump(31 * 24 * time.Hour)
	_, err = c.Activity(t.Context(), id)
	requireFault(t, err, fault.NotFound, 404, "NOT_FOUND")
}

func TestActivitiesThatFail(t *testing.T) {
	p := open(t, simabm.Config{Lifetime: simabm.Lifetimes{Activity: time.Hour}})
	other := p.AddServer(simabm.Server{})
	mine, theirs := p.addNew(p.server.ID, 2), p.addNew(other.ID, 1)
	c := p.client()
	ended := func(id string) abm.ActivityState {
		t.Helper()
		p.Jump(time.Hour)
		s := state(t, c, id)
		require.True(t, s.Ended())
		require.False(t, s.Succeeded())
		return s
	}
	s := ended(start(t, c, abm.Unassign, p.server.ID, mine[0], theirs[0], "NOBODY"))
	require.Equal(t, [2]string{"COMPLETED", "COMPLETED_WITH_ERROR"}, [2]string{s.Status, s.SubStatus})
	require.Equal(t, map[string]string{theirs[0]: "DEVICE_NOT_ASSIGNED_TO_SERVER", "NOBODY": "DEVICE_NOT_FOUND"}, s.Failures)
	require.Empty(t, s.LogProblem)

	p.SetFaults(simabm.Fault{Kind: simabm.FaultActivityFailed, Share: 1, Times: 1})
	s = ended(start(t, c, abm.Unassign, p.server.ID, mine[1]))
	require.Equal(t, "FAILED", s.Status)
	require.Equal(t, map[string]string{mine[1]: "FAILED"}, s.Failures)
	p.SetFaults(simabm.Fault{Kind: simabm.FaultActivityStopped, Share: 1, Times: 1})
	require.Equal(t, "STOPPED", ended(start(t, c, abm.Unassign, p.server.ID, mine[1])).Status)

	// The state is known without the log.
	p.SetFaults()
	id := start(t, c, abm.Unassign, p.server.ID, "NOBODY")
	for _, kind := range []string{simabm.FaultError, simabm.FaultGarbage, simabm.FaultTruncated, simabm.FaultReset} {
		p.SetFaults(simabm.Fault{Kind: kind, Share: 1, Path: "/downloads/"})
		s = ended(id)
		require.Nil(t, s.Failures, kind)
		require.NotEmpty(t, s.LogProblem, kind)
		require.NotContains(t, s.LogProblem, "/downloads/", kind)
	}
	p.SetFaults()
	require.NotEmpty(t, ended(id).Failures)
}

func TestActivityRefusals(t *testing.T) {
	p := open(t, simabm.Config{})
	serials := p.addNew(p.server.ID, 1)
	c := p.client()
	for _, ask := range []struct {
		kind    abm.ActivityKind
		server  string
		serials []string
		says    string
	}{
		{abm.Assign, p.server.ID, nil, "from 1 to 1000"},
		{abm.Assign, p.server.ID, slices.Repeat(serials, 1001), "from 1 to 1000"},
		{abm.Assign, "", serials, "everything else needs one"},
		{abm.Unassign, "", serials, "everything else needs one"},
		{abm.Release, p.server.ID, serials, "a release has none"},
	} {
		_, err := c.StartActivity(t.Context(), ask.kind, ask.server, ask.serials)
		require.ErrorContains(t, err, ask.says)
	}
	require.Empty(t, p.Counts().Requests)

	_, err := c.StartActivity(t.Context(), "EAT_DEVICES", p.server.ID, serials)
	requireFault(t, err, fault.Refused, 400, "ENTITY_INVALID")
	_, err = c.StartActivity(t.Context(), abm.Assign, "NONE", serials)
	requireFault(t, err, fault.Refused, 422, "ENTITY_UNPROCESSABLE")
	require.ErrorContains(t, err, "There is no such device management service.")
	_, err = c.Activity(t.Context(), "none")
	requireFault(t, err, fault.NotFound, 404, "NOT_FOUND")
	_, err = p.clientWith(abm.Config{Account: p.newAccount(true)}).StartActivity(t.Context(), abm.Release, "", serials)
	requireFault(t, err, fault.AccessDenied, 403, "FORBIDDEN_ERROR")
	require.ErrorContains(t, err, "role")
}

// The answer was lost, not the effect: asking again says that it has begun.
func TestALostAnswerToAnActivity(t *testing.T) {
	p := open(t, simabm.Config{Lifetime: simabm.Lifetimes{Activity: time.Hour}})
	serials := p.addNew(p.server.ID, 1)
	c := p.client()
	p.SetFaults(simabm.Fault{Kind: simabm.FaultTruncated, Share: 1, Times: 1, Path: "/v1/orgDeviceActivities"})
	_, err := c.StartActivity(t.Context(), abm.Unassign, p.server.ID, serials)
	requireFault(t, err, fault.Garbled, 201, "")
	_, err = c.StartActivity(t.Context(), abm.Unassign, p.server.ID, serials)
	requireFault(t, err, fault.Refused, 409, "CONFLICT")
	require.Len(t, p.Running(), 1)
}
