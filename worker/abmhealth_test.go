package worker_test

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"

	"github.com/muster-mdm/muster/devstack"
	"github.com/muster-mdm/muster/devstack/logtest"
	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/signals"
	sim "github.com/muster-mdm/muster/sim/abm"
	"github.com/muster-mdm/muster/store"
)

// often has a server synced by its schedule every second.
func (p *portal) often(name, profile string) {
	p.t.Helper()
	p.put(store.ABMServerInput{Name: name, DefaultProfile: profile, SyncEvery: time.Second, FullEvery: 24 * time.Hour})
}

func (p *portal) health() string {
	return p.text(`SELECT health FROM abm_servers WHERE name = 'school'`)
}

func (p *portal) blockedBy(serial string) func(string) func() bool {
	return func(cause string) func() bool {
		return func() bool { return p.text(`SELECT blocked_by FROM devices WHERE serial = $1`, serial) == cause }
	}
}

// Terms are withdrawn and signed again: devices say so, and what waited goes on, without any action here.
func TestTermsWithdrawnAndSignedAgain(t *testing.T) {
	p := newPortal(t, sim.Config{})
	p.start()
	p.server(school)
	p.often(school, "")
	all := p.addNew(school, 8)
	p.agree(school)
	blocked := p.blockedBy(all[7])
	p.org.SignTerms(false)
	p.eventually("the device to say so", blocked("abm_terms"))
	p.profile(school, "kiosk", `{}`)
	p.often(school, "kiosk")
	late := p.addNew(school, 2)
	p.eventually("its workflow to say so", func() bool {
		s, err := signals.New(p.client, "").Status(t.Context(), all[7])
		return err == nil && s.BlockedBy == "abm_terms"
	})
	p.org.SignTerms(true)
	p.eventually("the device to be free", blocked(""))
	p.agree(school)
	p.profiled(append(all, late...)...)
	require.Equal(t, store.Healthy, p.health())
	p.eventually("its workflow to be free", func() bool {
		s, err := signals.New(p.client, "").Status(t.Context(), all[7])
		return err == nil && s.BlockedBy == ""
	})
	p.nothingTwice()
}

// A token ends by its date although nobody asks Apple for anything; a renewed one has everything go on.
func TestTokenEndsAndIsRenewed(t *testing.T) {
	p := newPortal(t, sim.Config{})
	p.start()
	p.server(school)
	p.profile(school, "kiosk", `{}`)
	all := p.addNew(school, 4)
	p.wish(school, false)
	p.agree(school)
	p.profiled(all...)
	_, err := p.db.PauseABM(t.Context(), school, true)
	require.NoError(t, err)
	require.NoError(t, p.org.ExpireToken(p.servers[school]))
	p.exec(`UPDATE abm_servers SET token_expires_at = now() - interval '1 second'`)
	p.eventually("the server to say so", func() bool { return p.health() == string(provision.BlockedTokenExpired) })
	require.Empty(t, p.device(all[0]).BlockedBy(), "it waits for nothing of Apple's")
	p.profile(school, "kiosk", `{"is_supervised": true}`)
	p.record(all[0], provision.Fact{Kind: provision.UnassignFromMDM})
	p.eventually("a device that waits to say so", p.blockedBy(all[0])("abm_token_expired"))
	p.link(school)
	p.eventually("the device to be free", p.blockedBy(all[0])(""))
	p.eventually("the new profile to be assigned", func() bool {
		for _, s := range all[1:] {
			if got, _ := p.org.ProfileFor(s); !got.Supervised {
				return false
			}
		}
		return true
	})
	require.NotEmpty(t, p.text(`SELECT coalesce(sync_wanted_at::text, '') FROM abm_servers`), "a paused server isn't synced, but duties are done")
	p.nothingTwice()
}

func TestPausedServerIsSyncedWhenItIsResumed(t *testing.T) {
	p := newPortal(t, sim.Config{})
	p.start()
	p.server(school)
	p.often(school, "")
	p.addNew(school, 1)
	p.agree(school)
	_, err := p.db.PauseABM(t.Context(), school, true)
	require.NoError(t, err)
	p.eventually("the schedule to be paused", func() bool { return p.described(school).GetSchedule().GetState().GetPaused() })
	p.eventually("the last sync to end", func() bool { return len(p.described(school).GetInfo().GetRunningWorkflows()) == 0 })
	p.addNew(school, 1)
	before := p.org.Counts().Requests["POST /devices/sync"]
	p.wish(school, false)
	_, err = p.db.PauseABM(t.Context(), school, false)
	require.NoError(t, err)
	require.Equal(t, before, p.org.Counts().Requests["POST /devices/sync"])
	p.agree(school)
	p.eventually("the schedule to go on", func() bool { return !p.described(school).GetSchedule().GetState().GetPaused() })
}

func (p *portal) described(server string) *workflowservice.DescribeScheduleResponse {
	p.t.Helper()
	is, err := p.client.WorkflowService().DescribeSchedule(context.Background(), &workflowservice.DescribeScheduleRequest{
		Namespace: p.config.Namespace, ScheduleId: signals.ABMSyncID(server),
	})
	if err != nil {
		return nil
	}
	return is
}

