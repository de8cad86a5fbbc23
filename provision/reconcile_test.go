package provision_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/provision"
)

func TestReconcileKeepsAndRenews(t *testing.T) {
	wifi := item(conf("wifi"))
	newer := version(2, wifi)
	moved := wifi
	moved.Identifier = "com.example.elsewhere"
	for name, c := range map[string]struct {
		want    provision.Item
		have    provision.PlanItem
		state   provision.ItemState
		attempt int
	}{
		"a verified item stays":                    {wifi, planned(wifi, provision.Verified, 3), provision.Verified, 3},
		"an acknowledged one stays":                {wifi, planned(wifi, provision.Acknowledged, 1), provision.Acknowledged, 1},
		"a sent one stays":                         {wifi, planned(wifi, provision.Sent, 1), provision.Sent, 1},
		"a pending one stays":                      {wifi, planned(wifi, provision.Pending, 2), provision.Pending, 2},
		"a failed one begins anew":                 {wifi, planned(wifi, provision.Failed, 1), provision.Pending, 2},
		"a newer version replaces a verified one":  {newer, planned(wifi, provision.Verified, 1), provision.Pending, 2},
		"a newer version replaces one on its way":  {newer, planned(wifi, provision.Sent, 1), provision.Pending, 2},
		"a newer version of what was never sent":   {newer, planned(wifi, provision.Pending, 1), provision.Pending, 1},
		"another identifier is another thing":      {moved, planned(wifi, provision.Verified, 1), provision.Pending, 2},
		"what was removed comes back":              {wifi, planned(wifi, provision.Removed, 4), provision.Pending, 5},
		"what is being removed comes back":         {wifi, planned(wifi, provision.Removing, 4), provision.Pending, 5},
		"what was to be removed stays on its turn": {wifi, planned(wifi, provision.RemovePending, 4), provision.Pending, 5},
	} {
		got := provision.Reconcile([]provision.Item{c.want}, []provision.PlanItem{c.have})
		require.Len(t, got, 1, name)
		require.Equal(t, c.state, got[0].State, name)
		require.Equal(t, c.attempt, got[0].Attempt, name)
		require.Equal(t, c.want, got[0].Item, name)
	}
}

func TestReconcileRemoves(t *testing.T) {
	wifi := item(conf("wifi"))
	for state, want := range map[provision.ItemState]provision.PlanItem{
		provision.Sent:          planned(wifi, provision.RemovePending, 2),
		provision.Acknowledged:  planned(wifi, provision.RemovePending, 2),
		provision.Verified:      planned(wifi, provision.RemovePending, 2),
		provision.Failed:        planned(wifi, provision.RemovePending, 2),
		provision.RemovePending: planned(wifi, provision.RemovePending, 1),
		provision.Removing:      planned(wifi, provision.Removing, 1),
		provision.Removed:       planned(wifi, provision.Removed, 1),
	} {
		got := provision.Reconcile(nil, []provision.PlanItem{planned(wifi, state, 1)})
		require.Equal(t, []provision.PlanItem{want}, got, state)
	}
	require.Empty(t, provision.Reconcile(nil, []provision.PlanItem{planned(wifi, provision.Pending, 1)}), "it never reached the device")

	// Version 1 is on the device, version 2 waits for another item: what is there must go.
	waiting := planned(version(2, wifi), provision.Pending, 2)
	require.Equal(t, provision.RemovePending, provision.Reconcile(nil, []provision.PlanItem{waiting})[0].State)
}

func TestReconcileForgetsNoAttemptOfABuiltin(t *testing.T) {
	builtins := provision.Builtins(mdmProfile)
	have := []provision.PlanItem{planned(builtins[0], provision.Verified, 1), planned(builtins[1], provision.Verified, 1)}
	without := provision.Reconcile(nil, have)
	require.Zero(t, provision.Judge(without), "nothing is to be removed and nothing wanted")
	again := provision.Reconcile(builtins, without)
	for _, it := range again {
		require.Equal(t, provision.Pending, it.State)
		require.Greater(t, it.Attempt, 1, "its command needs a new UUID")
	}
}

func TestReconcileReplacesUnderOneIdentifier(t *testing.T) {
	old, successor := item(conf("wifi")), item(conf("wifi-2"))
	successor.Identifier = old.Identifier
	for _, state := range []provision.ItemState{provision.Verified, provision.Sent, provision.RemovePending, provision.Removing} {
		got := provision.Reconcile([]provision.Item{successor}, []provision.PlanItem{planned(old, state, 1)})
		require.Equal(t, provision.Pending, find(got, successor.Key).State)
		gone := find(got, old.Key)
		require.Equal(t, provision.Removed, gone.State, "a removal from %s would take the successor away", state)
		require.Equal(t, 2, gone.Attempt, "what is in the queue for it is out of date")
		require.Contains(t, gone.Detail, "configuration/wifi-2")

		without := provision.Reconcile(nil, got)
		require.Equal(t, provision.RemovePending, find(without, successor.Key).State, "something may stand under its identifier")
	}
}

