package activities_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/activities"
	"github.com/muster-mdm/muster/apple/dep"
	"github.com/muster-mdm/muster/apple/fault"
	"github.com/muster-mdm/muster/provision"
	sim "github.com/muster-mdm/muster/sim/abm"
	"github.com/muster-mdm/muster/store"
)

// busy is an Apple that notices when it is asked for two things at once, or too early.
type busy struct {
	activities.DEP
	at, most atomic.Int32
	asked    int
	throttle time.Duration
}

func (b *busy) Account(context.Context) (dep.Account, error) {
	defer b.at.Add(-1)
	b.most.Store(max(b.most.Load(), b.at.Add(1)))
	b.asked++
	if b.throttle != 0 {
		return dep.Account{}, &fault.Error{Kind: fault.Throttled, RetryAfter: max(b.throttle, 0)}
	}
	return dep.Account{ServerUUID: "S"}, nil
}

func TestOneRequestAtATime(t *testing.T) {
	b := &busy{}
	d := activities.PatientDEP(b, time.Now)
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			if a, err := d.Account(context.Background()); err != nil || a.ServerUUID != "S" {
				t.Errorf("asking: %v", err)
			}
		})
	}
	all.Wait()
	require.Equal(t, int32(1), b.most.Load())
	require.Equal(t, 50, b.asked)
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	hold := make(chan struct{})
	slow := activities.PatientDEP(waiting{hold: hold}, time.Now)
	all.Go(func() { _, _ = slow.Account(context.Background()) })
	<-hold // it has the turn
	_, err := slow.Account(gone)
	require.ErrorIs(t, err, context.Canceled)
	hold <- struct{}{}
	all.Wait()
}

// waiting answers when it is told to.
type waiting struct {
	activities.DEP
	hold chan struct{}
}

func (w waiting) Account(context.Context) (dep.Account, error) {
	w.hold <- struct{}{}
	<-w.hold
	return dep.Account{}, nil
}

// What was under way when Apple asked for a pause keeps it, too.
func TestPauseCountsForWhoCameTooLateToKnow(t *testing.T) {
	for throttle, pause := range map[time.Duration]time.Duration{time.Minute: time.Minute, -1: 30 * time.Second} {
		now := time.Now()
		b := &busy{throttle: throttle}
		d := activities.PatientDEP(b, func() time.Time { return now })
		_, err := d.Account(t.Context())
		require.Equal(t, fault.Throttled, fault.KindOf(err))
		now = now.Add(pause - time.Second)
		_, err = d.Account(t.Context())
		f, ok := fault.As(err)
		require.True(t, ok)
		require.Equal(t, [2]any{fault.Throttled, time.Second}, [2]any{f.Kind, f.RetryAfter})
		require.Equal(t, 1, b.asked, "Apple wasn't asked")
		now, b.throttle = now.Add(time.Second), 0
		_, err = d.Account(t.Context())
		require.NoError(t, err)
	}
}

// Everything that a server is asked for goes through the gates.
func TestEverythingIsPatient(t *testing.T) {
	w := newWorld(t, sim.Config{})
	w.server(school)
	w.business(school, false)
	connect := w.abm.Connect
	kept := map[string]activities.DEP{}
	w.abm.Connect = func(s store.ABMSecrets) (activities.DEP, activities.Business, error) {
		d, b, err := connect(s)
		if kept[s.Server.Name] == nil {
			kept[s.Server.Name] = activities.PatientDEP(d, w.clock.now)
		}
		return kept[s.Server.Name], activities.PatientBusiness(b, w.clock.now), err
	}
	w.profile(school, "kiosk", `{}`)
	all := w.addNew(school, 4)
	w.sync(school)
	done, _ := w.duties(school)
	require.Equal(t, 4, done)
	require.Equal(t, activities.OrganisationResult{Devices: 4}, insist[activities.OrganisationResult](w, w.abm.ReadOrganisation, activities.OrganisationInput{Server: school}))
	require.NoError(t, w.org.Release(all[0]))
	require.NoError(t, w.org.Unassign(all[1]))
	w.addNew(school, 1)
	w.sync(school)
	require.Equal(t, activities.SettleResult{Released: 1, Unassigned: 1}, w.settle(school))
	w.asks(provision.UnassignDevice, all[2])
	require.Equal(t, 2, w.played(school, time.Minute), "and the new one's profile")
	w.sync(school)
	w.agrees(school)
}
