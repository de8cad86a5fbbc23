package rehearse

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestModel(t *testing.T) {
	handbook := documentThing("handbook").identifier
	driver := []string{"com.example.wifi", "com.example.app.routes", "com.example.dispatch", handbook, "com.example.app.weather"}
	seller := []string{"com.example.wifi", "com.example.vpn", "com.example.app.offers", handbook}
	on := Event{Do: SwitchOn}
	mia, noah := &Person{Name: "mia", In: "fleet"}, &Person{Name: "noah"} // the fleet's are drivers
	hers := Event{Do: Assign, User: "mia", Groups: []string{sales}}
	both := append([]string{"com.example.vpn", "com.example.app.offers"}, driver...)
	for name, c := range map[string]struct {
		life       Life
		status     string
		labels     []string
		management string
		epoch      int
		blocked    string
		holds      []string // nil: nothing is said
	}{
		"both facts":                            {Life{Events: []Event{assign(drivers), on}}, "Enrolled", []string{"Enrolled"}, "managed", 1, "", driver},
		"the other way round":                   {Life{Events: []Event{on, assign(drivers)}}, "Enrolled", []string{"Enrolled"}, "managed", 1, "", driver},
		"at once":                               {Life{Events: []Event{{Do: Together, Events: []Event{on, assign(sales)}}}}, "Enrolled", []string{"Enrolled"}, "managed", 1, "", seller},
		"neither":                               {Life{Events: []Event{{Do: Register}}}, "Awaiting", []string{"Awaiting Device Activation", "Awaiting User Assignment"}, "staged", 0, "", nil},
		"assigned only":                         {Life{Events: []Event{assign(drivers)}}, "Awaiting", []string{"Awaiting Device Activation"}, "staged", 0, "", nil},
		"activated only":                        {Life{Events: []Event{on}}, "Awaiting", []string{"Awaiting User Assignment"}, "managed", 1, "", []string{}},
		"authenticated only":                    {Life{Events: []Event{assign(drivers), {Do: BeginActivation}}}, "Awaiting", []string{"Awaiting Device Activation"}, "staged", 1, "", nil},
		"authenticated twice":                   {Life{Events: []Event{assign(sales), {Do: BeginActivation}, on}}, "Enrolled", []string{"Enrolled"}, "managed", 1, "", seller},
		"groups without a user":                 {Life{Events: []Event{{Do: Assign, Groups: []string{drivers}}, on}}, "Awaiting", []string{"Awaiting User Assignment"}, "managed", 1, "", []string{}},
		"a technician stands in":                {Life{Events: []Event{{Do: Assign, Technician: "TESSA", Groups: []string{plain}}, on}}, "Enrolled", []string{"Enrolled"}, "managed", 1, "", []string{}},
		"reset and enrolled anew":               {Life{Events: []Event{assign(drivers), on, {Do: FactoryReset}, on}}, "Enrolled", []string{"Enrolled"}, "managed", 2, "", driver},
		"only the difference":                   {Life{Events: []Event{assign(drivers), on, assign(sales)}}, "Enrolled", []string{"Enrolled"}, "managed", 1, "", seller},
		"unassigned":                            {Life{Events: []Event{assign(drivers), on, {Do: Unassign}}}, "Awaiting", []string{"Awaiting User Assignment"}, "managed", 1, "", []string{}},
		"checked out":                           {Life{Events: []Event{assign(drivers), on, {Do: CheckOut}}}, "Unmanaged", []string{"Unmanaged"}, "unmanaged", 1, "", nil},
		"checked out and back":                  {Life{Events: []Event{assign(drivers), on, {Do: CheckOut}, on}}, "Enrolled", []string{"Enrolled"}, "managed", 2, "", driver},
		"released":                              {Life{Events: []Event{assign(drivers), on, {Do: Release}}}, "Released", []string{"Released"}, "managed", 1, "", nil},
		"off its server, staged":                {Life{Events: []Event{{Do: Buy}, assign(drivers), {Do: TakeOff}}}, "Unassigned", []string{"Unassigned"}, "staged", 0, "", nil},
		"off its server, managed":               {Life{Events: []Event{{Do: Buy}, assign(drivers), on, {Do: TakenOff}}}, "Unassign Pending", []string{"Unassign Pending"}, "managed", 1, "", driver},
		"off its server, heard of":              {Life{Events: []Event{{Do: Buy}, assign(drivers), on, {Do: TakenOff}, {Do: Reboot}}}, "Unassigned", []string{"Unassigned"}, "managed", 1, "", driver},
		"signs in on what is nobody's":          {Life{Person: mia, Events: []Event{on}}, "Enrolled", []string{"Enrolled"}, "managed", 1, "", driver},
		"signs in, and gets nothing by it":      {Life{Person: noah, Events: []Event{on}}, "Enrolled", []string{"Enrolled"}, "managed", 1, "", []string{}},
		"signs in on what is reserved for her":  {Life{Person: mia, Events: []Event{hers, on}}, "Enrolled", []string{"Enrolled"}, "managed", 1, "", both},
		"signs in, then it is assigned":         {Life{Person: mia, Events: []Event{on, hers}}, "Enrolled", []string{"Enrolled"}, "managed", 1, "", seller},
		"signs in on groups without a user":     {Life{Person: mia, Events: []Event{{Do: Assign, Groups: []string{sales}}, on}}, "Enrolled", []string{"Enrolled"}, "managed", 1, "", both},
		"signs in on somebody else's":           {Life{Person: noah, Events: []Event{hers, on}}, "Provisioning", []string{"Provisioning"}, "managed", 1, "sign_in_review", []string{}},
		"signs in on a technician's":            {Life{Person: noah, Events: []Event{{Do: Assign, Technician: "TESSA"}, on}}, "Provisioning", []string{"Provisioning"}, "managed", 1, "sign_in_review", []string{}},
		"takes somebody else's":                 {Life{Person: noah, Events: []Event{hers, on, {Do: Review, Choice: takeSignedIn}}}, "Enrolled", []string{"Enrolled"}, "managed", 1, "", []string{}},
		"somebody else's stays theirs":          {Life{Person: noah, Events: []Event{hers, on, {Do: Review, Choice: keepReserved}}}, "Enrolled", []string{"Enrolled"}, "managed", 1, "", seller},
		"somebody else's is assigned anew":      {Life{Person: noah, Events: []Event{hers, on, assign(drivers)}}, "Enrolled", []string{"Enrolled"}, "managed", 1, "", driver},
		"signs in again on what was taken back": {Life{Person: mia, Events: []Event{on, {Do: Unassign}, on}}, "Enrolled", []string{"Enrolled"}, "managed", 2, "", driver},
		"what is refused, and what waits for it, is missing": {
			Life{Refuses: []string{requiredApp}, Events: []Event{assign(drivers), on}},
			"Provisioning",
			[]string{"Provisioning"},
			"managed", 1, "stuck",
			[]string{"com.example.wifi", "com.example.app.weather", handbook},
		},
		"nothing waits for best effort": {
			Life{Refuses: []string{bestEffortApp}, Events: []Event{assign(drivers), on}},
			"Enrolled",
			[]string{"Enrolled"},
			"managed", 1, "", driver[:4],
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := Model(rehearsalCatalog(), c.life, c.life.Events)
			require.Equal(t, c.status, got.Status)
			require.Equal(t, c.labels, got.Labels)
			require.Equal(t, c.management, got.Management)
			require.Equal(t, c.epoch, got.Epoch)
			require.Equal(t, c.blocked, got.BlockedBy)
			if c.holds == nil {
				require.Nil(t, got.Holds)
				return
			}
			var holds []string
			for identifier, held := range got.Holds {
				if held {
					holds = append(holds, identifier)
				}
			}
			require.ElementsMatch(t, c.holds, holds)
			require.Len(t, got.Holds, len(rehearsalCatalog().things()), "something of the catalog is left open")
		})
	}
}

func TestModelWantsWhatFailedAtFirst(t *testing.T) {
	l := Life{Events: []Event{assign(drivers), {Do: SwitchOn}}}
	l.Faults.RefuseShare = 0.1
	holds := Model(rehearsalCatalog(), l, l.Events).Holds
	require.True(t, holds[bestEffortApp], "everything is tried again")
	require.True(t, holds[requiredApp])
	l.Events = append(l.Events, assign(sales))
	holds = Model(rehearsalCatalog(), l, l.Events).Holds
	require.Contains(t, holds, bestEffortApp)
	require.False(t, holds[bestEffortApp], "what isn't wanted must not be there")
}
