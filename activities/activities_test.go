package activities_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/temporal"

	"github.com/muster-mdm/muster/activities"
	"github.com/muster-mdm/muster/provision"
)

// books notes what it was asked for.
type books struct {
	fact  provision.Fact
	key   string
	after int64
	round int
	err   error
}

// Apply implements activities.Planner.
func (b *books) Apply(_ context.Context, serial string, after int64, round int, _ string) (provision.Device, error) {
	b.after, b.round = after, round
	return provision.Device{Serial: serial}, b.err
}

// Device implements activities.Keeper.
func (b *books) Device(_ context.Context, serial string) (provision.Device, error) {
	return provision.Device{Serial: serial}, b.err
}

// Carry implements activities.Keeper.
func (b *books) Carry(_ context.Context, serial string, _ provision.Step) (provision.Device, error) {
	return provision.Device{Serial: serial}, b.err
}

// RecordByHand implements activities.Keeper.
func (b *books) RecordByHand(_ context.Context, serial, key string, f provision.Fact) (provision.Device, error) {
	b.fact, b.key = f, key
	return provision.Device{Serial: serial}, b.err
}

func TestErrorsOfTheRulesAreNotRetried(t *testing.T) {
	for _, c := range []struct {
		err  error
		code string // "" = retried
	}{
		{provision.Errorf(provision.GroupNotFound, "No."), "group_not_found"},
		{provision.Errorf(provision.DeviceNotFound, "No."), "device_not_found"},
		{errors.Join(errors.New("wrapped"), provision.Errorf(provision.DeviceReleased, "No.")), "device_released"},
		{provision.Errorf(provision.StorageUnavailable, "Down."), ""},
		{errors.New("driver"), ""},
		{context.DeadlineExceeded, ""},
	} {
		b := &books{err: c.err}
		_, apply := (&activities.MDM{Planner: b}).ApplyGroups(t.Context(), activities.ApplyInput{Serial: "S"})
		_, carry := (&activities.Records{Keeper: b}).Carry(t.Context(), "S", provision.Step{})
		_, record := (&activities.Records{Keeper: b}).Record(t.Context(), "S", "k", provision.Fact{Kind: provision.Unassigned})
		for _, err := range []error{apply, carry, record} {
			var app *temporal.ApplicationError
			if c.code == "" {
				require.Equal(t, c.err, err)
				continue
			}
			require.ErrorAs(t, err, &app)
			require.True(t, app.NonRetryable())
			require.Equal(t, c.code, app.Type())
		}
	}
	d, err := (&activities.MDM{Planner: &books{}}).ApplyGroups(t.Context(), activities.ApplyInput{Serial: "S"})
	require.NoError(t, err)
	require.Equal(t, "S", d.Serial)
}

func TestApplyPassesOnWhatTheWorkflowKnows(t *testing.T) {
	b := &books{}
	m := &activities.MDM{Planner: b}
	_, err := m.ApplyGroups(t.Context(), activities.ApplyInput{Serial: "S", After: 7, Round: 3})
	require.NoError(t, err)
	require.Equal(t, int64(7), b.after)
	require.Equal(t, 3, b.round)
	_, err = m.ApplyGroups(t.Context(), activities.ApplyInput{Serial: "S"})
	require.NoError(t, err)
	require.Equal(t, 1, b.round, "tries count from 1")
}

func TestFactsByHand(t *testing.T) {
	until := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	full := provision.Fact{
		ID: 0, Epoch: 9, At: until, Source: provision.FromDevice, Reason: "end_of_life", Plan: 4, Round: 5, Until: &until,
		Assignment: &provision.Assignment{UserID: "p1", Groups: []string{" sales "}}, AwaitingConfiguration: true,
		ABM: &provision.ABMFact{Server: "school", State: provision.ABMPresent}, Verdict: &provision.Verdict{Total: 1},
	}
	refused := map[provision.Kind]bool{
		provision.Activated: true, provision.Authenticated: true, provision.Settled: true, provision.SetupFinished: true,
		provision.SetupRefused: true,
	}
	for _, kind := range provision.Signals() {
		b := &books{}
		f := full
		f.Kind = kind
		_, err := (&activities.Records{Keeper: b}).Record(t.Context(), "S", "run/1", f)
		if refused[kind] {
			require.Error(t, err, kind)
			require.Empty(t, b.fact.Kind, "nothing is recorded")
			continue
		}
		require.NoError(t, err, kind)
		require.Equal(t, "run/1", b.key)
		require.Equal(t, kind, b.fact.Kind)
		require.Equal(t, provision.FromOperator, b.fact.Source)
		require.Zero(t, b.fact.Epoch, "the store knows the enrollment")
		require.Zero(t, b.fact.Plan)
		require.Nil(t, b.fact.Verdict)
		require.Equal(t, kind == provision.Assigned, b.fact.Assignment != nil, kind)
		require.Equal(t, kind == provision.ExtendHold, b.fact.Until != nil, kind)
		if kind == provision.Assigned {
			require.Equal(t, []string{"sales"}, b.fact.Assignment.Groups)
		}
	}
	for _, kind := range []provision.Kind{provision.Released, provision.Enrolled, "nonsense", ""} {
		_, err := (&activities.Records{Keeper: &books{}}).Record(t.Context(), "S", "k", provision.Fact{Kind: kind})
		require.Error(t, err, kind)
	}
}
