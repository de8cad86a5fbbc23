package worker_test

import (
	"context"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/provision"
	sim "github.com/muster-mdm/muster/sim/abm"
)

// From a link to devices that know where to enroll, and workflows that wait for them, without anybody's doing.
func TestLinkedServerBringsItsDevices(t *testing.T) {
	p := newPortal(t, sim.Config{})
	p.start()
	p.server(school)
	all := p.addNew(school, 25)
	p.profile(school, "kiosk", `{"is_supervised": true}`)
	p.wish(school, false)
	p.agree(school)
	p.profiled(all...)
	p.eventually("workflows to begin", func() bool {
		return p.text(`SELECT count(*)::text FROM device_events WHERE kind = 'abm_seen' AND delivered_at IS NOT NULL`) == "25"
	})
	fresh := p.addNew(school, 1)
	p.wish(school, false)
	p.agree(school)
	p.profiled(fresh...)
	require.NoError(t, p.org.Unassign(all[0]))
	p.wish(school, false)
	p.agree(school)
	require.Equal(t, provision.StatusUnassigned, p.device(all[0]).Status())
	p.eventually("the sync to end", func() bool {
		s, err := p.door().SyncStatus(t.Context(), school)
		return err == nil && s.Stage == "done" && s.Server == school
	})
	p.nothingTwice()
}

