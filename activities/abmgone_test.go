package activities_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/activities"
	"github.com/muster-mdm/muster/provision"
	sim "github.com/muster-mdm/muster/sim/abm"
	"github.com/muster-mdm/muster/store"
)

// states says how ABM stands to devices.
func (w *world) states(serials ...string) (list []provision.ABMState) {
	w.t.Helper()
	for _, s := range serials {
		list = append(list, w.device(s).ABM.State)
	}
	return list
}

// Devices that vanish are noticed by the daily full fetch; what became of them Apple tells only by its Business API.
func TestVanishedDevicesWithABusinessAccount(t *testing.T) {
	w := newWorld(t, sim.Config{Quirks: sim.Quirks{SilentRelease: true}})
	w.server(school)
	w.business(school, true)
	all := w.addNew(school, 8)
	w.sync(school)
	require.NoError(t, w.org.Vanish(all[0]))
	require.NoError(t, w.org.Release(all[1]))
	require.NoError(t, w.org.Unassign(all[2]))
	w.sync(school)
	require.Equal(t, []provision.ABMState{"present", "present", "unassigned"}, w.states(all[:3]...))
	require.Equal(t, activities.SettleResult{Unassigned: 1}, w.settle(school))
	w.pass(24 * time.Hour)
	w.sync(school)
	require.Equal(t, []provision.ABMState{"missing", "missing", "unassigned"}, w.states(all[:3]...))
	require.Equal(t, activities.SettleResult{Released: 2}, w.settle(school))
	require.Equal(t, []provision.ABMState{"released", "released", "unassigned"}, w.states(all[:3]...))
	require.Equal(t, provision.StatusReleased, w.device(all[0]).Status())
	require.Equal(t, activities.SettleResult{}, w.settle(school), "each once")
	w.agrees(school)

	require.NoError(t, w.org.Add(w.servers[school], sim.Spec{Serial: all[0]})) // bought back
	w.sync(school)
	w.agrees(school)
}

func TestVanishedDevicesWithoutABusinessAccount(t *testing.T) {
	w := newWorld(t, sim.Config{})
	w.server(school)
	all := w.addNew(school, 4)
	w.sync(school)
	require.NoError(t, w.org.Vanish(all[0]))
	w.pass(24 * time.Hour)
	w.sync(school)
	w.settle(school)
	w.pass(23 * time.Hour)
	w.settle(school)
	require.Equal(t, provision.ABMMissing, w.device(all[0]).ABM.State)
	w.pass(time.Hour)
	require.Equal(t, activities.SettleResult{Unassigned: 1}, w.settle(school))
	require.Equal(t, []provision.ABMState{"unassigned", "present"}, w.states(all[:2]...))
}

// A list that lacks most devices isn't believed before it says so twice.
func TestListThatIsHardToBelieve(t *testing.T) {
	w := newWorld(t, sim.Config{})
	w.server(school)
	w.abm.Config.PageSize = 1000
	all := w.addNew(school, 80)
	w.sync(school)
	require.NoError(t, w.org.Vanish(all[:60]...))
	w.pass(24 * time.Hour)
	w.sync(school)
	s, err := w.ABMServer(t.Context(), school)
	require.NoError(t, err)
	require.Contains(t, s.SyncNote, "listed only 20 of 80 devices")
	require.Equal(t, []provision.ABMState{"present", "present"}, w.states(all[0], all[79]))
	w.pass(59 * time.Minute)
	w.sync(school)
	require.Equal(t, provision.ABMPresent, w.device(all[0]).ABM.State)
	w.pass(2 * time.Minute)
	w.sync(school)
	require.Equal(t, []provision.ABMState{"missing", "present"}, w.states(all[0], all[79]))
	w.agrees(school)
}

// A device that Apple says this server has although its list lacks it is neither released nor unassigned.
func TestDeviceThatTheListLacksOnly(t *testing.T) {
	w := newWorld(t, sim.Config{})
	w.server(school)
	w.server(home)
	w.business(school, true)
	all := w.addNew(school, 230)
	w.sync(school)
	w.sync(home)
	require.NoError(t, w.org.Move(w.servers[home], all[229]))
	_, err := w.sql.Exec(t.Context(), `UPDATE abm_devices SET generation = 0`)
	require.NoError(t, err)
	_, err = w.sql.Exec(t.Context(), `UPDATE abm_servers SET phase = 'conclude', full_doubted = true WHERE name = 'school'`) // as an empty fetch leaves it
	require.NoError(t, err)
	w.settleConcluded()
	require.Equal(t, activities.SettleResult{Unassigned: 1}, w.settle(school), "the one that another server has")
	require.Equal(t, []provision.ABMState{"missing", "missing", "unassigned"}, w.states(all[0], all[228], all[229]))
	_, err = w.WantSync(t.Context(), school, true)
	require.NoError(t, err)
	w.sync(school)
	w.sync(home)
	w.agrees(school, home)
}

