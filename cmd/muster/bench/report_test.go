package bench

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func lasted(units int, elapsed time.Duration, cpu time.Duration) run {
	return run{units: units, elapsed: elapsed, cpu: map[string]time.Duration{"temporal": cpu}}
}

func TestPairComparesRunsThatFollowedEachOther(t *testing.T) {
	row := rows["a"]
	row.pair(
		[]run{lasted(100, 10*time.Second, time.Second), lasted(100, 5*time.Second, 2*time.Second), lasted(100, 20*time.Second, 9*time.Second)},
		[]run{lasted(100, 5*time.Second, time.Second), lasted(100, 4*time.Second, 0), lasted(100, 16*time.Second, 0)})
	require.Equal(t, Series{Median: 10, Min: 5, Max: 20, Runs: []float64{10, 20, 5}}, *row.Muster)
	require.Equal(t, Series{Median: 0.8, Min: 0.5, Max: 0.8, Runs: []float64{0.5, 0.8, 0.8}}, *row.Ratio)
	require.Equal(t, map[string]float64{"temporal": 20}, row.MusterCPU)
	require.Equal(t, map[string]float64{"temporal": 0}, row.BareCPU)
	require.True(t, row.Met)

	row.pair([]run{lasted(59, time.Second, 0)}, []run{lasted(100, time.Second, 0)})
	require.False(t, row.Met)
}

func TestMedian(t *testing.T) {
	require.InDelta(t, 2.0, median([]float64{9, 1, 2}), 0)
	require.InDelta(t, 1.5, median([]float64{2, 1}), 0)
	require.InDelta(t, 4.0, median([]float64{4}), 0)
}

func TestHalvesTakeTurns(t *testing.T) {
	s := &stage{repeats: 3, say: func(string) {}}
	var order strings.Builder
	half := func(name string, units int) half {
		return func(_ context.Context, n int) (run, error) {
			order.WriteString(name)
			return lasted(units+n, time.Second, 0), nil
		}
	}
	ours, theirs, err := s.takeTurns(t.Context(), half("m", 10), half("b", 20))
	require.NoError(t, err)
	require.Equal(t, "mbbmmb", order.String())
	for n := range 3 {
		require.Equal(t, []int{10 + n, 20 + n}, []int{ours[n].units, theirs[n].units})
	}
	_, _, err = s.takeTurns(t.Context(), half("m", 10), func(context.Context, int) (run, error) { return run{}, errors.New("no luck") })
	require.EqualError(t, err, "no luck")
}

func TestMarkdownIsATable(t *testing.T) {
	met := rows["d"]
	met.Key = "d"
	met.pair([]run{lasted(90, time.Second, time.Second), lasted(80, time.Second, time.Second)}, []run{lasted(100, time.Second, 0), lasted(100, time.Second, 0)})
	broken := Row{Key: "b", Title: "x", Goal: "ratio ≥ 0.7", Error: "no | luck\ntoday"}
	report := Report{Machine: describeMachine(), Rows: []Row{broken, met}, Repeats: 2, Quick: true}
	text := report.Markdown()
	require.Contains(t, text, "85.0 (80.0–90.0) facts/s")
	require.Contains(t, text, "| 0.85 (0.80–0.90) |")
	require.Regexp(t, `\| met +\|`, text)
	require.Contains(t, text, "| not measured: no / luck today |")
	require.Contains(t, text, "quick ones")
	require.Equal(t, []string{"b"}, report.unmeasured())
	widths := map[int]int{}
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "|") {
			widths[strings.Count(line, "|")]++
		}
	}
	require.Equal(t, map[int]int{8: 4, 9: 4}, widths, "every line of a table has its columns")
}

func TestCheapRowsCostMicroseconds(t *testing.T) {
	row := rows["e"]
	row.Key = "e"
	row.pair([]run{lasted(1_000_000, time.Second, 800*time.Millisecond)}, []run{lasted(1_000_000, time.Second, 250*time.Millisecond)})
	lines := row.costs()
	require.Equal(t, []string{"e", "µs per row, Muster", "0.80"}, lines[0][:3])
	require.Equal(t, []string{"e", "µs per row, bare", "0.25"}, lines[1][:3])
	row.pair([]run{lasted(100, time.Second, 80*time.Millisecond)}, []run{lasted(100, time.Second, 0)})
	lines = row.costs()
	require.Equal(t, []string{"e", "ms per row, Muster", "0.80"}, lines[0][:3])
	require.Equal(t, []string{"e", "ms per row, bare", "0.00"}, lines[1][:3])
}

func TestUnmeasuredRowsAreAFailure(t *testing.T) {
	u := unmeasured{[]string{"a", "b"}}
	require.Equal(t, 1, u.AlreadySaid())
	require.EqualError(t, u, "not measured: row a, b")
}

func TestTableStaysInItsPlace(t *testing.T) {
	page := filepath.Join(t.TempDir(), "page.md")
	require.ErrorIs(t, writeBetweenMarks(page, "new\n"), os.ErrNotExist)
	for name, c := range map[string]struct{ before, after string }{
		"old":     {"a\n" + beginMark + "\nold\n" + endMark + "\nb", "a\n" + beginMark + "\nnew\n" + endMark + "\nb"},
		"empty":   {beginMark + endMark, beginMark + "\nnew\n" + endMark},
		"no mark": {"a", ""},
		"one":     {"a" + beginMark, ""},
		"swapped": {endMark + beginMark, ""},
	} {
		require.NoError(t, os.WriteFile(page, []byte(c.before), 0o600))
		err := writeBetweenMarks(page, "new\n")
		got, readErr := os.ReadFile(page)
		require.NoError(t, readErr)
		if c.after == "" {
			require.ErrorContains(t, err, "has no lines", name)
			require.Equal(t, c.before, string(got), name)
			continue
		}
		require.NoError(t, err, name)
		require.Equal(t, c.after, string(got), name)
	}
}

func TestProcessTimes(t *testing.T) {
	s, err := parseStat("4242 (a b) c) S 17 1 1 0 -1 4194560 100 200 0 0 150 50 30 20 20 0 5 0 1 2 3")
	require.NoError(t, err)
	require.Equal(t, spent{parent: 17, own: 2 * time.Second, children: 500 * time.Millisecond}, s)
	_, err = parseStat("4242 (x) S 17")
	require.ErrorContains(t, err, "too short")
	_, err = parseStat("4242 (x) S a 1 1 0 -1 4194560 100 200 0 0 150 50 30 20 20 0 5")
	require.Error(t, err)
}
