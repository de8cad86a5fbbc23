package bench_test

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/cmd/muster/bench"
	"github.com/muster-mdm/muster/cmd/muster/cli"
)

// asMuster makes this test program behave as muster, since the bench starts the running program as its processes. It has
// no MUSTER_ in front: those are kept from them.
const asMuster = "BENCH_TEST_AS_MUSTER"

func TestMain(m *testing.M) {
	if os.Getenv(asMuster) == "" {
		os.Exit(m.Run())
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := cli.Main(ctx, os.Args[1:], cli.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr})
	stop()
	os.Exit(code)
}

const marked = "# Page\n\n<!-- bench:begin -->\nold\n<!-- bench:end -->\nend\n"

// A quick run proves that every row can be measured on real servers, and that the report holds what its readers need.
func TestQuickRunMeasuresEveryRow(t *testing.T) {
	t.Setenv(asMuster, "yes")
	page := filepath.Join(t.TempDir(), "page.md")
	require.NoError(t, os.WriteFile(page, []byte(marked), 0o600))
	var out bytes.Buffer
	code := cli.Main(t.Context(), []string{"bench", "--quick", "--repeats", "2", "--json", "--write", page}, cli.Streams{Out: &out, Err: t.Output()})
	require.Zero(t, code)

	var report bench.Report
	require.NoError(t, json.Unmarshal(out.Bytes(), &report))
	require.Len(t, report.Rows, 7)
	for i, row := range report.Rows {
		require.Equal(t, string("abcdefg"[i]), row.Key)
		require.Empty(t, row.Error)
		requireMeasured(t, row)
	}
	require.Regexp(t, `^\d+\.\d+`, report.Machine.PostgreSQL)
	require.Regexp(t, `^\d+\.\d+`, report.Machine.Temporal)
	written, err := os.ReadFile(page)
	require.NoError(t, err)
	require.Regexp(t, `(?s)^# Page\n\n<!-- bench:begin -->\nMeasured on .*\| g +\|.*\n<!-- bench:end -->\nend\n$`, string(written))
	require.NotContains(t, string(written), "old")
}

func requireMeasured(t *testing.T, row bench.Row) {
	t.Helper()
	all := []*bench.Series{row.Muster, row.Bare, row.Ratio}
	switch row.Key {
	case "c":
		all = []*bench.Series{row.P50, row.P99}
	case "e", "g":
		all = append(all, row.Peak)
	case "f":
		all = []*bench.Series{row.Muster, row.P50, row.P99}
	}
	for _, s := range all {
		require.NotNil(t, s, row.Key)
		require.Len(t, s.Runs, 2, row.Key)
		assert.Positive(t, s.Min, row.Key)
		assert.GreaterOrEqual(t, s.Median, s.Min, row.Key)
		assert.GreaterOrEqual(t, s.Max, s.Median, row.Key)
	}
	if row.Ratio != nil {
		assert.InEpsilon(t, row.Muster.Runs[1]/row.Bare.Runs[1], row.Ratio.Runs[1], 1e-9, "runs of a pair belong together")
	}
	if _, err := os.Stat("/proc/self/stat"); err == nil {
		assert.Contains(t, row.MusterCPU, "postgresql", row.Key)
		assert.Contains(t, row.MusterCPU, "temporal", row.Key)
	}
}

func TestRefusesWhatItCannotMeasure(t *testing.T) {
	for _, c := range []struct{ args, says string }{
		{"--rows a,z", `there is no row "z"`},
		{"--rows=", "names no row"},
		{"--repeats 0", "must be at least 1"},
		{"--quick --repeats 0", "must be at least 1"},
	} {
		var out, said bytes.Buffer
		code := cli.Main(t.Context(), append([]string{"bench"}, strings.Fields(c.args)...), cli.Streams{Out: &out, Err: &said})
		require.NotZero(t, code, c.args)
		require.Contains(t, said.String(), c.says)
		require.Empty(t, out.String())
	}
}
