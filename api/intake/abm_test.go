package intake_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/api/intake"
	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/store"
)

func TestWithoutAKeyringNoServerIsMade(t *testing.T) {
	use, db := checkins(t)
	_, _, err := use.PutABMServer(t.Context(), store.ABMServerInput{Name: "schools"}, store.Condition{})
	require.Equal(t, provision.KeyringMissing, provision.CodeOf(err))
	require.ErrorContains(t, err, "MUSTER_KEYRING")
	_, err = db.ABMServer(t.Context(), "schools")
	require.Equal(t, provision.NotFound, provision.CodeOf(err))
}

func TestDurationsComeBackAsTheyWereGiven(t *testing.T) {
	for _, text := range []string{"1m", "5m", "90s", "24h", "36h", "1h30m", "1h0m30s", "2s", "720h"} {
		d, err := intake.ParseDuration("x", text)
		require.NoError(t, err)
		again, err := time.ParseDuration(intake.FormatDuration(d))
		require.NoError(t, err)
		require.Equal(t, d, again)
	}
	require.Equal(t, "24h", intake.FormatDuration(24*time.Hour))
	require.Equal(t, "1m30s", intake.FormatDuration(90*time.Second))
	require.Equal(t, "1h30m", intake.FormatDuration(90*time.Minute))
	for _, text := range []string{"", "5", "soon", "-5m", "0s", "P1D"} {
		_, err := intake.ParseDuration("sync_every", text)
		var rule *provision.Error
		require.ErrorAs(t, err, &rule, text)
		require.Equal(t, "sync_every", rule.Field)
	}
}
