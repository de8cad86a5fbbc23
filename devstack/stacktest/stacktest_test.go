package stacktest_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"github.com/muster-mdm/muster/devstack/stacktest"
)

func connect(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func TestDatabasesAreMigratedOnceAndApart(t *testing.T) {
	var migrated atomic.Int32
	migrate := func(ctx context.Context, url string) error {
		migrated.Add(1)
		conn, err := pgx.Connect(ctx, url) // left open on purpose: a template must bear it
		if err != nil {
			return err
		}
		_, err = conn.Exec(ctx, "CREATE TABLE devices (serial text PRIMARY KEY)")
		return err
	}
	t.Run("group", func(t *testing.T) {
		for range 6 {
			t.Run("test", func(t *testing.T) {
				t.Parallel()
				conn := connect(t, stacktest.Database(t, "apart", migrate))
				_, err := conn.Exec(t.Context(), "INSERT INTO devices VALUES ('C07Q853LG9RM')")
				require.NoError(t, err, "a table that another test has filled")
			})
		}
	})
	require.Equal(t, int32(1), migrated.Load())
}

func TestDatabaseIsDroppedWithItsTest(t *testing.T) {
	var name string
	t.Run("inner", func(t *testing.T) {
		conn := connect(t, stacktest.Database(t, "empty", nil))
		require.NoError(t, conn.QueryRow(t.Context(), "SELECT current_database()").Scan(&name))
	})
	conn := connect(t, stacktest.Database(t, "empty", nil))
	var there bool
	require.NoError(t, conn.QueryRow(t.Context(), "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)", name).Scan(&there))
	require.False(t, there, "the database %s outlives its test", name)
}

func TestTemplateOfAFailedMigrationIsMadeAnew(t *testing.T) {
	ctx := t.Context()
	migrate := func(ctx context.Context, url string) error {
		conn, err := pgx.Connect(ctx, url)
		if err != nil {
			return err
		}
		defer conn.Close(ctx)
		_, err = conn.Exec(ctx, "CREATE TABLE half (id int)")
		return err
	}
	refusing := func(ctx context.Context, url string) error {
		return errors.Join(migrate(ctx, url), errors.New("and then it broke"))
	}
	server := stacktest.Database(t, "empty", nil)
	require.ErrorContains(t, stacktest.EnsureTemplate(ctx, server, "template_broken", refusing), "and then it broke")
	require.NoError(t, stacktest.EnsureTemplate(ctx, server, "template_broken", migrate))
}

func TestTemplateNameThatPostgresWouldCut(t *testing.T) {
	server := stacktest.Database(t, "empty", nil)
	long := "template_with_a_name_so_long_that_its_hash_would_be_cut_off_in_silence_8f14e45f"
	require.ErrorContains(t, stacktest.EnsureTemplate(t.Context(), server, long, nil), "longer than 63 bytes")
}

func TestNamespacesAreApartAndKnowMustersSearchAttributes(t *testing.T) {
	status := temporal.NewSearchAttributeKeyKeyword("MusterStatus")
	groups := temporal.NewSearchAttributeKeyKeywordList("MusterGroups")
	epoch := temporal.NewSearchAttributeKeyInt64("MusterEpoch")
	for range 2 { // the same workflow id twice
		hostPort, namespace := stacktest.Temporal(t)
		c, err := client.DialContext(t.Context(), client.Options{HostPort: hostPort, Namespace: namespace})
		require.NoError(t, err)
		t.Cleanup(c.Close)
		_, err = c.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{
			ID: "device/C07Q853LG9RM", TaskQueue: "nobody", WorkflowExecutionErrorWhenAlreadyStarted: true,
			TypedSearchAttributes: temporal.NewSearchAttributes(status.ValueSet("Enrolled"), groups.ValueSet([]string{"drivers"}), epoch.ValueSet(1)),
		}, "Device")
		require.NoError(t, err)
	}
}

func TestAnErrorOfTemporalNamesTheServer(t *testing.T) {
	ill := errors.New("interrupted (9)")
	t.Setenv(stacktest.TemporalVariable, "")
	stacktest.Temporal(t) // starts one
	require.ErrorContains(t, stacktest.Explain(ill), "the server of this package's tests: interrupted (9); the end of its log:\n")

	t.Setenv(stacktest.TemporalVariable, "127.0.0.1:7233")
	require.EqualError(t, stacktest.Explain(ill), "the server 127.0.0.1:7233 that MUSTER_TEST_TEMPORAL names: interrupted (9)")
}
