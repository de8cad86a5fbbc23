package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/api/client"
	"github.com/muster-mdm/muster/cmd/muster/rehearse/environment"
)

// operation asks the API and reads the operation that it answers.
func operation(t *testing.T, res *http.Response, err error) (o client.Operation) {
	t.Helper()
	require.NoError(t, err)
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	require.Less(t, res.StatusCode, 400, "%s", body)
	require.NoError(t, json.Unmarshal(body, &o))
	return o
}

// A worker is killed in the middle of an import, and a person assigns a device meanwhile: each row is done once, and the
// person's device doesn't wait for the thousands before it.
func TestAWorkerKilledInTheMiddleOfAnImport(t *testing.T) {
	const rows = 20_000
	env := start(t, environment.Config{})
	api, err := client.NewClient(env.URL(), client.WithToken(env.Token()))
	require.NoError(t, err)
	conn, err := pgx.Connect(t.Context(), env.DatabaseURL())
	require.NoError(t, err)
	defer func() { _ = conn.Close(t.Context()) }()
	count := func(from string, args ...any) (n int) {
		require.NoError(t, conn.QueryRow(t.Context(), `SELECT count(*) FROM `+from, args...).Scan(&n))
		return n
	}
	res, err := api.PutGroup(t.Context(), "bulk", nil, client.GroupInput{Items: []client.GroupItem{}})
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())

	var file strings.Builder
	file.WriteString("Serial Number,User Name,Email Address,Group Name\n")
	for i := range rows {
		fmt.Fprintf(&file, "B%09dX,User %d,user%d@zylker.com,bulk\n", i, i%100, i%100)
	}
	res, err = api.CreateAssignmentImportWithBody(t.Context(), nil, "text/csv", strings.NewReader(file.String()))
	o := operation(t, res, err)
	until := func(what string, reached func() bool) {
		require.Eventually(t, func() bool {
			res, err := api.GetOperation(t.Context(), o.Id)
			o = operation(t, res, err)
			return reached()
		}, patience, 20*time.Millisecond, what)
	}
	until("checked", func() bool { return o.State == client.OperationReady })
	res, err = api.ApplyAssignmentImport(t.Context(), o.Id, nil, client.ApplyInput{Mode: client.ValidRows})
	o = operation(t, res, err)
	until("under way", func() bool { return o.Progress.Done >= rows/10 })
	env.KillWorker()
	require.Less(t, o.Progress.Done, int64(rows), "a kill after the work is done would prove nothing")
	require.NoError(t, env.StartWorker(t.Context()))

	groups := []string{"bulk"}
	res, err = api.AssignDevice(t.Context(), "C07Q853LG9RM", nil, client.AssignmentInput{Groups: &groups})
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	require.Equal(t, http.StatusOK, res.StatusCode)
	require.Eventually(t, func() bool {
		return count("device_events WHERE serial = 'C07Q853LG9RM' AND delivered_at IS NOT NULL") == 1
	}, patience, 20*time.Millisecond)
	require.Positive(t, count("device_events WHERE priority = 2 AND deliver AND delivered_at IS NULL"), "it came before others that were there first")

	until("done", func() bool { return o.State == client.OperationDone })
	require.Equal(t, int64(rows), o.Progress.Changed)
	require.Equal(t, rows, count("operation_results"))
	require.Equal(t, rows, count("device_events WHERE kind = 'assigned' AND payload ->> 'operation' = $1", o.Id))
	require.Equal(t, rows, count("(SELECT DISTINCT serial FROM device_events WHERE payload ->> 'operation' = $1) AS once", o.Id))
}
