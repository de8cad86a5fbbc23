package abm_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/sim/abm"
)

// A client that was linked before goes on with its token, session, cursor and access token afterwards.
func TestSaveAndLoad(t *testing.T) {
	before := open(t, abm.Config{Seed: 3, Lifetime: abm.Lifetimes{Activity: time.Hour}})
	serials := before.addNew(before.server.ID, 4)
	d, a := before.link(before.server.ID, 10), before.api(false)
	uuid := d.define(serials[0])
	require.NoError(t, before.Release(serials[3]))
	_, cursor := d.all(10)
	require.NoError(t, before.Unassign(serials[1]))
	running, err := a.act(abm.ActivityUnassign, before.server.ID, serials[2])
	require.NoError(t, err)
	before.Jump(10 * time.Minute)
	require.NoError(t, a.get("/v1/mdmServers", &many{}))

	var file bytes.Buffer
	require.NoError(t, before.Save(&file))
	loaded, err := abm.Load(abm.Config{Seed: 3}, &file)
	require.NoError(t, err)
	after := serve(t, loaded)
	d.to, a.to = after.wire(0).to, after.wire(0).to
	d.answers()
	a.answers()

	require.WithinDuration(t, before.Now(), after.Now(), time.Minute)
	news, cursor := d.news(cursor)
	require.Equal(t, []string{"deleted " + serials[1]}, news)
	left, _ := d.all(10)
	require.Equal(t, []string{serials[0], serials[2]}, left)
	shown, ok := after.ProfileFor(serials[0])
	require.True(t, ok)
	require.Equal(t, uuid, shown.UUID)

	require.Equal(t, "IN_PROGRESS", a.activity(running).Attributes.Status)
	require.Equal(t, []string{"GET /v1/orgDeviceActivities/" + running + " 200"}, a.answers(), "the access token is still good")
	after.Jump(50 * time.Minute)
	require.Equal(t, "COMPLETED", a.activity(running).Attributes.Status)
	news, _ = d.news(cursor)
	require.Equal(t, []string{"deleted " + serials[2]}, news)
	require.NotContains(t, after.addNew("", 4), serials[0], "serials go on where they were")
	require.ErrorIs(t, after.Unassign(serials[3]), abm.ErrReleased)

	require.NoError(t, after.RevokeToken(after.server.ID))
	file.Reset()
	require.NoError(t, after.Save(&file))
	again, err := abm.Load(abm.Config{}, &file)
	require.NoError(t, err)
	d.to = serve(t, again).wire(0).to
	_, err = d.FetchDevices(t.Context(), name)
	requireRefused(t, err, 401, "token_rejected")
}

func TestLoadRefusesWhatSaveDidNotWrite(t *testing.T) {
	for _, file := range []string{"", "{", `{"accounts":[{"client_id":"x","public":"AAAA"}]}`} {
		_, err := abm.Load(abm.Config{}, strings.NewReader(file))
		require.ErrorContains(t, err, "loading")
	}
}
