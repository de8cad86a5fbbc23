package provision

import (
	"slices"
	"time"
)

// RequestType is Apple's name of an MDM command.
type RequestType string

// The commands that Muster sends (developer.apple.com/documentation/devicemanagement/commands-and-queries).
const (
	InstallProfile         RequestType = "InstallProfile"
	RemoveProfile          RequestType = "RemoveProfile"
	ProfileList            RequestType = "ProfileList"
	InstallApplication     RequestType = "InstallApplication"
	RemoveApplication      RequestType = "RemoveApplication"
	ManagedApplicationList RequestType = "ManagedApplicationList"
	DeviceInformationQuery RequestType = "DeviceInformation"
	DeviceConfigured       RequestType = "DeviceConfigured"
)

// Command is a command for one device, before it is written as a property list.
type Command struct {
	Type RequestType
	// Item is what the command is about; queries name a builtin item.
	Item ItemKey
	// Identifier is the payload identifier to remove or the bundle identifier to install or remove.
	Identifier string
	Version    int
	// Attempt makes the CommandUUID of a repeated command a new one.
	Attempt int
	// Identifiers narrow a ManagedApplicationList to these apps.
	Identifiers []string
}

// Order is a command with all that it takes to write it as a property list.
type Order struct {
	UUID    string
	Command Command
	// Payload is the profile of an InstallProfile.
	Payload []byte
	// ManifestURL or StoreID say where the app of an InstallApplication comes from.
	ManifestURL string
	StoreID     int64
}

// Asked counts the queries sent so far in this epoch and tells whether one is still unanswered.
type Asked struct {
	Count       int
	Outstanding bool
}

// Queries are the state of the two queries that verify a plan.
type Queries struct {
	Profiles Asked
	Apps     Asked
}

// Advance says which commands to send now for a plan, marks their items as sent and returns when to ask again for apps
// that are still installing (zero = no need). Items wait for the items they depend on. Queries follow the installs they
// verify: a device answers in the order of its queue.
func Advance(items []PlanItem, q Queries, pollAfter func(polls int) time.Duration, now time.Time) ([]Command, time.Time) {
	var commands []Command
	verified := map[ItemKey]bool{}
	for _, it := range items {
		verified[it.Key] = it.State == Verified && !it.leaving()
	}
	for i := range items {
		if c, ok := items[i].start(verified); ok {
			items[i].UpdatedAt = now
			commands = append(commands, c)
		}
	}
	commands = append(commands, askProfiles(items, q.Profiles)...)
	asks, poll := askApps(items, q.Apps, pollAfter, now)
	return append(commands, asks...), poll
}

// start returns the command that begins an item, if it is its turn.
func (i *PlanItem) start(verified map[ItemKey]bool) (Command, bool) {
	c := Command{Item: i.Key, Identifier: i.Identifier, Version: i.Version, Attempt: i.Attempt}
	switch i.State {
	case Pending:
		if slices.ContainsFunc(i.DependsOn, func(k ItemKey) bool { return !verified[k] }) {
			return c, false
		}
		i.State = Sent
		switch {
		case i.Key.Kind == ConfigurationItem:
			c.Type = InstallProfile
		case i.Key.Kind == AppItem:
			c.Type = InstallApplication
		case i.Key.Name == DeviceInformation:
			c.Type = DeviceInformationQuery
		default:
			i.State = Acknowledged // nothing to install: the profile came by enrollment; only verify
			return c, false
		}
		return c, true
	case RemovePending:
		i.State = Removing
		c.Type = RemoveProfile
		if i.Key.Kind == AppItem {
			c.Type = RemoveApplication
		}
		return c, true
	case Sent, Acknowledged, Verified, Failed, Removing, Removed:
	}
	return c, false
}

// profileUnderWay: the item will be, or waits to be, seen in a ProfileList.
func (i PlanItem) profileUnderWay() bool {
	profile := i.Key.Kind == ConfigurationItem || i.Key.Name == ManagementProfile && i.Key.Kind == BuiltinItem
	return profile && (i.State == Sent || i.State == Acknowledged)
}

func askProfiles(items []PlanItem, asked Asked) []Command {
	if asked.Outstanding || !slices.ContainsFunc(items, PlanItem.profileUnderWay) {
		return nil
	}
	return []Command{{Type: ProfileList, Item: ItemKey{BuiltinItem, ManagementProfile}, Attempt: asked.Count + 1}}
}

func askApps(items []PlanItem, asked Asked, pollAfter func(int) time.Duration, now time.Time) ([]Command, time.Time) {
	var due []string
	var poll time.Time
	for _, it := range items {
		if it.Key.Kind != AppItem || it.State != Sent && it.State != Acknowledged {
			continue
		}
		at := it.UpdatedAt
		if it.Polls > 0 {
			at = at.Add(pollAfter(it.Polls))
		}
		if !at.After(now) {
			due = append(due, it.Identifier)
			continue
		}
		if poll.IsZero() || at.Before(poll) {
			poll = at
		}
	}
	if asked.Outstanding || len(due) == 0 {
		return nil, poll
	}
	return []Command{{Type: ManagedApplicationList, Item: ItemKey{BuiltinItem, string(ManagedApplicationList)}, Attempt: asked.Count + 1, Identifiers: due}}, poll
}