// Workers come and go, PostgreSQL cuts them off, and Apple does what it can: in the end what Apple lists is known, once.
func TestSyncsWhileWorkersComeAndGo(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 11))
	p := newPortal(t, sim.Config{Seed: seed})
	stops := []func(){p.start(), p.start()}
	p.server(school)
	p.server(home)
	p.profile(school, "kiosk", `{}`)
	all := append(p.addNew(school, 60), p.addNew(home, 60)...)
	p.org.SetFaults(
		sim.Fault{Kind: sim.FaultTooMany, Share: 0.05, Seconds: 1}, sim.Fault{Kind: sim.FaultReset, Share: 0.05},
		sim.Fault{Kind: sim.FaultGarbage, Share: 0.05}, sim.Fault{Kind: sim.FaultRepeat, Share: 0.3},
		sim.Fault{Kind: sim.FaultAssignFailed, Share: 0.2}, sim.Fault{Kind: sim.FaultSameCursor, Share: 0.1},
	)
	for range 8 {
		for range 6 {
			serial, server := all[random.IntN(len(all))], []string{school, home}[random.IntN(2)]
			require.NoError(t, p.org.Move(p.servers[server], serial))
		}
		p.wish(school, random.IntN(3) == 0)
		p.wish(home, random.IntN(3) == 0)
		p.exec(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity
			WHERE datname = current_database() AND state = 'idle in transaction' AND query LIKE '%abm_%'`)
		which := random.IntN(2)
		stops[which]()
		stops[which] = p.start()
	}
	p.org.SetFaults()
	p.eventually("the lists to agree", func() bool {
		if p.differs(school, home) == "" {
			return true
		}
		p.wish(school, false)
		p.wish(home, false)
		return false
	})
	p.nothingTwice()
}

// A wish that comes while a sync is under way is for another one after it.
func TestWishDuringASyncIsNotLost(t *testing.T) {
	p := newPortal(t, sim.Config{})
	p.server(school)
	p.addNew(school, 5)
	p.org.SetFaults(sim.Fault{Kind: sim.FaultSlow, Share: 1, Seconds: 1.5, Times: 1, Path: "/devices/sync"})
	p.start()
	p.eventually("the slow page to be asked for", func() bool { return p.org.Counts().Faults[sim.FaultSlow] == 1 })
	p.eventually("the wish to be taken", func() bool { return p.text(`SELECT coalesce(sync_wanted_at::text, '') FROM abm_servers`) == "" })
	late := p.addNew(school, 1)
	p.wish(school, false)
	p.eventually("the wish to be taken", func() bool { return p.text(`SELECT coalesce(sync_wanted_at::text, '') FROM abm_servers`) == "" })
	p.agree(school)
	require.Equal(t, provision.ABMPresent, p.device(late[0]).ABM.State)
	p.nothingTwice()
}

// Apple's pauses are kept to the second, by syncs and by what is asked for devices.
func TestThrottlesAreKept(t *testing.T) {
	p := newPortal(t, sim.Config{Seed: 3})
	p.server(school)
	p.profile(school, "kiosk", `{}`)
	all := p.addNew(school, 60)
	p.org.SetFaults(sim.Fault{Kind: sim.FaultTooMany, Share: 0.25, Seconds: 1},
		sim.Fault{Kind: sim.FaultThrottled, Share: 0.2, Seconds: 1, Times: 20})
	p.start()
	p.agree(school)
	p.profiled(all...)
	require.NotZero(t, p.org.Counts().Faults[sim.FaultTooMany])
	require.NotZero(t, p.org.Counts().Faults[sim.FaultThrottled])
	p.nothingTwice()
	p.patient()
}

// A device that is moved in the portal is held while both servers list it, which ends by itself.
func TestMoveBetweenTwoServers(t *testing.T) {
	p := newPortal(t, sim.Config{})
	p.start()
	p.server(school)
	p.server(home)
	all := p.addNew(school, 3)
	p.wish(school, false)
	p.agree(school, home)
	p.settled(school, home)
	_, err := p.db.PauseABM(t.Context(), school, true)
	require.NoError(t, err)
	require.NoError(t, p.org.Move(p.servers[home], all[0]))
	p.wish(home, false)
	p.eventually("the device to be held", func() bool { return p.device(all[0]).BlockedBy() == "abm_conflict" })
	require.Equal(t, provision.ABMFact{Server: home, State: provision.ABMConflict, Other: school}, p.device(all[0]).ABM)
	_, err = p.db.PauseABM(t.Context(), school, false)
	require.NoError(t, err)
	p.agree(school, home) // the old side is asked by itself
	require.Empty(t, p.device(all[0]).BlockedBy())
	require.Equal(t, []string{"present", "conflict", "present"}, p.words(all[0]))
	p.nothingTwice()
}

// settled waits until no sync is wished or under way.
func (p *portal) settled(servers ...string) {
	p.t.Helper()
	p.eventually("syncs to end", func() bool {
		for _, s := range servers {
			status, err := p.door().SyncStatus(context.Background(), s)
			if err != nil || status.Stage != "done" {
				return false
			}
		}
		return p.text(`SELECT count(*)::text FROM abm_servers WHERE sync_wanted_at IS NOT NULL`) == "0"
	})
}

func TestVanishedDevices(t *testing.T) {
	for name, business := range map[string]bool{"Business API": true, "after the window": false} {
		t.Run(name, func(t *testing.T) {
			p := newPortal(t, sim.Config{})
			p.start()
			p.server(school)
			if business {
				p.business(school)
			}
			all := p.addNew(school, 5)
			p.wish(school, false)
			p.agree(school)
			require.NoError(t, p.org.Vanish(all[0]))
			p.wish(school, true)
			want := provision.ABMUnassigned
			if business {
				want = provision.ABMReleased
			}
			p.eventually("the device to be settled", func() bool { return p.device(all[0]).ABM.State == want })
			require.Equal(t, []string{"present", "missing", string(want)}, p.words(all[0]))
			if business {
				p.eventually("how devices came to be known", func() bool {
					return p.text(`SELECT count(*)::text FROM abm_devices WHERE source <> '' AND listed`) == "4"
				})
			}
			p.nothingTwice()
		})
	}
}

// words says what ABM said of a device, in order.
func (p *portal) words(serial string) (list []string) {
	p.t.Helper()
	rows, err := p.pool.Query(context.Background(), `SELECT payload -> 'abm' ->> 'state' FROM device_events
		WHERE serial = $1 AND kind IN ('abm_seen', 'abm_gone') ORDER BY id`, serial)
	require.NoError(p.t, err)
	defer rows.Close()
	for rows.Next() {
		var word string
		require.NoError(p.t, rows.Scan(&word))
		list = append(list, word)
	}
	require.NoError(p.t, rows.Err())
	return list
}
