package abm_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/micromdm/nanodep/godep"
	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/sim/abm"
)

// follower keeps a server's devices by what syncs say: the newest op_date wins, in whatever order records come.
type follower struct {
	*dep
	cursor string
	here   map[string]bool
	newest map[string]time.Time
}

func (f *follower) follow() {
	f.t.Helper()
	for more := true; more; {
		page, err := f.SyncDevices(f.t.Context(), name, godep.WithCursor(f.cursor), godep.WithLimit(7))
		require.NoError(f.t, err)
		for _, one := range page.Devices {
			if one.OpDate.Before(f.newest[one.SerialNumber]) {
				continue
			}
			f.newest[one.SerialNumber] = *one.OpDate
			if *one.OpType == godep.DeviceJsonOpTypeDeleted {
				delete(f.here, one.SerialNumber)
			} else {
				f.here[one.SerialNumber] = true
			}
		}
		f.cursor, more = page.Cursor, page.MoreToFollow
	}
}

// Whatever the portal and both APIs do, in whatever order: who follows the syncs has what a full fetch has, which is what
// the Business API and the portal show.
func TestAllSidesShowTheSameWorld(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			draw := rand.New(rand.NewPCG(seed, 1))
			p := open(t, abm.Config{Seed: seed, Lifetime: abm.Lifetimes{Activity: 10 * time.Minute}})
			servers := []abm.Server{p.server, p.AddServer(abm.Server{})}
			a := p.api(false)
			var followers []*follower
			for _, s := range servers {
				f := &follower{dep: p.link(s.ID, 10), here: map[string]bool{}, newest: map[string]time.Time{}}
				_, f.cursor = f.all(10)
				followers = append(followers, f)
			}
			p.SetFaults(
				abm.Fault{Kind: abm.FaultRepeat, Share: 0.3, Path: "/devices/sync"},
				abm.Fault{Kind: abm.FaultDisorder, Share: 0.3, Path: "/devices/sync"},
			)
			serials := p.addNew("", 5)
			for range 120 {
				serials = append(serials, p.shake(draw, a, servers, serials)...)
				if draw.IntN(4) == 0 {
					followers[draw.IntN(2)].follow()
				}
			}
			p.Jump(time.Hour)
			for i, f := range followers {
				f.follow()
				fetched, _ := f.all(7)
				slices.Sort(fetched)
				require.Equal(t, fetched, slices.AppendSeq([]string{}, sorted(f.here)))
				linked := a.walk("/v1/mdmServers/" + servers[i].ID + "/relationships/devices?limit=7")
				require.ElementsMatch(t, fetched, linked)
				require.Equal(t, len(fetched), p.Servers()[i].Devices)
			}
			require.Equal(t, serials, a.walk("/v1/orgDevices?limit=9"))
		})
	}
}

func sorted(set map[string]bool) func(func(string) bool) {
	return slices.Values(slices.Sorted(maps.Keys(set)))
}

// shake does one thing to one device; serials that are new.
func (p *portal) shake(draw *rand.Rand, a *axm, servers []abm.Server, serials []string) (fresh []string) {
	p.Jump(time.Duration(draw.IntN(90)) * time.Second)
	serial, server := serials[draw.IntN(len(serials))], servers[draw.IntN(len(servers))].ID
	switch draw.IntN(8) { // what is refused because of the device's state changes nothing
	case 0:
		return p.addNew(server, 1+draw.IntN(3))
	case 1, 2:
		_ = p.Move(server, serial)
	case 3:
		_ = p.Unassign(serial)
	case 4:
		if draw.IntN(4) == 0 {
			_ = p.Release(serial)
		}
	default:
		kind := []string{abm.ActivityAssign, abm.ActivityUnassign}[draw.IntN(2)]
		_, _ = a.act(kind, server, serial)
	}
	return nil
}

// Several clients and the portal at once; for the race detector, and for the sum at the end.
func TestManyAtOnce(t *testing.T) {
	p := open(t, abm.Config{})
	serials := p.addNew(p.server.ID, 400)
	d, a := p.link(p.server.ID, 10), p.api(false)
	uuid := d.define()
	var group sync.WaitGroup
	for i := range 4 {
		mine := serials[i*100 : (i+1)*100]
		group.Go(func() {
			for batch := range slices.Chunk(mine, 10) {
				answer, err := d.AssignProfile(t.Context(), name, uuid, batch...)
				if err != nil || len(answer.Devices) != len(batch) {
					t.Errorf("assigning: %v", err)
				}
			}
		})
		group.Go(func() {
			for range 10 {
				if _, err := d.FetchDevices(t.Context(), name); err != nil {
					t.Errorf("fetching: %v", err)
				}
			}
		})
		group.Go(func() {
			for _, serial := range mine[90:] {
				if err := p.Unassign(serial); err != nil {
					t.Errorf("unassigning: %v", err)
				}
				var got one
				if err := a.get("/v1/orgDevices/"+serial, &got); err != nil || got.Data.Attributes.Status != "UNASSIGNED" {
					t.Errorf("asking: %v %+v", err, got)
				}
			}
		})
	}
	group.Wait()
	left, _ := d.all(1000)
	require.Len(t, left, 360)
	for _, serial := range left {
		shown, _ := p.Device(serial)
		require.Equal(t, abm.ProfileAssigned, shown.ProfileStatus)
	}
}
