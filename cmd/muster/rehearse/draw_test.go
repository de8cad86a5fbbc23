package rehearse

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestDrawRepeatsBySeed(t *testing.T) {
	first, again := Draw(7, 60), Draw(7, 60)
	require.Equal(t, first, again)
	require.NotEqual(t, Draw(7, 60), Draw(8, 60))
}

func TestDrawBringsEveryKindToEndsOfEverySort(t *testing.T) {
	seen, ends := map[string]bool{}, map[string]bool{}
	serials := map[string]bool{}
	for _, l := range Draw(3, 40) {
		seen[l.Kind], serials[l.Serial] = true, true
		want := Model(rehearsalCatalog(), l, l.Events)
		ends[want.Status] = true
		require.NotEmpty(t, l.Events)
	}
	require.Len(t, serials, 40)
	for _, k := range kinds {
		require.True(t, seen[k.name], "no device is %q", k.name)
	}
	for _, status := range []string{statusAwaiting, statusProvisioning, statusEnrolled, statusUnmanaged, statusReleased, statusUnassigned, statusUnassignPending} {
		require.True(t, ends[status], "no device ends %s", status)
	}
}

func TestHalfOfThoseThatCanAskForSomebodyDo(t *testing.T) {
	might, does := 0, 0
	names := map[string]bool{}
	lives := Draw(9, 400)
	for _, l := range lives {
		if l.mayAsk() {
			might++
		}
		if l.Person == nil {
			continue
		}
		does++
		names[l.Person.Name] = true
		require.True(t, l.Bought, "%s asks, and Apple doesn't tell it to", l.Serial)
		require.True(t, l.Person.In == "" || brings[l.Person.In] != "")
	}
	require.Len(t, names, does, "two share an account")
	require.Len(t, Accounts(lives), does)
	require.Greater(t, float64(does), 0.4*float64(might))
	require.Less(t, float64(does), 0.75*float64(might))
}

func TestDrawWithoutSignIn(t *testing.T) {
	lives := DrawWithoutSignIn(9, 100)
	require.Len(t, lives, 100)
	require.Empty(t, Accounts(lives))
	for _, l := range lives {
		require.False(t, has(l.Events, Review))
	}
}

func TestDrawOfAFew(t *testing.T) {
	require.Len(t, Draw(1, 1), 1)
	require.Len(t, Draw(1, 3), 3)
}

func TestDisturbancesChangeNoEnd(t *testing.T) {
	for seed := range uint64(50) {
		for _, l := range Draw(seed, 24) {
			var calm []Event
			for _, e := range l.Events {
				if e.Do != Reboot && e.Do != GoOffline || has(l.Events, TakenOff) {
					calm = append(calm, e)
				}
			}
			require.Equal(t, Model(rehearsalCatalog(), l, calm), Model(rehearsalCatalog(), l, l.Events), "seed %d, %s", seed, l.Serial)
		}
	}
}

func TestKeysCountsIdentities(t *testing.T) {
	lives := []Life{
		{Events: []Event{{Do: Assign}}},
		{Events: []Event{{Do: SwitchOn}, {Do: FactoryReset}, {Do: Together, Events: []Event{{Do: SwitchOn}}}}},
		{Events: []Event{{Do: BeginActivation}, {Do: FinishActivation}}},
	}
	require.Equal(t, 3, Keys(lives))
}

func TestDrawEnrollingEndsEnrolled(t *testing.T) {
	lives := DrawEnrolling(5, 30)
	require.Len(t, lives, 30)
	for _, l := range lives {
		require.Equal(t, statusEnrolled, Model(rehearsalCatalog(), l, l.Events).Status, "%s: %s", l.Kind, story(l.Events))
	}
}
