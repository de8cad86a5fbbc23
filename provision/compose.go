package provision

import "slices"

// Group is a named, ordered set of items.
type Group struct {
	Name  string
	Items []Item
}

// Want is everything that belongs on an assigned device: the builtin items and what its groups bring, as [Compose] joins
// them. It also fails with [ItemConflict] when a configuration claims the identifier of the management profile, because
// removing it would end the enrollment.
func Want(groups []Group, managementIdentifier string) ([]Item, error) {
	items, err := Compose(groups)
	if err != nil {
		return nil, err
	}
	all := append(Builtins(managementIdentifier), items...)
	return all, checkIdentifiers(all)
}

// Compose joins the items of groups into one ordered list: each item once, with the strictest stage of those that bring
// it or depend on it; dependencies before what depends on them, otherwise in the order of groups and of items in them.
//
// It fails with [ItemConflict] when two different items claim one identifier, [DependencyMissing] when an item depends
// on one that no group brings, and [DependencyCycle].
func Compose(groups []Group) ([]Item, error) {
	var items []Item
	at := map[ItemKey]int{}
	for _, g := range groups {
		for _, it := range g.Items {
			i, seen := at[it.Key]
			if !seen {
				at[it.Key] = len(items)
				it.Groups, it.DependsOn = []string{g.Name}, slices.Clone(it.DependsOn)
				items = append(items, it)
				continue
			}
			items[i].join(g.Name, it)
		}
	}
	if err := checkIdentifiers(items); err != nil {
		return nil, err
	}
	sorted, err := order(items, at)
	if err != nil {
		return nil, err
	}
	raiseDependencies(sorted)
	return sorted, nil
}

// raiseDependencies makes what an item needs as strict as the item itself; otherwise the item could wait for ever for one
// that nobody minds having failed.
func raiseDependencies(sorted []Item) {
	at := map[ItemKey]int{}
	for i, it := range sorted {
		at[it.Key] = i
	}
	for _, it := range slices.Backward(sorted) {
		for _, dep := range it.DependsOn {
			if d := &sorted[at[dep]]; stageRank[it.Stage] < stageRank[d.Stage] {
				d.Stage = it.Stage
			}
		}
	}
}

func (i *Item) join(group string, other Item) {
	if !slices.Contains(i.Groups, group) {
		i.Groups = append(i.Groups, group)
	}
	if stageRank[other.Stage] < stageRank[i.Stage] {
		i.Stage = other.Stage
	}
	for _, dep := range other.DependsOn {
		if !slices.Contains(i.DependsOn, dep) {
			i.DependsOn = append(i.DependsOn, dep)
		}
	}
}

// claim is what only one item can have on a device.
type claim struct {
	space      ItemKind
	identifier string
}

func (i Item) claim() (claim, bool) {
	space := i.Key.Kind
	if space == BuiltinItem {
		space = ConfigurationItem // the management profile is a profile
	}
	return claim{space, i.Identifier}, i.Identifier != ""
}

// origin names an item and where it comes from.
func (i Item) origin() string {
	if len(i.Groups) == 0 {
		return i.Key.String()
	}
	return i.Key.String() + " (group " + i.Groups[0] + ")"
}

func checkIdentifiers(items []Item) error {
	owner := map[claim]Item{}
	for _, it := range items {
		c, claims := it.claim()
		if !claims {
			continue
		}
		if other, taken := owner[c]; taken {
			return Errorf(ItemConflict, "%s and %s both claim the identifier %q, so one would replace the other; take one of them out of its group.",
				other.origin(), it.origin(), it.Identifier)
		}
		owner[c] = it
	}
	return nil
}

// order sorts topologically and stably by depth-first search.
func order(items []Item, at map[ItemKey]int) ([]Item, error) {
	const (
		unseen = iota
		open
		done
	)
	state := make([]int, len(items))
	sorted := make([]Item, 0, len(items))
	var visit func(i int) error
	visit = func(i int) error {
		switch state[i] {
		case done:
			return nil
		case open:
			return Errorf(DependencyCycle, "%s depends on itself through other items; break the circle.", items[i].Key)
		}
		state[i] = open
		for _, dep := range items[i].DependsOn {
			j, ok := at[dep]
			if !ok {
				return Errorf(DependencyMissing, "%s depends on %s, which none of the device's groups brings.", items[i].origin(), dep)
			}
			if err := visit(j); err != nil {
				return err
			}
		}
		state[i] = done
		sorted = append(sorted, items[i])
		return nil
	}
	for i := range items {
		if err := visit(i); err != nil {
			return nil, err
		}
	}
	return sorted, nil
}
