package checkin_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/provision"
)

func TestARepeatedTokenUpdateWakesADeviceThatCouldNotBePushed(t *testing.T) {
	e := start(t, nil)
	p := e.provisioned(serial)
	_, err := e.sql.Exec(t.Context(), `UPDATE devices SET push_at = NULL, push_tries = 0, push_error = 'Unregistered'`)
	require.NoError(t, err)
	events := e.kinds(serial)
	require.Equal(t, 200, p.tokenUpdate().status)
	var wished bool
	require.NoError(t, e.sql.QueryRow(t.Context(), `SELECT push_at IS NOT NULL AND push_error = '' FROM devices`).Scan(&wished))
	require.True(t, wished)
	require.Equal(t, events, e.kinds(serial), "a new token is no fact")

	require.Equal(t, 200, p.checkOut().status)
	p.tokenUpdate()
	require.NoError(t, e.sql.QueryRow(t.Context(), `SELECT push_at IS NOT NULL FROM devices`).Scan(&wished))
	require.False(t, wished, "its enrollment is over")
}

func TestAnsweredCommandsLeaveNanoMDM(t *testing.T) {
	e := start(t, nil)
	p := e.provisioned(serial)
	first := p.idle()
	p.report(first.CommandUUID, "NotNow")
	left := func() (n int) {
		require.NoError(t, e.sql.QueryRow(t.Context(), `SELECT (SELECT count(*) FROM nanomdm.commands WHERE command_uuid = $1) +
			(SELECT count(*) FROM nanomdm.enrollment_queue WHERE command_uuid = $1) + (SELECT count(*) FROM nanomdm.command_results WHERE command_uuid = $1)`,
			first.CommandUUID).Scan(&n))
		return n
	}
	require.Equal(t, 3, left())
	next := p.report(first.CommandUUID, "Acknowledged")
	require.Zero(t, left())
	for _, status := range []string{"Acknowledged", "NotNow", "Error"} {
		require.Equal(t, next, p.report(first.CommandUUID, status), "said again, it goes as Idle")
	}
	items, err := e.db.PlanItems(t.Context(), serial)
	require.NoError(t, err)
	require.Equal(t, provision.Verified, items[0].State)
}
