package e2e

import (
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/cmd/muster/rehearse"
	"github.com/muster-mdm/muster/cmd/muster/rehearse/environment"
)

// A page's devices, their facts and its cursor are one transaction, so a worker that is killed in the middle of a sync leaves no
// device out, and none is seen twice.
func TestAWorkerKilledInTheMiddleOfASync(t *testing.T) {
	const devices = 6_000
	env := start(t, environment.Config{})
	customer, err := rehearse.NewCustomer(env.URL(), env.Token())
	require.NoError(t, err)
	conn, err := pgx.Connect(t.Context(), env.DatabaseURL())
	require.NoError(t, err)
	defer func() { _ = conn.Close(t.Context()) }()
	count := func(from string) (n int) {
		require.NoError(t, conn.QueryRow(t.Context(), `SELECT count(*) FROM `+from).Scan(&n))
		return n
	}
	portal := env.Portal()
	const name = "campus"
	server, err := customer.Link(t.Context(), portal, rehearse.Link{
		Server: name, Default: "standard", Profiles: map[string]map[string]any{"standard": {"is_supervised": true}},
	})
	require.NoError(t, err)
	serials, err := portal.AddNew(server, devices)
	require.NoError(t, err)
	require.NoError(t, customer.Sync(t.Context(), name))
	require.Eventually(t, func() bool { return count("devices") >= devices/3 }, patience, time.Millisecond)
	env.KillWorker()
	left := count("devices")
	t.Logf("killed when %d of %d devices were known", left, devices)
	require.Less(t, left, devices, "a kill after the work is done would prove nothing")
	require.Zero(t, left%1000, "part of a page was kept")
	require.NoError(t, env.StartWorker(t.Context()))
	require.Eventually(t, func() bool { return count("devices") == devices }, patience, 50*time.Millisecond)
	require.Equal(t, devices, count("device_events WHERE kind = 'abm_seen'"), "a device was seen twice")
	require.Equal(t, devices, count("(SELECT DISTINCT serial FROM device_events WHERE kind = 'abm_seen') AS once"))
	listed := map[string]bool{}
	for _, serial := range serials {
		listed[serial] = true
	}
	rows, err := conn.Query(t.Context(), `SELECT serial FROM devices`)
	require.NoError(t, err)
	known, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	for _, serial := range known {
		require.True(t, listed[serial], "%s is nobody's", serial)
	}
}
