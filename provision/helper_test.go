package provision_test

import (
	"time"

	"github.com/muster-mdm/muster/provision"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

const (
	mdmProfile = "com.example.mdm"
	minute     = time.Minute
)

func at(minutes int) time.Time { return noon.Add(time.Duration(minutes) * minute) }

func policy() provision.Policy {
	return provision.Policy{
		SetupHold: 30 * minute, HoldPolicy: provision.HoldRelease,
		RetryAfter: []time.Duration{minute, 10 * minute},
		NudgeAfter: []time.Duration{15 * minute, time.Hour},
	}
}

func conf(name string) provision.ItemKey {
	return provision.ItemKey{Kind: provision.ConfigurationItem, Name: name}
}

func app(name string) provision.ItemKey {
	return provision.ItemKey{Kind: provision.AppItem, Name: name}
}

func doc(name string) provision.ItemKey {
	return provision.ItemKey{Kind: provision.DocumentItem, Name: name}
}

// item is a required first version whose identifier is its name.
func item(key provision.ItemKey, dependsOn ...provision.ItemKey) provision.Item {
	return provision.Item{Key: key, Stage: provision.Required, Version: 1, Identifier: "com.example." + key.Name, DependsOn: dependsOn}
}

func staged(stage provision.Stage, it provision.Item) provision.Item {
	it.Stage = stage
	return it
}

func version(v int, it provision.Item) provision.Item {
	it.Version = v
	return it
}

func group(name string, items ...provision.Item) provision.Group {
	return provision.Group{Name: name, Items: items}
}

func planned(it provision.Item, state provision.ItemState, attempt int) provision.PlanItem {
	return provision.PlanItem{Item: it, State: state, Attempt: attempt, UpdatedAt: noon}
}

func find(items []provision.PlanItem, key provision.ItemKey) *provision.PlanItem {
	for i := range items {
		if items[i].Key == key {
			return &items[i]
		}
	}
	return nil
}

func someone(groups ...string) *provision.Assignment {
	return &provision.Assignment{UserID: "u1", Groups: groups}
}

// fact numbers its id in minutes after noon.
func fact(id int64, kind provision.Kind) provision.Fact {
	return provision.Fact{ID: id, Kind: kind, At: at(int(id))}
}

func inEpoch(epoch int, f provision.Fact) provision.Fact { f.Epoch = epoch; return f }

func assigned(id int64, a *provision.Assignment) provision.Fact {
	f := fact(id, provision.Assigned)
	f.Assignment = a
	return f
}

func activated(id int64, epoch int, awaiting bool) provision.Fact {
	f := inEpoch(epoch, fact(id, provision.Activated))
	f.AwaitingConfiguration = awaiting
	return f
}

func provisioning(id int64, epoch int, begin provision.Verdict) provision.Fact {
	f := inEpoch(epoch, fact(id, provision.Provisioning))
	f.For, f.Round, f.Verdict = id-1, 1, &begin
	return f
}

func about(plan int64, f provision.Fact) provision.Fact { f.Plan = plan; return f }

func settled(id, plan int64, v provision.Verdict) provision.Fact {
	f := about(plan, inEpoch(1, fact(id, provision.Settled)))
	f.Verdict = &v
	return f
}

func because(reason string, f provision.Fact) provision.Fact { f.Reason = reason; return f }

func until(t time.Time, f provision.Fact) provision.Fact { f.Until = &t; return f }

func abm(id int64, state provision.ABMState) provision.Fact {
	f := fact(id, provision.ABMSeen)
	f.ABM = &provision.ABMFact{Server: "main", State: state}
	return f
}

func device(facts ...provision.Fact) provision.Device {
	return provision.FoldAll(provision.Device{Serial: "C07Q853LG9RM"}, facts...)
}
