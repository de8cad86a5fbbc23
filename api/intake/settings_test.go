package intake_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/api/intake"
	"github.com/muster-mdm/muster/devstack/stacktest"
	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/store"
)

func TestAssignmentRequirement(t *testing.T) {
	db, err := store.Open(t.Context(), store.Config{URL: stacktest.Database(t, "muster", func(ctx context.Context, url string) error {
		_, err := store.Migrate(ctx, url)
		return err
	})})
	require.NoError(t, err)
	t.Cleanup(db.Close)
	_, err = intake.New(db, intake.Settings{AssignmentRequirement: "anything"})
	require.ErrorContains(t, err, "assignment_requirement")
	by := intake.Actor{ID: "tok_x", Name: "x", Source: provision.FromConsole}
	for requirement, complete := range map[string]bool{"": false, provision.RequireUser: false, provision.RequireUserOrG: true} {
		in, err := intake.New(db, intake.Settings{AssignmentRequirement: requirement})
		require.NoError(t, err)
		_, _, err = in.PutGroup(t.Context(), by, store.Group{Name: "lobby"}, store.Edit{})
		require.NoError(t, err)
		out, err := in.Assign(t.Context(), by, "C07Q853LG9RM", intake.AssignmentWish{Groups: []string{"lobby"}}, store.Condition{})
		require.NoError(t, err)
		require.Equal(t, complete, out.Device.Assignment.Complete(), requirement)
	}
	row, err := db.DeviceRow(t.Context(), "C07Q853LG9RM")
	require.NoError(t, err)
	require.Equal(t, "tok_x", row.AssignedBy)
	require.Equal(t, provision.FromConsole, row.AssignedFrom)
}
