package abm_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/micromdm/nanodep/godep"
	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/sim/abm"
)

func TestFaultsOfAnswers(t *testing.T) {
	p := open(t, abm.Config{})
	serials := p.addNew(p.server.ID, 40)
	d := p.link(p.server.ID, 10)
	d.fetch()
	fails := func(fault abm.Fault) error {
		fault.Share, fault.Times, fault.Path = 1, 1, "/server/devices"
		p.SetFaults(fault)
		_, err := d.FetchDevices(t.Context(), name)
		require.Error(t, err, fault.Kind)
		require.Equal(t, 1, p.Counts().Faults[fault.Kind])
		require.Len(t, d.fetch().Devices, len(serials), "the fault strikes once")
		return err
	}
	requireRefused(t, fails(abm.Fault{Kind: abm.FaultError}), http.StatusServiceUnavailable, "SERVICE_UNAVAILABLE")
	var syntax *json.SyntaxError
	require.ErrorAs(t, fails(abm.Fault{Kind: abm.FaultGarbage}), &syntax)
	require.ErrorIs(t, fails(abm.Fault{Kind: abm.FaultTruncated}), io.ErrUnexpectedEOF)
	require.ErrorIs(t, fails(abm.Fault{Kind: abm.FaultReset}), syscall.ECONNRESET)

	p.SetFaults(abm.Fault{Kind: abm.FaultError, Share: 1, Times: 1, Status: 500})
	_, err := d.FetchDevices(t.Context(), name)
	requireRefused(t, err, http.StatusInternalServerError, "INTERNAL_SERVER_ERROR")
}

func TestASlowAnswerCanBeGivenUp(t *testing.T) {
	p := open(t, abm.Config{})
	d := p.link(p.server.ID, 10)
	d.fetch()
	p.SetFaults(abm.Fault{Kind: abm.FaultSlow, Share: 1, Seconds: 3600})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := d.FetchDevices(ctx, name)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	p.SetFaults(abm.Fault{Kind: abm.FaultSlow, Share: 1, Seconds: 0.02})
	begun := time.Now()
	d.fetch()
	require.GreaterOrEqual(t, time.Since(begun), 20*time.Millisecond)
}

func TestALostAnswerHasHadItsEffect(t *testing.T) {
	p := open(t, abm.Config{})
	serials := p.addNew(p.server.ID, 3)
	d := p.link(p.server.ID, 10)
	uuid := d.define()
	for i, kind := range []string{abm.FaultReset, abm.FaultTruncated, abm.FaultGarbage} {
		p.SetFaults(abm.Fault{Kind: kind, Share: 1, Times: 1, Path: "/profile/devices"})
		_, err := d.AssignProfile(t.Context(), name, uuid, serials[i])
		require.Error(t, err)
		shown, _ := p.Device(serials[i])
		require.Equal(t, abm.ProfileAssigned, shown.ProfileStatus, kind)
	}
}

func TestTooManyRequests(t *testing.T) {
	p := open(t, abm.Config{})
	d := p.link(p.server.ID, 10)
	d.fetch()
	p.SetFaults(abm.Fault{Kind: abm.FaultTooMany, Share: 1, Times: 1, Seconds: 60})
	for _, impatient := range []int{0, 1} {
		_, err := d.FetchDevices(t.Context(), name)
		requireRefused(t, err, http.StatusTooManyRequests, "TOO_MANY_REQUESTS")
		require.Contains(t, []string{"59", "60"}, d.retry)
		require.Equal(t, impatient, p.Counts().Impatient)
	}
	p.Jump(time.Minute)
	d.fetch()
	require.Equal(t, 1, p.Counts().Impatient)
}

func TestFaultsOfPages(t *testing.T) {
	p := open(t, abm.Config{})
	serials := p.addNew(p.server.ID, 5)
	d := p.link(p.server.ID, 10)
	_, cursor := d.all(10)
	require.NoError(t, p.Unassign(serials[0], serials[1]))
	syncs := func(kind string) *godep.FetchDeviceResponseJson {
		p.SetFaults(abm.Fault{Kind: kind, Share: 1, Times: 1})
		page, err := d.SyncDevices(t.Context(), name, godep.WithCursor(cursor))
		require.NoError(t, err)
		return page
	}
	stuck := syncs(abm.FaultSameCursor)
	require.Equal(t, cursor, stuck.Cursor)
	require.True(t, stuck.MoreToFollow)
	require.Len(t, stuck.Devices, 2)

	repeated := syncs(abm.FaultRepeat)
	require.Len(t, repeated.Devices, 3)
	require.Equal(t, repeated.Devices[0], repeated.Devices[2])

	turned := syncs(abm.FaultDisorder)
	require.Equal(t, []string{serials[1], serials[0]}, []string{turned.Devices[0].SerialNumber, turned.Devices[1].SerialNumber})
	require.NotEqual(t, cursor, turned.Cursor)
}

// The same seed and the same requests meet the same faults; another seed meets others.
func TestFaultsComeBySeed(t *testing.T) {
	run := func(seed uint64) (failed []int) {
		p := open(t, abm.Config{Seed: seed})
		d := p.link(p.server.ID, 10)
		d.fetch()
		p.SetFaults(abm.Fault{Kind: abm.FaultError, Share: 0.3, Path: "/server/devices"})
		for i := range 60 {
			_, err := d.FetchDevices(t.Context(), name)
			var refused *godep.HTTPError
			if errors.As(err, &refused) {
				failed = append(failed, i)
			}
		}
		require.Equal(t, len(failed), p.Counts().Faults[abm.FaultError])
		return failed
	}
	first := run(1)
	require.Equal(t, first, run(1))
	require.NotEqual(t, first, run(2))
	require.Greater(t, len(first), 6)
	require.Less(t, len(first), 36)
}

func TestFaultsLeaveThePortalAlone(t *testing.T) {
	p := open(t, abm.Config{})
	p.SetFaults(abm.Fault{Kind: abm.FaultError, Share: 1})
	status, _ := p.raw("GET", "/admin/state", nil, "")
	require.Equal(t, http.StatusOK, status)
	for _, path := range []string{"/session", "/account", "/v1/orgDevices", "/auth/oauth2/token"} {
		status, _ = p.raw("GET", path, nil, "")
		require.Equal(t, http.StatusServiceUnavailable, status, path)
	}
	require.Equal(t, []string{"GET /account", "GET /auth/oauth2/token", "GET /session", "GET /v1/orgDevices"}, slices.Sorted(keys(p.Counts().Requests)))
}
