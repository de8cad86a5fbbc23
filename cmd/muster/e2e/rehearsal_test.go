package e2e

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/cmd/muster/rehearse"
	"github.com/muster-mdm/muster/cmd/muster/rehearse/environment"
	"github.com/muster-mdm/muster/sim"
)

func TestLivesOfEveryKindEndAsModelled(t *testing.T) {
	const seed = 7
	lives := rehearse.Draw(seed, 36)
	env := start(t, environment.Config{Accounts: rehearse.Accounts(lives), Push: sim.APNsConfig{Seed: seed, Faults: sim.PushFaults{Drop: 0.05, Latency: sim.Span{Max: 20 * time.Millisecond}}}})
	report := rehearsal(t, env, rehearse.Config{Lives: lives, Seed: seed})
	require.True(t, report.Good(), report.Summary())
	// The thrift that DESIGN promises of a device's way from unknown to Enrolled.
	assert.LessOrEqual(t, report.SignalsPerDevice, 4.0)
	assert.LessOrEqual(t, report.ActivitiesPerDevice, 1.0)
	assert.LessOrEqual(t, report.HistoryEventsPerDevice, 35.0)
	assert.Positive(t, report.Counted)
	assert.Positive(t, report.AutoAssigned, "nobody became Enrolled by signing in alone")
}

func TestRemovedManagementProfileAndReturn(t *testing.T) {
	assigned := rehearse.Event{Do: rehearse.Assign, User: "ANDREW", Groups: []string{"sales"}}
	on, settle, out := rehearse.Event{Do: rehearse.SwitchOn}, rehearse.Event{Do: rehearse.Settle}, rehearse.Event{Do: rehearse.CheckOut}
	serials := sim.Serials(11, 2)
	env := start(t, environment.Config{})
	report := rehearsal(t, env, rehearse.Config{Seed: 11, Lives: []rehearse.Life{
		{Serial: serials[0], Kind: "gone", Events: []rehearse.Event{assigned, on, settle, out}},
		// The second settle waits for Unmanaged; then everything is applied anew and the assignment is kept (R70).
		{Serial: serials[1], Kind: "returns", Events: []rehearse.Event{assigned, on, settle, out, settle, on}},
	}})
	require.True(t, report.Good(), report.Summary())
	require.Equal(t, map[string]int{"Unmanaged": 1, "Enrolled": 1}, report.ByStatus)
}
