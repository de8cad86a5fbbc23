package serve_test

import (
	"context"
	"log/slog"
	"strings"
	"testing"

	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/cmd/muster/serve"
	"github.com/muster-mdm/muster/cmd/muster/settings"
	"github.com/muster-mdm/muster/devstack/stacktest"
)

// Who starts Muster on a fresh database is told what to do, not which table there isn't.
func TestStartWithoutSchema(t *testing.T) {
	empty := stacktest.Database(t, "empty", func(context.Context, string) error { return nil })
	for name, more := range map[string][]string{"plain": nil, "with a bootstrap token": {"MUSTER_BOOTSTRAP_TOKEN=mst_" + strings.Repeat("A", 43)}} {
		var set settings.Serve
		environ := append([]string{"MUSTER_DATABASE_URL=" + empty, "MUSTER_LISTEN=127.0.0.1:0"}, more...)
		require.NoError(t, settings.Bind(pflag.NewFlagSet("serve", pflag.ContinueOnError), &set, environ), name)
		_, err := serve.Start(t.Context(), set, slog.New(slog.DiscardHandler))
		require.ErrorContains(t, err, "run muster migrate up", name)
	}
}
