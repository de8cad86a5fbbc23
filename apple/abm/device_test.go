package abm_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/apple/abm"
	"github.com/muster-mdm/muster/apple/fault"
	simabm "github.com/muster-mdm/muster/sim/abm"
)

func TestDevicesByPages(t *testing.T) {
	p := open(t, simabm.Config{})
	serials := slices.Concat(p.addNew(p.server.ID, 5), p.addNew("", 2))
	c := p.client()
	require.Equal(t, serials, walk(t.Context(), t, c, 3))
	require.Equal(t, serials, walk(t.Context(), t, c, 0))
	_, _, err := c.OrgDevices(t.Context(), "made up", 3)
	requireFault(t, err, fault.CursorInvalid, http.StatusBadRequest, "PARAMETER_ERROR.INVALID")
	_, _, err = c.OrgDevices(t.Context(), "", 1001)
	requireFault(t, err, fault.Refused, http.StatusBadRequest, "PARAMETER_ERROR.INVALID")
}

// Where a device went, which the device assignment API doesn't tell.
func TestWhereADeviceWent(t *testing.T) {
	p := open(t, simabm.Config{})
	other := p.AddServer(simabm.Server{Name: "Other"})
	require.NoError(t, p.Add(p.server.ID, simabm.Spec{
		Serial: "C02ABC1234XY", Family: "iPhone", OS: "iOS", Model: "iPhone 14 Pro", ProductType: "iPhone15,2", Capacity: "128GB",
		Color: "BLACK", PartNumber: "MQ0E3LL/A", OrderNumber: "W-1",
	}))
	c := p.client()
	device := func() abm.OrgDevice {
		t.Helper()
		d, err := c.OrgDevice(t.Context(), "c02abc1234xy")
		require.NoError(t, err)
		return d
	}
	server := func() string {
		t.Helper()
		id, err := c.AssignedServer(t.Context(), "C02ABC1234XY")
		require.NoError(t, err)
		return id
	}
	d := device()
	for _, at := range []*time.Time{&d.AddedAt, &d.UpdatedAt, &d.OrderedAt} {
		require.WithinDuration(t, p.Now(), *at, time.Minute)
		*at = time.Time{}
	}
	require.Equal(t, abm.OrgDevice{
		Serial: "C02ABC1234XY", Status: abm.StatusAssigned, PurchaseSource: "APPLE", PurchaseSourceID: "000000", OrderNumber: "W-1",
		Model: "iPhone 14 Pro", Family: "iPhone", ProductType: "iPhone15,2", Capacity: "128GB", Color: "BLACK", PartNumber: "MQ0E3LL/A",
	}, d)
	require.Equal(t, p.server.ID, server())

	require.NoError(t, p.Move(other.ID, "C02ABC1234XY"))
	require.Equal(t, other.ID, server())
	require.NoError(t, p.Unassign("C02ABC1234XY"))
	require.Equal(t, abm.StatusUnassigned, device().Status)
	require.Empty(t, server())
	require.Zero(t, device().ReleasedAt)
	require.NoError(t, p.Release("C02ABC1234XY"))
	require.WithinDuration(t, p.Now(), device().ReleasedAt, time.Minute)

	_, err := c.OrgDevice(t.Context(), "NOBODY")
	requireFault(t, err, fault.NotFound, http.StatusNotFound, "NOT_FOUND")
	_, err = c.AssignedServer(t.Context(), "NOBODY")
	requireFault(t, err, fault.NotFound, http.StatusNotFound, "NOT_FOUND")
	_, err = c.OrgDevice(t.Context(), "../mdmServers")
	requireFault(t, err, fault.NotFound, http.StatusNotFound, "NOT_FOUND")
}

func TestServers(t *testing.T) {
	p := open(t, simabm.Config{})
	p.AddServer(simabm.Server{Name: "Configurator", Type: "APPLE_CONFIGURATOR"})
	servers, err := p.client().Servers(t.Context())
	require.NoError(t, err)
	require.Len(t, servers, 2)
	require.WithinDuration(t, p.Now(), servers[0].CreatedAt, time.Minute)
	servers[0].CreatedAt, servers[0].UpdatedAt = time.Time{}, time.Time{}
	require.Equal(t, abm.Server{ID: p.server.ID, Name: "Muster", Type: "MDM"}, servers[0])
	require.Equal(t, "APPLE_CONFIGURATOR", servers[1].Type)
}

func TestSchool(t *testing.T) {
	p := open(t, simabm.Config{School: true})
	p.addNew(p.server.ID, 1)
	require.True(t, strings.HasPrefix(p.account.ClientID, "SCHOOLAPI."))
	require.Len(t, walk(t.Context(), t, p.clientWith(abm.Config{Account: p.account, School: true}), 0), 1)
}