// Each server has its schedule, as often as it says, and none is left of one that is no more.
func TestSchedulesFollowTheServers(t *testing.T) {
	p := newPortal(t, sim.Config{})
	p.start()
	p.put(store.ABMServerInput{Name: "unlinked", SyncEvery: time.Hour, FullEvery: time.Hour})
	p.server(school)
	every := func() time.Duration {
		spec := p.described(school).GetSchedule().GetSpec().GetInterval()
		if len(spec) == 0 {
			return 0
		}
		return spec[0].GetInterval().AsDuration()
	}
	p.eventually("the schedule to be made", func() bool { return every() == time.Hour })
	require.Nil(t, p.described("unlinked"))
	p.put(store.ABMServerInput{Name: school, SyncEvery: 5 * time.Minute, FullEvery: 24 * time.Hour})
	p.eventually("the schedule to be changed", func() bool { return every() == 5*time.Minute })
	version := p.described(school).GetConflictToken()
	door := p.door()
	require.NoError(t, door.Plan(t.Context(), signals.ABMPlan{Server: school, Every: 5 * time.Minute}))
	require.Equal(t, version, p.described(school).GetConflictToken(), "nothing is updated needlessly")
	other := signals.NewABM(p.client, p.config.Namespace, "another-queue")
	planned, err := other.Planned(t.Context())
	require.NoError(t, err)
	require.Empty(t, planned, "another Muster's are not ours")
	p.settled(school)
	require.NoError(t, p.db.DeleteABMServer(t.Context(), school, store.Condition{}))
	p.eventually("the schedule to be gone", func() bool { return p.described(school) == nil })
	require.NoError(t, door.Unplan(t.Context(), school))
	_, err = door.SyncStatus(t.Context(), school)
	require.Equal(t, provision.NotFound, provision.CodeOf(err))
	_, err = door.DutiesStatus(t.Context(), school)
	require.Equal(t, provision.NotFound, provision.CodeOf(err))
}

// While Temporal is down nothing is lost: what is wished and due waits in the database.
func TestWishesAndDutiesWaitForTemporal(t *testing.T) {
	bin, err := devstack.FindTemporal(t.Context(), "../.bin", devstack.FindOptions{})
	require.NoError(t, err)
	server, err := devstack.StartTemporal(t.Context(), devstack.TemporalConfig{Bin: bin, ThrowAway: true})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, server.Stop()) })
	server.Kill()
	p := newPortal(t, sim.Config{})
	p.client, err = client.NewLazyClient(client.Options{HostPort: server.HostPort(), Logger: quiet()})
	require.NoError(t, err)
	t.Cleanup(p.client.Close)
	p.config.Namespace = client.DefaultNamespace
	p.start()
	p.server(school)
	all := p.addNew(school, 12)
	p.profile(school, "kiosk", `{}`)
	require.Equal(t, "0", p.text(`SELECT count(*)::text FROM abm_devices`))
	require.NoError(t, server.Start(t.Context()))
	p.agree(school)
	p.profiled(all...)
}

func TestWhatIsShownOfServers(t *testing.T) {
	p := newPortal(t, sim.Config{})
	metrics, logged := prometheus.NewRegistry(), &logtest.Log{}
	p.config.Metrics, p.config.Log = metrics, slog.New(slog.NewTextHandler(logged, nil))
	p.start()
	p.server(school)
	p.addNew(school, 3)
	p.wish(school, false)
	p.agree(school)
	p.exec(`UPDATE abm_servers SET token_expires_at = now() + interval '20 days'`)
	p.wish(school, false)
	p.eventually("a warning", func() bool { return strings.Count(logged.String(), "server token of apple business manager ends") > 0 })
	p.settled(school)
	p.eventually("the sync to be shown", func() bool {
		return gauge(t, metrics, "muster_abm_devices", "school") == 3 && gauge(t, metrics, "muster_abm_last_sync_timestamp_seconds", "school") > 0
	})
	require.InDelta(t, 1, gauge(t, metrics, "muster_abm_healthy", "school"), 0)
	require.InDelta(t, 0, gauge(t, metrics, "muster_abm_throttled_total", "school"), 0)
	require.InDelta(t, 0, gauge(t, metrics, "muster_abm_duties", "school"), 0)
	require.InDelta(t, float64(time.Now().Add(20*24*time.Hour).Unix()), gauge(t, metrics, "muster_abm_token_expires_timestamp_seconds", "school"), 120)
	require.InDelta(t, float64(time.Now().Unix()), gauge(t, metrics, "muster_abm_last_sync_timestamp_seconds", "school"), 120)
	require.Equal(t, 1, strings.Count(logged.String(), "server token of apple business manager ends"), "once a day")
	require.Contains(t, logged.String(), "days=19")
}

// gauge is the value of a metric of a server; -1 = there is none.
func gauge(t *testing.T, metrics *prometheus.Registry, name, server string) float64 {
	t.Helper()
	families, err := metrics.Gather()
	require.NoError(t, err)
	for _, family := range families {
		for _, m := range family.GetMetric() {
			for _, label := range m.GetLabel() {
				if family.GetName() == name && label.GetName() == "server" && label.GetValue() == server {
					return m.GetGauge().GetValue() + m.GetCounter().GetValue()
				}
			}
		}
	}
	return -1
}
