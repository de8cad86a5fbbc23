package activities_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"

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

// performed runs an activity as the SDK does and returns what was logged, and the error that goes into the history.
func performed(t *testing.T, b *books, run any, args ...any) (logged string, err error) {
	t.Helper()
	var out bytes.Buffer
	suite := testsuite.WorkflowTestSuite{}
	suite.SetLogger(log.NewStructuredLogger(slog.New(slog.NewTextHandler(&out, nil))))
	env := suite.NewTestActivityEnvironment()
	env.RegisterActivity(&activities.MDM{Planner: b})
	env.RegisterActivity(&activities.Records{Keeper: b})
	_, err = env.ExecuteActivity(run, args...)
	return out.String(), err
}

var (
	mdm     *activities.MDM
	records *activities.Records
)

func TestWhatTemporalIsToldOfErrors(t *testing.T) {
	const secret = "host=db.internal user=muster database=fleet"
	for _, c := range []struct {
		err  error
		code string
		text string // "" = the sentence that gives nothing away, and the activity is retried
	}{
		{provision.Errorf(provision.GroupNotFound, "No."), "group_not_found", "No."},
		{provision.Errorf(provision.DeviceNotFound, "No."), "device_not_found", "No."},
		{provision.Errorf(provision.DeviceReleased, "No."), "device_released", "No."},
		{fmt.Errorf("carrying: %w", errors.Join(provision.Errorf(provision.StorageUnavailable, "Down."), errors.New(secret))), "storage_unavailable", ""},
		{errors.New("failed to connect to `" + secret + "`"), "internal", ""},
		{fmt.Errorf("%s: %w", secret, context.DeadlineExceeded), "internal", ""},
		{fmt.Errorf("%s: %w", secret, context.Canceled), "internal", ""},
	} {
		b := &books{err: c.err}
		for _, do := range [][]any{
			{mdm.ApplyGroups, activities.ApplyInput{Serial: "S"}},
			{records.Look, "S"},
			{records.Carry, "S", provision.Step{Do: provision.Nudge}},
			{records.Record, "S", "k", provision.Fact{Kind: provision.Unassigned}},
		} {
			logged, err := performed(t, b, do[0], do[1:]...)
			var app *temporal.ApplicationError
			require.ErrorAs(t, err, &app)
			require.Equal(t, c.code, app.Type())
			require.Equal(t, c.text != "", app.NonRetryable())
			if c.text != "" {
				require.Equal(t, c.text, app.Message())
				continue
			}
			require.Equal(t, "the store is out of order; the worker's log says more", app.Message())
			require.NoError(t, errors.Unwrap(app), "a cause would go into the history, too")
			require.NotContains(t, err.Error(), "muster")
			require.Contains(t, logged, secret, "the log has it all")
			require.Contains(t, logged, "code="+c.code)
		}
	}
	d, err := (&activities.MDM{Planner: &books{}}).ApplyGroups(t.Context(), activities.ApplyInput{Serial: "S"})
	require.NoError(t, err)
	require.Equal(t, "S", d.Serial)
}

// An activity that was cancelled says so, without the driver's words.
func TestCancelledActivity(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	b := &books{err: fmt.Errorf("host=db.internal: %w", context.Canceled)}
	_, err := (&activities.Records{Keeper: b}).Look(ctx, "S")
	require.Equal(t, context.Canceled, err)
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
		provision.SetupRefused: true, provision.CheckedIn: true, provision.ABMAnswered: true, provision.ABMBlocked: true,
		provision.SignInHeld: true, provision.DeprovisionRefused: true, provision.Withdrawn: true,
	}
	for _, kind := range provision.Signals() {
		b := &books{}
		f := full
		f.Kind = kind
		if kind == provision.Deprovision {
			f.Reason, f.Choice = provision.ForRepair, provision.Erase
		}
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
