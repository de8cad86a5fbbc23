package store_test

import (
	"context"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/devstack/stacktest"
	"github.com/muster-mdm/muster/store"
)

func TestMain(m *testing.M) {
	if url := os.Getenv(deskVariable); url != "" {
		os.Exit(workAtDesk(url))
	}
	stacktest.Main(m)
}

func migrate(ctx context.Context, url string) error {
	_, err := store.Migrate(ctx, url)
	return err
}

// open returns a store on a fresh database.
func open(t *testing.T, options ...store.Option) *store.DB {
	t.Helper()
	db, err := store.Open(t.Context(), store.Config{URL: stacktest.Database(t, "muster", migrate)}, options...)
	require.NoError(t, err)
	t.Cleanup(db.Close)
	return db
}
