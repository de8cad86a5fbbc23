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
// person's device doesn't wait for the thousands before it. Then it is killed in the middle of the undo, which leaves every
// device as it was before.
func TestAWorkerKilledInTheMiddleOfAnImport(t *testing.T) {
	const rows, formerly = 20_000, 40 // of which so many are somebody's before
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
	done := func(res *http.Response, err error) {
		require.NoError(t, err)
		require.NoError(t, res.Body.Close())
		require.Less(t, res.StatusCode, 400)
	}
	for _, name := range []string{"bulk", "former"} {
		done(api.PutGroup(t.Context(), name, nil, client.GroupInput{Items: []client.GroupItem{}}))
	}
	serial := func(i int) string { return fmt.Sprintf("B%09dX", i) }
	former := []string{"former"}
	for i := 0; i < rows; i += rows / formerly {
		done(api.AssignDevice(t.Context(), serial(i), nil, client.AssignmentInput{Groups: &former}))
	}

	var file strings.Builder
	file.WriteString("Serial Number,User Name,Email Address,Group Name\n")
	for i := range rows {
		fmt.Fprintf(&file, "%s,User %d,user%d@zylker.com,bulk\n", serial(i), i%100, i%100)
	}
	res, err := api.CreateAssignmentImportWithBody(t.Context(), nil, "text/csv", strings.NewReader(file.String()))
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
	done(api.AssignDevice(t.Context(), "C07Q853LG9RM", nil, client.AssignmentInput{Groups: &groups}))
	require.Eventually(t, func() bool {
		return count("device_events WHERE serial = 'C07Q853LG9RM' AND delivered_at IS NOT NULL") == 1
	}, patience, 20*time.Millisecond)
	require.Positive(t, count("device_events WHERE priority = 2 AND deliver AND delivered_at IS NULL"), "it came before others that were there first")

	until("done", func() bool { return o.State == client.OperationDone })
	require.Equal(t, int64(rows), o.Progress.Changed)
	require.Equal(t, rows, count("operation_results"))
	require.Equal(t, rows, count("device_events WHERE kind = 'assigned' AND payload ->> 'operation' = $1", o.Id))
	require.Equal(t, rows, count("(SELECT DISTINCT serial FROM device_events WHERE payload ->> 'operation' = $1) AS once", o.Id))

	res, err = api.UndoAssignmentImport(t.Context(), o.Id, nil)
	o = operation(t, res, err)
	until("being undone", func() bool { return o.Progress.Restored >= rows/10 })
	env.KillWorker()
	require.Less(t, o.Progress.Restored, int64(rows), "a kill after the work is done would prove nothing")
	require.NoError(t, env.StartWorker(t.Context()))
	until("undone", func() bool { return o.State == client.OperationUndone })
	require.Equal(t, int64(rows), o.Progress.Restored)
	require.Equal(t, rows, count("device_events WHERE payload ->> 'reason' = 'It was undone.'"))
	require.Equal(t, rows, count("(SELECT DISTINCT serial FROM device_events WHERE payload ->> 'reason' = 'It was undone.') AS once"))
	require.Equal(t, formerly, count("devices WHERE group_names = '{former}'"))
	require.Equal(t, rows-formerly, count("devices WHERE group_names = '{}' AND user_id IS NULL"))
	require.Equal(t, rows-formerly, count("devices WHERE status = 'Withdrawn'"), "nobody but the import knew them")
	require.Equal(t, 1, count("devices WHERE group_names = '{bulk}'"), "what a person did meanwhile stays")
}
