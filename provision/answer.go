package provision

import (
	"slices"
	"strings"
	"time"
)

// AnswerStatus is the Status of a device's answer to a command.
type AnswerStatus string

// Statuses of answers, as Apple spells them.
const (
	AnswerAcknowledged AnswerStatus = "Acknowledged"
	AnswerError        AnswerStatus = "Error"
	AnswerFormatError  AnswerStatus = "CommandFormatError"
	AnswerNotNow       AnswerStatus = "NotNow"
)

// Final reports whether the device will not answer this command again.
func (s AnswerStatus) Final() bool { return s != AnswerNotNow }

// Answer is a device's answer to a command, read from its property list.
type Answer struct {
	Command Command
	Status  AnswerStatus
	// Detail is the error chain in one line.
	Detail string
	// Absent: the error says that what should be removed is not there.
	Absent bool
	// Profiles are the identifiers of a ProfileList's profiles.
	Profiles []string
	// Apps are the states of a ManagedApplicationList by bundle identifier.
	Apps map[string]string
	// Rejection is why an InstallMedia was turned down, in Apple's word; the answer may be Acknowledged all the same.
	Rejection string
	// Books are those of a ManagedMediaList, by persistent identifier.
	Books map[string]Book
}

// Take takes an answer into the items and reports whether any changed. An answer to an attempt that is over changes
// nothing; an answer that comes twice changes nothing the second time.
func Take(items []PlanItem, a Answer, now time.Time) bool {
	if a.Status == AnswerNotNow {
		return takeNotNow(items, a, now)
	}
	failed := a.Status != AnswerAcknowledged || a.Rejection != ""
	switch a.Command.Type {
	case ProfileList:
		return each(items, func(it *PlanItem) bool { return it.takeProfiles(a, failed) }, now)
	case ManagedApplicationList:
		return each(items, func(it *PlanItem) bool { return it.takeApps(a, failed) }, now)
	case ManagedMediaList:
		return each(items, func(it *PlanItem) bool { return it.takeBooks(a, failed) }, now)
	case InstallProfile, InstallApplication, InstallMedia, RemoveProfile, RemoveApplication, RemoveMedia, DeviceInformationQuery, DeviceConfigured:
	}
	return each(items, func(it *PlanItem) bool {
		return it.Key == a.Command.Item && it.Attempt == a.Command.Attempt && it.takeOwn(a, failed)
	}, now)
}

func each(items []PlanItem, take func(*PlanItem) bool, now time.Time) bool {
	changed := false
	for i := range items {
		if take(&items[i]) {
			items[i].UpdatedAt, changed = now, true
		}
	}
	return changed
}

func takeNotNow(items []PlanItem, a Answer, now time.Time) bool {
	const busy = "The device answered NotNow; it is asked again."
	return each(items, func(it *PlanItem) bool {
		if it.Key != a.Command.Item || it.Attempt != a.Command.Attempt || it.State != Sent || it.Detail == busy {
			return false
		}
		it.Detail = busy
		return true
	}, now)
}

func (i *PlanItem) takeOwn(a Answer, failed bool) bool {
	switch {
	case i.State == Removing && i.Key.Kind == DocumentItem && !failed:
		return i.takeRemoval()
	case i.State == Removing && (!failed || a.Absent):
		i.State, i.Detail = Removed, ""
	case i.State == Removing:
		known := i.Detail == refusal(a)
		i.Detail = refusal(a)
		return !known
	case i.State == Sent && failed:
		i.State, i.Detail, i.Final = Failed, refusal(a), a.Status == AnswerFormatError || slices.Contains(rejectedForGood, a.Rejection)
	case i.State == Sent && a.Command.Type == DeviceInformationQuery:
		i.State, i.Detail = Verified, ""
	case i.State == Sent:
		i.State, i.Detail = Acknowledged, ""
	default:
		return false
	}
	return true
}

// refusal is never empty: a removal that was refused is known by its detail.
func refusal(a Answer) string {
	if a.Rejection != "" {
		return rejection(a)
	}
	if a.Detail == "" {
		return "The device answered " + string(a.Status) + " and gave no reason."
	}
	return a.Detail
}

func (i *PlanItem) takeProfiles(a Answer, failed bool) bool {
	if i.State != Acknowledged || !i.seenInProfileList() {
		return false
	}
	switch {
	case failed:
		i.State, i.Detail = Failed, "The device refused to list its profiles: "+refusal(a)
	case slices.Contains(a.Profiles, i.Identifier):
		i.State, i.Detail = Verified, ""
	case i.Key.Kind == BuiltinItem:
		i.State, i.Detail = Failed, "The device does not list the management profile."
	default:
		i.State, i.Detail = Failed, "The device acknowledged the profile but does not list it."
	}
	return true
}

// appFailed are the states after which an app will not come by itself; most are reported only once
// (Apple, ManagedApplicationListResponse).
var appFailed = []string{"Failed", "UserRejected", "UpdateRejected", "ManagementRejected", "ManagedButUninstalled", "UserInstalledApp"}

// declined are the states of apps and documents that a person brought about who doesn't want them. What isn't required must not be
// offered to them again and again.
var declined = []string{"UserRejected", "UpdateRejected", "ManagementRejected", "ManagedButUninstalled", "Uninstalled"}

func (i *PlanItem) takeApps(a Answer, failed bool) bool {
	if i.Key.Kind != AppItem || i.State != Acknowledged {
		return false
	}
	if len(a.Command.Identifiers) > 0 && !slices.Contains(a.Command.Identifiers, i.Identifier) {
		return false
	}
	state, listed := a.Apps[i.Identifier]
	switch {
	case failed:
		i.State, i.Detail = Failed, "The device refused to list its apps: "+refusal(a)
	case !listed:
		i.State, i.Detail = Failed, "The device acknowledged the app but does not list it."
	case state == "Managed":
		i.State, i.Detail = Verified, ""
	case slices.Contains(appFailed, state):
		i.State, i.Detail, i.Final = Failed, "The device reports the app as "+state+".", slices.Contains(declined, state)
	default:
		i.waitFor(appDetail(state))
	}
	return true
}

// waitFor counts the answers that said nothing new: what moves is asked after sooner than what doesn't.
func (i *PlanItem) waitFor(detail string) {
	if i.Detail != detail {
		i.Polls, i.Detail = 0, detail
	}
	i.Polls++
}

func appDetail(state string) string {
	switch {
	case strings.HasSuffix(state, "Login"):
		return "The app waits for an Apple Account to sign in on the device (" + state + ")."
	case strings.HasPrefix(state, "Prompting"):
		return "The app waits for the person who holds the device to agree (" + state + ")."
	case state == "NeedsRedemption":
		return "The app waits for a redemption code (" + state + ")."
	}
	return "The app is under way (" + state + ")."
}

// Renew prepares a nudge: removals that the device refused begin a new attempt.
func Renew(items []PlanItem) {
	for i := range items {
		if items[i].State == Removing && items[i].Detail != "" {
			items[i].State, items[i].Detail = RemovePending, ""
			items[i].Attempt++
			items[i].Polls = 0
		}
	}
}
