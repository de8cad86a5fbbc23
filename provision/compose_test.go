package provision_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/muster-mdm/muster/provision"
)

func keys(items []provision.Item) []string {
	var names []string
	for _, it := range items {
		names = append(names, it.Key.String())
	}
	return names
}

func TestComposeJoinsGroups(t *testing.T) {
	wifi, vpn, mail := item(conf("wifi")), item(conf("vpn"), conf("wifi")), item(app("mail"))
	items, err := provision.Compose([]provision.Group{
		group("a", mail, vpn, staged(provision.BestEffort, wifi)),
		group("b", staged(provision.BeforeRelease, mail), wifi),
	})
	require.NoError(t, err)
	require.Equal(t, []string{"app/mail", "configuration/wifi", "configuration/vpn"}, keys(items))
	require.Equal(t, provision.BeforeRelease, items[0].Stage, "the strictest stage counts")
	require.Equal(t, []string{"a", "b"}, items[0].Groups)
	require.Equal(t, provision.Required, items[1].Stage)
	require.Equal(t, []string{"a"}, items[2].Groups)
}

func TestComposeLeavesItsInputAlone(t *testing.T) {
	deps := make([]provision.ItemKey, 1, 4)
	deps[0] = conf("wifi")
	a := group("a", item(conf("wifi")), provision.Item{Key: conf("vpn"), Stage: provision.Required, Version: 1, DependsOn: deps})
	b := group("b", item(app("mail")), item(conf("vpn"), app("mail")))
	_, err := provision.Compose([]provision.Group{a, b, a})
	require.NoError(t, err)
	require.Equal(t, []provision.ItemKey{conf("wifi")}, a.Items[1].DependsOn)
	require.Empty(t, a.Items[0].Groups)
}

func TestComposeRaisesWhatOthersNeed(t *testing.T) {
	items, err := provision.Compose([]provision.Group{group("a",
		staged(provision.BestEffort, item(conf("root"))),
		staged(provision.BestEffort, item(conf("wifi"), conf("root"))),
		staged(provision.BeforeRelease, item(app("mail"), conf("wifi"))),
	)})
	require.NoError(t, err)
	for _, it := range items {
		require.Equal(t, provision.BeforeRelease, it.Stage, it.Key)
	}
}

func TestComposeRefuses(t *testing.T) {
	other := item(conf("other"))
	other.Identifier = "com.example.wifi"
	for name, c := range map[string]struct {
		groups []provision.Group
		code   provision.Code
		says   []string
	}{
		"a circle": {
			[]provision.Group{group("a", item(conf("x"), conf("y"))), group("b", item(conf("y"), conf("z")), item(conf("z"), conf("x")))},
			provision.DependencyCycle,
			[]string{"configuration/x"},
		},
		"an item that needs itself": {[]provision.Group{group("a", item(conf("x"), conf("x")))}, provision.DependencyCycle, []string{"configuration/x"}},
		"a gap": {
			[]provision.Group{group("a", item(app("mail"), conf("wifi")))},
			provision.DependencyMissing,
			[]string{"app/mail", "group a", "configuration/wifi"},
		},
		"two that claim one identifier": {
			[]provision.Group{group("a", item(conf("wifi"))), group("b", other)},
			provision.ItemConflict,
			[]string{"configuration/wifi", "group a", "configuration/other", "group b", "com.example.wifi"},
		},
	} {
		_, err := provision.Compose(c.groups)
		require.Equal(t, c.code, provision.CodeOf(err), name)
		for _, s := range c.says {
			require.ErrorContains(t, err, s, name)
		}
	}
}

func TestWant(t *testing.T) {
	items, err := provision.Want(nil, mdmProfile)
	require.NoError(t, err)
	require.Equal(t, []string{"builtin/device_information", "builtin/management_profile"}, keys(items), "no groups, no more items")

	thief := item(conf("thief"))
	thief.Identifier = mdmProfile
	_, err = provision.Want([]provision.Group{group("a", thief)}, mdmProfile)
	require.Equal(t, provision.ItemConflict, provision.CodeOf(err), "removing it would end the enrollment")

	sameName := item(app("x"))
	sameName.Identifier = mdmProfile
	_, err = provision.Want([]provision.Group{group("a", sameName)}, mdmProfile)
	require.NoError(t, err, "apps and profiles have identifiers of their own")
}

// drawGroups draws groups of few items, so that they overlap; dependencies point to earlier names, so there is no circle.
func drawGroups(t *rapid.T) []provision.Group {
	names := []string{"a", "b", "c", "d"}
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) provision.Group {
		g := provision.Group{Name: rapid.SampledFrom([]string{"g1", "g2", "g3"}).Draw(t, "group")}
		for i, n := range names {
			if !rapid.Bool().Draw(t, "has "+n) {
				continue
			}
			of := rapid.SampledFrom([]func(string) provision.ItemKey{conf, app, doc}).Draw(t, "kind")
			it := item(of(n))
			it.Stage = rapid.SampledFrom([]provision.Stage{provision.BeforeRelease, provision.Required, provision.BestEffort}).Draw(t, "stage")
			if i > 0 && rapid.Bool().Draw(t, "needs") && len(g.Items) > 0 {
				it.DependsOn = []provision.ItemKey{g.Items[len(g.Items)-1].Key}
			}
			g.Items = append(g.Items, it)
		}
		return g
	}), 0, 4).Draw(t, "groups")
}

func TestComposeHoldsItsPromises(t *testing.T) {
	rank := map[provision.Stage]int{provision.BeforeRelease: 0, provision.Required: 1, provision.BestEffort: 2}
	rapid.Check(t, func(t *rapid.T) {
		groups := drawGroups(t)
		items, err := provision.Compose(groups)
		if err != nil {
			t.Fatalf("composing: %v", err)
		}
		position := map[provision.ItemKey]int{}
		for i, it := range items {
			if _, twice := position[it.Key]; twice {
				t.Fatalf("%s comes twice", it.Key)
			}
			position[it.Key] = i
			for _, dep := range it.DependsOn {
				j, before := position[dep]
				if !before {
					t.Fatalf("%s comes before %s, which it needs", it.Key, dep)
				}
				if rank[items[j].Stage] > rank[it.Stage] {
					t.Fatalf("%s is less strict than %s, which needs it", dep, it.Key)
				}
			}
		}
		for _, g := range groups {
			for _, it := range g.Items {
				i, ok := position[it.Key]
				if !ok || rank[items[i].Stage] > rank[it.Stage] {
					t.Fatalf("%s of %s is lost or less strict than wanted", it.Key, g.Name)
				}
			}
		}
		again, err := provision.Compose(append(groups, groups...))
		if err != nil || !equalKeys(items, again) {
			t.Fatalf("the same groups twice give %v, not %v (%v)", keys(again), keys(items), err)
		}
	})
}

func equalKeys(a, b []provision.Item) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i].Key != b[i].Key || a[i].Stage != b[i].Stage {
			return false
		}
	}
	return true
}
