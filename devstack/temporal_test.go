package devstack

import (
	"context"
	"net/http"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
)

func startTemporal(t *testing.T, cfg TemporalConfig) *Temporal {
	t.Helper()
	cfg.Bin = pinnedTemporal(t)
	s, err := StartTemporal(t.Context(), cfg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Stop()) })
	return s
}

func dial(t *testing.T, s *Temporal) client.Client {
	t.Helper()
	c, err := client.DialContext(t.Context(), client.Options{HostPort: s.HostPort(), Namespace: s.Namespace()})
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c
}

func begin(t *testing.T, c client.Client, id string, attributes ...temporal.SearchAttributeUpdate) {
	t.Helper()
	_, err := c.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{
		ID: id, TaskQueue: "nobody", TypedSearchAttributes: temporal.NewSearchAttributes(attributes...),
	}, "Device")
	require.NoError(t, err)
}

func requireKept(t *testing.T, c client.Client, id string) {
	t.Helper()
	require.Eventually(t, func() bool {
		_, err := c.DescribeWorkflowExecution(t.Context(), id, "")
		return err == nil
	}, 30*time.Second, 50*time.Millisecond, "%s is lost", id)
}

func TestTemporalGoesOnAfterPauseAndKill(t *testing.T) {
	dir := reachableDir(t)
	s := startTemporal(t, TemporalConfig{Dir: dir, Namespace: "muster"})
	c, address := dial(t, s), s.HostPort()
	begin(t, c, "device/A")

	first := s.Done()
	require.NoError(t, s.Pause())
	<-first
	require.NoError(t, s.Err(), "a pause is no crash")
	require.NoError(t, s.Start(t.Context()))
	require.Equal(t, address, s.HostPort())
	requireKept(t, c, "device/A")

	begin(t, c, "device/B")
	s.Kill()
	require.NoError(t, s.Err(), "nor is a kill that was asked for")
	require.NoError(t, s.Start(t.Context()))
	requireKept(t, c, "device/B")
	require.Error(t, s.Start(t.Context()), "it runs already")
	require.NoError(t, s.Stop())

	again := startTemporal(t, TemporalConfig{Dir: dir, Namespace: "muster"})
	require.Equal(t, address, again.HostPort(), "the address stays the same")
	requireKept(t, dial(t, again), "device/A")
}

func TestTemporalLearnsNewSearchAttributesOnAnOldDatabase(t *testing.T) {
	dir := reachableDir(t)
	old := startTemporal(t, TemporalConfig{Dir: dir, SearchAttributes: map[string]string{"MusterStatus": "Keyword"}})
	require.NoError(t, old.Stop())
	s := startTemporal(t, TemporalConfig{Dir: dir, SearchAttributes: map[string]string{"MusterStatus": "Keyword", "MusterEpoch": "Int"}})
	begin(t, dial(t, s), "device/A",
		temporal.NewSearchAttributeKeyKeyword("MusterStatus").ValueSet("Enrolled"),
		temporal.NewSearchAttributeKeyInt64("MusterEpoch").ValueSet(2))
}

func TestTemporalServesItsUI(t *testing.T) {
	s := startTemporal(t, TemporalConfig{UI: true, ThrowAway: true})
	require.Eventually(t, func() bool {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.UIURL(), nil)
		require.NoError(t, err)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return false
		}
		return resp.Body.Close() == nil && resp.StatusCode == http.StatusOK
	}, 30*time.Second, 50*time.Millisecond)
	require.Empty(t, (&Temporal{}).UIURL())
}

func TestTemporalCrashIsNamed(t *testing.T) {
	s := startTemporal(t, TemporalConfig{ThrowAway: true})
	dir := s.dir
	require.NoError(t, s.latest().os.Signal(syscall.SIGKILL))
	err := NewSupervisor(s).Wait(t.Context())
	require.ErrorContains(t, err, "Temporal stopped by itself (signal: killed)")
	require.NoError(t, s.Stop())
	require.NoDirExists(t, dir)
}

func TestTemporalThatLivesButDoesNotAnswer(t *testing.T) {
	s := startTemporal(t, TemporalConfig{ThrowAway: true})
	require.NoError(t, s.Check(t.Context()))
	require.NoError(t, s.latest().os.Signal(syscall.SIGSTOP))
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	err := s.Check(ctx)
	require.ErrorContains(t, err, "waiting for Temporal")
	require.ErrorContains(t, err, "the end of its log")
	require.NoError(t, s.latest().os.Signal(syscall.SIGCONT))
	require.NoError(t, s.Check(t.Context()))
}

func TestTemporalOnAPortThatIsTaken(t *testing.T) {
	dir := reachableDir(t)
	s := startTemporal(t, TemporalConfig{Dir: dir})
	address := s.HostPort()
	require.NoError(t, s.Stop())
	thief, err := listen(s.ports.grpc)
	require.NoError(t, err)
	defer thief.Close()
	require.NotEqual(t, address, startTemporal(t, TemporalConfig{Dir: dir}).HostPort())
}

func TestTemporalSaysWhyItDoesNotStart(t *testing.T) {
	s := startTemporal(t, TemporalConfig{ThrowAway: true})
	_, err := StartTemporal(t.Context(), TemporalConfig{Bin: s.cfg.Bin, SearchAttributes: map[string]string{"MusterStatus": "Colour"}})
	require.ErrorContains(t, err, "Temporal stopped by itself")
	require.ErrorContains(t, err, "invalid search attribute value type")
}
