package e2e

import (
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/api/client"
	"github.com/muster-mdm/muster/cmd/muster/rehearse"
	"github.com/muster-mdm/muster/cmd/muster/rehearse/environment"
	"github.com/muster-mdm/muster/sim"
	"github.com/muster-mdm/muster/sim/appleschema/schemaflag"
)

func TestTemporalStoppedMeanwhile(t *testing.T) {
	const devices = 12
	answers := &ledger{}
	env := start(t, environment.Config{Private: true, Front: answers.front(t)})
	customer, err := rehearse.NewCustomer(env.URL(), env.Token())
	require.NoError(t, err)
	require.NoError(t, customer.Furnish(t.Context()))
	fleet := newFleet(t, env, devices)

	require.NoError(t, env.StopTemporal())
	for i, d := range fleet.Devices() {
		if i%2 == 0 {
			assign(t, customer, d)
			enroll(t, customer, d)
			continue
		}
		require.NoError(t, customer.Register(t.Context(), d.Serial()))
		enroll(t, customer, d)
		assign(t, customer, d)
	}
	require.Empty(t, answers.bad(), "something was refused while Temporal was down")
	require.GreaterOrEqual(t, undelivered(t, env), 2*devices)
	for serial, d := range look(t, customer) {
		require.Equal(t, "Provisioning", string(d.Status), serial)
		shown, err := customer.Device(t.Context(), serial)
		require.NoError(t, err)
		require.NotEmpty(t, *shown.Waits, "%s can't say what it waits for", serial)
	}

	require.NoError(t, env.StartTemporal(t.Context()))
	require.Eventually(t, func() bool {
		for _, d := range look(t, customer) {
			if string(d.Status) != "Enrolled" {
				return false
			}
		}
		return true
	}, patience, 200*time.Millisecond, "facts from before are not carried out")
	require.Eventually(t, func() bool { return undelivered(t, env) == 0 }, time.Minute, 100*time.Millisecond)
	for _, d := range fleet.Devices() {
		require.Zero(t, sim.SentTwice(d.Log()), d.Serial())
	}
}

func newFleet(t *testing.T, env *environment.Environment, n int) *sim.Fleet {
	t.Helper()
	fleet, err := sim.NewFleet(sim.FleetConfig{Size: n, Seed: 5, Device: sim.Config{
		APNs: env.Push(), Keys: sim.NewKeyPool(2048, 4), Catalog: map[string]string{"284882215": "com.example.app.offers"},
	}})
	require.NoError(t, err)
	var running sync.WaitGroup
	running.Go(func() { fleet.Run(t.Context()) })
	t.Cleanup(func() { // the test's context has ended by now
		running.Wait()
		fleet.Close()
	})
	return fleet
}

func assign(t *testing.T, customer *rehearse.Customer, d *sim.Device) {
	t.Helper()
	require.NoError(t, customer.Assign(t.Context(), d.Serial(), rehearse.Assignment{User: "ANDREW", Groups: []string{"sales"}}))
}

func enroll(t *testing.T, customer *rehearse.Customer, d *sim.Device) {
	t.Helper()
	profile, err := customer.EnrollmentProfile(t.Context(), d.Serial())
	require.NoError(t, err)
	require.NoError(t, d.Enroll(t.Context(), profile))
}

func look(t *testing.T, customer *rehearse.Customer) map[string]client.Device {
	t.Helper()
	all, err := customer.Devices(t.Context())
	require.NoError(t, err)
	return all
}

func undelivered(t *testing.T, env *environment.Environment) int {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), env.DatabaseURL())
	require.NoError(t, err)
	defer conn.Close(t.Context())
	var n int
	require.NoError(t, conn.QueryRow(t.Context(), `SELECT count(*) FROM device_events WHERE deliver AND delivered_at IS NULL`).Scan(&n))
	return n
}

// ledger notes every answer of muster's that is not a success.
type ledger struct {
	mu      sync.Mutex
	refused []string
}

func (l *ledger) bad() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.refused
}

// front notes, and checks the traffic against Apple's schema where that is at hand.
func (l *ledger) front(t *testing.T) func(http.Handler) http.Handler {
	watcher, watching := schemaflag.Watch(t)
	return func(next http.Handler) http.Handler {
		if watching {
			next = watcher.Handler(next)
		}
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			noted := &statusWriter{ResponseWriter: w, status: http.StatusOK}
			next.ServeHTTP(noted, r)
			if noted.status >= http.StatusBadRequest {
				l.mu.Lock()
				defer l.mu.Unlock()
				l.refused = append(l.refused, fmt.Sprintf("%s %s: %d", r.Method, r.URL.Path, noted.status))
			}
		})
	}
}

type statusWriter struct {
	http.ResponseWriter
	status int
}

func (s *statusWriter) WriteHeader(status int) {
	s.status = status
	s.ResponseWriter.WriteHeader(status)
}
