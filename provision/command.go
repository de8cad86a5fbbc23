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
	InstallMedia           RequestType = "InstallMedia"
	RemoveMedia            RequestType = "RemoveMedia"
	ManagedMediaList       RequestType = "ManagedMediaList"
	DeviceInformationQuery RequestType = "DeviceInformation"
	DeviceConfigured       RequestType = "DeviceConfigured"
	EraseDevice            RequestType = "EraseDevice"
)

// Command is a command for one device, before it is written as a property list.
type Command struct {
	Type RequestType
	// Item is what the command is about; queries name a builtin item.
	Item ItemKey
	// Identifier is the payload identifier to remove, or the bundle or persistent identifier to install or remove.
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
	// Document is what an InstallMedia installs.
	Document DocumentSource
}

// Asked tells the newest attempt of a query in this epoch and whether one is still unanswered.
type Asked struct {
	Count       int
	Outstanding bool
}

// Queries are the state of the queries that verify a plan.
type Queries struct {
	Profiles  Asked
	Apps      Asked
	Documents Asked
}

// Pace is how soon a plan goes on by itself.
type Pace struct {
	// PollAfter is the pause before the next question after an app or document that said the same so many times in a row.
	PollAfter func(polls int) time.Duration
	// RetryAfter is the pause before each further try of a best_effort item that failed; then it stays failed. Those of stricter
	// stages are tried again by [Next], because what becomes of them decides something.
	RetryAfter []time.Duration
}

// Advance says which commands to send now for a plan, marks their items as sent and returns when to look again at apps and
// documents that are still under way and at best_effort items that failed (zero = no need). Items wait for the items they depend
// on. A query follows the installs that it verifies in the same queue; if the device answers it before them (an install got NotNow),
// the next one goes out only when an install was acknowledged, or the two would chase each other as long as the device is connected.
func Advance(items []PlanItem, q Queries, pace Pace, now time.Time) ([]Command, time.Time) {
	again := pace.tryAgain(items, now)
	var commands []Command
	verified := map[ItemKey]bool{}
	for _, it := range items {
		verified[it.Key] = it.State == Verified && !it.leaving()
	}
	ask := make([]bool, len(items)) // items whose install is known, or comes before the query in the queue
	for i := range items {
		it := &items[i]
		was := it.State
		if c, ok := it.start(verified); ok {
			commands = append(commands, c)
		}
		if it.State != was {
			it.UpdatedAt = now
		}
		ask[i] = it.State == Acknowledged || it.State == Sent && was == Pending || it.leavesUnseen(was)
	}
	commands = append(commands, askProfiles(items, ask, q.Profiles)...)
	apps, poll := polling{AppItem, ManagedApplicationList, q.Apps, pace.PollAfter, now}.ask(items, ask)
	documents, later := polling{DocumentItem, ManagedMediaList, q.Documents, pace.PollAfter, now}.ask(items, ask)
	return append(append(commands, apps...), documents...), Sooner(again, Sooner(poll, later))
}

// Sooner is the earlier of two due times, of which either may be zero for never.
func Sooner(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// RetryAt is when a best_effort item that failed is tried again by itself; zero when it isn't.
func (p Pace) RetryAt(it PlanItem) time.Time {
	if it.Stage != BestEffort || it.State != Failed || it.Final || it.Retries >= len(p.RetryAfter) {
		return time.Time{}
	}
	return it.UpdatedAt.Add(p.RetryAfter[it.Retries])
}

// tryAgain begins another attempt of the best_effort items whose pause is over, and returns when the next one's is.
func (p Pace) tryAgain(items []PlanItem, now time.Time) (next time.Time) {
	for i := range items {
		it := &items[i]
		due := p.RetryAt(*it)
		if due.IsZero() || due.After(now) {
			next = Sooner(next, due)
			continue
		}
		it.State, it.Detail, it.Polls, it.UpdatedAt = Pending, "", 0, now
		it.Attempt++
		it.Retries++
	}
	return next
}

// start returns the command that begins an item, if it is its turn.
func (i *PlanItem) start(verified map[ItemKey]bool) (Command, bool) {
	c := Command{Item: i.Key, Identifier: i.Identifier, Version: i.Version, Attempt: i.Attempt}
	switch i.State {
	case Pending:
		if slices.ContainsFunc(i.DependsOn, func(k ItemKey) bool { return !verified[k] }) {
			return c, false
		}
		i.State, i.Polls = Sent, 0
		switch {
		case i.Key.Kind == ConfigurationItem:
			c.Type = InstallProfile
		case i.Key.Kind == AppItem:
			c.Type = InstallApplication
		case i.Key.Kind == DocumentItem:
			c.Type = InstallMedia
		case i.Key.Name == DeviceInformation:
			c.Type = DeviceInformationQuery
		default:
			i.State = Acknowledged // nothing to install: the profile came by enrollment; only verify
			return c, false
		}
		return c, true
	case RemovePending:
		i.State = Removing
		switch i.Key.Kind {
		case AppItem:
			c.Type = RemoveApplication
		case DocumentItem:
			c.Type = RemoveMedia
		case ConfigurationItem, BuiltinItem:
			c.Type = RemoveProfile
		}
		return c, true
	case Sent, Acknowledged, Verified, Failed, Removing, Removed:
	}
	return c, false
}

// seenInProfileList: a ProfileList tells whether the item is on the device.
func (i PlanItem) seenInProfileList() bool {
	return i.Key.Kind == ConfigurationItem || i.Key == ItemKey{BuiltinItem, ManagementProfile}
}

func askProfiles(items []PlanItem, ask []bool, asked Asked) []Command {
	if asked.Outstanding {
		return nil
	}
	for i, it := range items {
		if ask[i] && it.seenInProfileList() {
			return []Command{{Type: ProfileList, Item: ItemKey{BuiltinItem, ManagementProfile}, Attempt: asked.Count + 1}}
		}
	}
	return nil
}

// polling is what decides when the items of a kind are asked after, and by which query.
type polling struct {
	kind      ItemKind
	query     RequestType
	asked     Asked
	pollAfter func(polls int) time.Duration
	now       time.Time
}

func (p polling) ask(items []PlanItem, ask []bool) ([]Command, time.Time) {
	var due []string
	var poll time.Time
	for i, it := range items {
		if !ask[i] || it.Key.Kind != p.kind {
			continue
		}
		at := it.UpdatedAt
		if polls := it.idlePolls(); polls > 0 {
			at = at.Add(p.pollAfter(polls))
		}
		if !at.After(p.now) {
			due = append(due, it.Identifier)
			continue
		}
		if poll.IsZero() || at.Before(poll) {
			poll = at
		}
	}
	if p.asked.Outstanding || len(due) == 0 {
		return nil, poll
	}
	c := Command{Type: p.query, Item: ItemKey{BuiltinItem, string(p.query)}, Attempt: p.asked.Count + 1}
	if p.query == ManagedApplicationList { // a ManagedMediaList can't be narrowed
		c.Identifiers = due
	}
	return []Command{c}, poll
}
