package workflows

import (
	"fmt"

	"github.com/muster-mdm/muster/provision"
)

// meanings say in Temporal's UI what signals are. Those for operators may be sent by hand; the others are facts that
// Muster alone knows.
var meanings = map[provision.Kind]string{
	provision.ABMSeen:          "An Apple Business Manager server lists the device.",
	provision.ABMGone:          "Its Apple Business Manager server no longer lists the device.",
	provision.Authenticated:    "The device began to enroll anew.",
	provision.Activated:        "The device enrolled.",
	provision.CheckedOut:       "The device said that its management profile was removed.",
	provision.Assigned:         "A user or technician, and groups, were given. By hand: with assignment.",
	provision.Unassigned:       "User and groups were taken away. By hand: without a payload.",
	provision.Settled:          "What was sent to the device came to a verdict.",
	provision.CatalogChanged:   "A group of the device, or something in it, was edited.",
	provision.ReleaseRequest:   "For operators: release the device for good, with reason end_of_life or permanently_damaged. It can't be undone.",
	provision.HoldRequest:      "For operators: do nothing for the device until resume, with a reason.",
	provision.ResumeRequest:    "For operators: end a hold.",
	provision.RetryItem:        "For operators: try what failed again now.",
	provision.ExtendHold:       "For operators: keep the device in Setup Assistant longer, with until.",
	provision.ReleaseFromSetup: "For operators: let the device out of Setup Assistant now.",
	provision.SetupFinished:    "The device left Setup Assistant.",
	provision.SetupRefused:     "The device refused to leave Setup Assistant.",
	provision.CancelRelease:    "For operators: take a release back that was not carried out yet.",
	provision.UnassignFromMDM:  "For operators: have Apple Business Manager take the device off this MDM server.",
	provision.CheckedIn:        "The device was heard of after Apple Business Manager took it off its server.",
	provision.ABMAnswered:      "Apple answered what it was asked for.",
	provision.ABMBlocked:       "The device's Apple Business Manager server stopped working, or works again.",
	provision.SignInHeld:       "Somebody signed in on a device that is reserved for somebody else.",
	provision.SignInReviewed:   "For operators: leave the device to whom it is reserved for, whoever signed in.",
	provision.Deprovision: "For operators: end the device's management, with reason repair, employee_left, retire or in_stock and choice " +
		"remove_management or erase.",
	provision.DeprovisionRefused: "The device refused to be deprovisioned.",
	provision.Withdrawn:          "The serial number was taken back; only people had named it.",
}

// deeds say what steps do.
var deeds = map[provision.Action]string{
	provision.Apply:            "Send what the device's groups bring",
	provision.LeaveSetup:       "Let the device out of Setup Assistant",
	provision.ConcludeEnrolled: "Record that the device is Enrolled",
	provision.ConcludeStuck:    "Record that the device is stuck",
	provision.Nudge:            "Push again and ask the device for what is outstanding",
	provision.ConcludeReleased: "Forget the device and record that it is Released",
	provision.AskABM:           "Have Apple Business Manager asked",
	provision.ConcludeReview:   "Decide on a sign-in that nobody decided on",
	provision.ConcludePlanned:  "Have an assignment come into force",
	provision.Remind:           "Note that the device is due back",
	provision.SendDeprovision:  "Tell the device to end its management",
}

// summaryLimit is a little below the size that Temporal allows a summary (400 bytes).
const summaryLimit = 380

// brief shortens a text to what a summary may hold.
func brief(text string) string {
	if encodedLen(text) <= summaryLimit {
		return text
	}
	runes := []rune(text)
	for encodedLen(string(runes)) > summaryLimit-len("…") {
		runes = runes[:len(runes)*9/10]
	}
	return string(runes) + "…"
}

func applySummary(d provision.Device, step provision.Step) string {
	groups := 0
	if d.Assignment != nil {
		groups = len(d.Assignment.Groups)
	}
	summary := fmt.Sprintf("%s, try %d", counted(groups, "group"), step.Round)
	if failed := len(d.Verdict().Failed); failed > 0 && step.Round > 1 {
		summary += fmt.Sprintf(", %s failed", counted(failed, "item"))
	}
	return summary
}

func carrySummary(step provision.Step) string {
	if step.Reason == "" {
		return deeds[step.Do]
	}
	return brief(deeds[step.Do] + ": " + step.Reason)
}

func counted(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
