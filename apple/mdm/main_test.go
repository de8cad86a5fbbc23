package mdm_test

import (
	"context"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/apple/mdm"
	"github.com/muster-mdm/muster/devstack/stacktest"
	"github.com/muster-mdm/muster/store"
)

func TestMain(m *testing.M) { stacktest.Main(m) }

func migrate(ctx context.Context, url string) error {
	_, err := store.Migrate(ctx, url)
	return err
}

func newStorage(t *testing.T) *mdm.Storage {
	t.Helper()
	db, err := store.Open(t.Context(), store.Config{URL: stacktest.Database(t, "muster", migrate), MaxConns: 4})
	require.NoError(t, err)
	t.Cleanup(db.Close)
	s, err := mdm.NewStorage(db.NanoMDM(), slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	return s
}