func TestReconcileOrders(t *testing.T) {
	a, b, c := item(conf("a")), item(conf("b")), item(conf("c"))
	have := []provision.PlanItem{planned(a, provision.Verified, 1), planned(b, provision.Verified, 1)}
	have[1].Position = 1
	got := provision.Reconcile([]provision.Item{c, b}, have)
	for i, key := range []provision.ItemKey{c.Key, b.Key, a.Key} {
		require.Equal(t, key, got[i].Key)
		require.Equal(t, i, got[i].Position)
	}
	require.Equal(t, 0, have[0].Position, "the input is left alone")
	require.Equal(t, provision.Verified, have[0].State)
}

func TestJudge(t *testing.T) {
	wifi, vpn, mail := staged(provision.BeforeRelease, item(conf("wifi"))), item(conf("vpn")), staged(provision.BestEffort, item(app("mail")))
	for name, c := range map[string]struct {
		items []provision.PlanItem
		want  provision.Verdict
	}{
		"nothing": {nil, provision.Verdict{}},
		"all are left": {
			[]provision.PlanItem{planned(wifi, provision.Sent, 1), planned(vpn, provision.Pending, 1), planned(mail, provision.Pending, 1)},
			provision.Verdict{Total: 3, BeforeReleaseLeft: 1, RequiredLeft: 2},
		},
		"acknowledged is not installed": {
			[]provision.PlanItem{planned(wifi, provision.Acknowledged, 1)}, provision.Verdict{Total: 1, BeforeReleaseLeft: 1, RequiredLeft: 1},
		},
		"best effort holds nothing": {
			[]provision.PlanItem{planned(wifi, provision.Verified, 1), planned(mail, provision.Failed, 1)}, provision.Verdict{Total: 2},
		},
		"failed and leaving": {
			[]provision.PlanItem{planned(vpn, provision.Failed, 1), planned(wifi, provision.Removing, 1), planned(mail, provision.Removed, 1)},
			provision.Verdict{Total: 1, RequiredLeft: 1, RemovalsLeft: 1, Failed: []string{"configuration/vpn"}},
		},
	} {
		require.Equal(t, c.want, provision.Judge(c.items), name)
	}
}

func TestMatters(t *testing.T) {
	begin := provision.Verdict{Total: 4, BeforeReleaseLeft: 1, RequiredLeft: 3, RemovalsLeft: 1}
	change := func(do func(*provision.Verdict)) provision.Verdict { v := begin; do(&v); return v }
	plain := device(activated(1, 1, false), assigned(2, someone("g")), provisioning(3, 1, begin))
	held := device(activated(1, 1, true), assigned(2, someone("g")), provisioning(3, 1, begin))
	failed := change(func(v *provision.Verdict) { v.Failed = []string{"app/a"} })
	again := device(activated(1, 1, false), assigned(2, someone("g")), provisioning(3, 1, begin), settled(4, 3, failed))
	for name, c := range map[string]struct {
		d    provision.Device
		v    provision.Verdict
		want bool
	}{
		"nothing new":                  {plain, begin, false},
		"one of several":               {plain, change(func(v *provision.Verdict) { v.RequiredLeft = 2 }), false},
		"all that is required":         {plain, change(func(v *provision.Verdict) { v.RequiredLeft, v.BeforeReleaseLeft = 0, 0 }), true},
		"all that is removed":          {plain, change(func(v *provision.Verdict) { v.RemovalsLeft = 0 }), true},
		"before release, not in setup": {plain, change(func(v *provision.Verdict) { v.RequiredLeft, v.BeforeReleaseLeft = 2, 0 }), false},
		"before release, in setup":     {held, change(func(v *provision.Verdict) { v.RequiredLeft, v.BeforeReleaseLeft = 2, 0 }), true},
		"a failure":                    {plain, failed, true},
		"the failure known":            {again, change(func(v *provision.Verdict) { v.Failed, v.RequiredLeft = failed.Failed, 2 }), false},
		"another failure":              {again, change(func(v *provision.Verdict) { v.Failed = []string{"app/a", "app/b"} }), true},
	} {
		require.Equal(t, c.want, c.d.Matters(c.v), name)
	}
}
