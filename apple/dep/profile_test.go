package dep_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/apple/dep"
	"github.com/muster-mdm/muster/apple/fault"
	"github.com/muster-mdm/muster/sim/abm"
)

const fields = `{"profile_name":"Muster","url":"https://mdm.acme.test/enroll","allow_pairing":false,"is_supervised":true,"skip_setup_items":["Siri"]}`

func define(t *testing.T, c *dep.Client) string {
	t.Helper()
	uuid, err := c.DefineProfile(t.Context(), json.RawMessage(fields))
	require.NoError(t, err)
	return uuid
}

func assign(t *testing.T, c *dep.Client, uuid string, serials ...string) {
	t.Helper()
	got, err := c.AssignProfile(t.Context(), uuid, serials)
	require.NoError(t, err)
	for _, serial := range serials {
		require.Equal(t, dep.Success, got.BySerial[serial])
	}
}

func TestProfileIsDefinedWordForWord(t *testing.T) {
	p := open(t, abm.Config{})
	c := p.client(p.server.ID)
	uuid := define(t, c)
	got, err := c.Profile(t.Context(), uuid)
	require.NoError(t, err)
	var had map[string]any
	require.NoError(t, json.Unmarshal(got, &had))
	require.Equal(t, uuid, had["profile_uuid"])
	delete(had, "profile_uuid")
	back, err := json.Marshal(had)
	require.NoError(t, err)
	require.JSONEq(t, fields, string(back))

	_, err = c.Profile(t.Context(), "none")
	requireFault(t, err, fault.NotFound, http.StatusNotFound, "NOT_FOUND")
	_, err = c.AssignProfile(t.Context(), "none", p.addNew(p.server.ID, 1))
	requireFault(t, err, fault.NotFound, http.StatusNotFound, "NOT_FOUND")
}

func TestDefineRefusals(t *testing.T) {
	p := open(t, abm.Config{})
	c := p.client(p.server.ID)
	_, err := c.DefineProfile(t.Context(), json.RawMessage(`{"profile_name":"x","url":"https://x.test","is_mdm_removable":false}`))
	requireFault(t, err, fault.Refused, http.StatusBadRequest, "FLAGS_INVALID")
	asked := p.Counts().Requests["POST /profile"]
	for _, given := range []string{"", "null", "[]", `"x"`, `{"profile_name"`, `{"devices":["C02ABC1234XY"]}`, `{"devices":null}`} {
		_, err := c.DefineProfile(t.Context(), json.RawMessage(given))
		require.ErrorContains(t, err, "defining a profile", given)
	}
	require.Equal(t, asked, p.Counts().Requests["POST /profile"])
}

func TestResultsByDevice(t *testing.T) {
	p := open(t, abm.Config{})
	other := p.AddServer(abm.Server{})
	mine, theirs := p.addNew(p.server.ID, 4), p.addNew(other.ID, 1)
	c := p.client(p.server.ID)
	uuid := define(t, c)
	p.SetFaults(
		abm.Fault{Kind: abm.FaultThrottled, Share: 1, Path: mine[1], Seconds: 90},
		abm.Fault{Kind: abm.FaultAssignFailed, Share: 1, Path: mine[2]},
		abm.Fault{Kind: abm.FaultAssignInaccessible, Share: 1, Path: mine[3]},
	)
	got, err := c.AssignProfile(t.Context(), uuid, append(slices.Clone(mine), theirs[0]))
	require.NoError(t, err)
	require.Equal(t, map[string]string{
		mine[0]: dep.Success, mine[1]: dep.Throttled, mine[2]: dep.Failed, mine[3]: dep.NotAccessible, theirs[0]: dep.NotAccessible,
	}, got.BySerial)
	require.Equal(t, 90*time.Second, got.RetryAfter, "as Apple said, in protocol version 10")
	require.Empty(t, got.BySerial["NOBODY"])
	p.SetFaults()
	p.Jump(90 * time.Second)
	assign(t, c, uuid, mine...)
	require.Zero(t, p.Counts().Impatient)

	got, err = c.RemoveProfile(t.Context(), uuid, []string{mine[0], theirs[0]})
	require.NoError(t, err)
	require.Equal(t, map[string]string{mine[0]: dep.Success, theirs[0]: dep.NotAccessible}, got.BySerial)
	shown, _ := p.Device(mine[0])
	require.Equal(t, abm.ProfileRemoved, shown.ProfileStatus)
	_, err = c.RemoveProfile(t.Context(), "", mine[1:])
	require.NoError(t, err)
}

func TestDisown(t *testing.T) {
	p := open(t, abm.Config{})
	serial := p.addNew(p.server.ID, 1)[0]
	got, err := p.client(p.server.ID).Disown(t.Context(), []string{serial, "NOBODY"})
	require.NoError(t, err)
	require.Equal(t, map[string]string{serial: dep.Success, "NOBODY": dep.NotAccessible}, got.BySerial)
	shown, _ := p.Device(serial)
	require.True(t, shown.Released)

	poor := p.AddServer(abm.Server{})
	serial = p.addNew(poor.ID, 1)[0]
	got, err = p.client(poor.ID).Disown(t.Context(), []string{serial})
	require.NoError(t, err)
	require.Equal(t, map[string]string{serial: dep.Failed}, got.BySerial)
}

func TestNotTooManyDevicesAndNotNone(t *testing.T) {
	p := open(t, abm.Config{})
	c := p.client(p.server.ID)
	for _, ask := range []func([]string) (dep.Results, error){
		func(serials []string) (dep.Results, error) { return c.AssignProfile(t.Context(), "x", serials) },
		func(serials []string) (dep.Results, error) { return c.RemoveProfile(t.Context(), "x", serials) },
		func(serials []string) (dep.Results, error) { return c.Disown(t.Context(), serials) },
	} {
		_, err := ask(make([]string, 1001))
		require.ErrorContains(t, err, "about 1001 devices at once: it takes 1000 at most")
		got, err := ask(nil)
		require.NoError(t, err)
		require.NotNil(t, got.BySerial)
	}
	require.Empty(t, p.Counts().Requests)
}