// settleConcluded ends a full fetch without the sync that follows.
func (w *world) settleConcluded() {
	w.t.Helper()
	for {
		out := insist[activities.SyncResult](w, w.abm.SyncPage, activities.SyncInput{Server: school})
		if out.Full {
			return
		}
	}
}

func TestBusinessAccountThatCannotBeUsed(t *testing.T) {
	w := newWorld(t, sim.Config{})
	w.server(school)
	account := w.business(school, true)
	all := w.addNew(school, 3)
	w.sync(school)
	require.NoError(t, w.org.Release(all[0], all[1]))
	w.sync(school)
	require.True(t, w.org.ExpireAccess(account.ClientID, true))
	require.Equal(t, activities.SettleResult{}, w.settle(school))
	s, err := w.ABMServer(t.Context(), school)
	require.NoError(t, err)
	require.Contains(t, s.SyncNote, "The API account of the Business API could not be asked: Apple doesn't accept the key")
	require.Equal(t, store.Healthy, s.Health, "the list is well")
	w.pass(24 * time.Hour)
	require.Equal(t, activities.SettleResult{Unassigned: 2}, w.settle(school), "as without an account")

	w.business(school, true)
	require.NoError(t, w.org.Release(all[2]))
	w.sync(school)
	w.org.SetFaults(sim.Fault{Kind: sim.FaultTooMany, Share: 1, Path: "/v1/orgDevices", Times: 1, Seconds: 30},
		sim.Fault{Kind: sim.FaultGarbage, Share: 1, Path: "/v1/orgDevices", Times: 1})
	require.Equal(t, 30*time.Second, insist[activities.SettleResult](w, w.abm.SettleGone, activities.SettleInput{Server: school}).Wait)
	w.pass(30 * time.Second)
	require.Equal(t, activities.SettleResult{}, w.settle(school), "what came wasn't Apple's")
	require.Equal(t, activities.SettleResult{Released: 1}, w.settle(school))
	s, err = w.ABMServer(t.Context(), school)
	require.NoError(t, err)
	require.Empty(t, s.SyncNote)
	require.Zero(t, w.org.Counts().Impatient)
}

func TestOrganisationTellsHowDevicesCame(t *testing.T) {
	w := newWorld(t, sim.Config{})
	w.server(school)
	w.addNew(school, 3)
	w.sync(school)
	read := func() activities.OrganisationResult {
		return insist[activities.OrganisationResult](w, w.abm.ReadOrganisation, activities.OrganisationInput{Server: school})
	}
	require.Equal(t, activities.OrganisationResult{}, read(), "without an account nothing is read")
	account := w.business(school, true)
	w.org.SetFaults(sim.Fault{Kind: sim.FaultTooMany, Share: 1, Path: "/v1/orgDevices", Times: 1, Seconds: 3})
	out := read()
	require.Equal(t, 3*time.Second, out.Wait)
	require.True(t, out.More)
	w.pass(out.Wait)
	require.Equal(t, activities.OrganisationResult{Devices: 3}, read())
	require.Equal(t, 3, w.count(`abm_devices WHERE source <> '' AND added_at IS NOT NULL`))
	_, err := perform[activities.OrganisationResult](w, w.abm.ReadOrganisation, activities.OrganisationInput{Server: school, Cursor: "made up"})
	require.NoError(t, err, "the next full fetch tries again")
	w.org.SetFaults(sim.Fault{Kind: sim.FaultGarbage, Share: 1, Path: "/v1/orgDevices", Times: 1})
	_, err = perform[activities.OrganisationResult](w, w.abm.ReadOrganisation, activities.OrganisationInput{Server: school})
	require.Error(t, err, "what passes is retried")
	require.True(t, w.org.ExpireAccess(account.ClientID, true))
	require.Equal(t, activities.OrganisationResult{}, read())
}
