package workflows

import (
	"errors"
	"fmt"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/muster-mdm/muster/activities"
	"github.com/muster-mdm/muster/apple/fault"
	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/signals"
)

// Only its methods' names are used.
var apple *activities.ABM

// showServer has Temporal's search find the workflow by its server; the schedule and the door set that already.
func showServer(ctx workflow.Context, server string) error {
	if shown, _ := workflow.GetTypedSearchAttributes(ctx).GetKeyword(signals.AttributeServer); shown == server {
		return nil
	}
	return workflow.UpsertTypedSearchAttributes(ctx, signals.AttributeServer.ValueSet(server))
}

func answerStatus(ctx workflow.Context, description string, handler any) error {
	return workflow.SetQueryHandlerWithOptions(ctx, signals.QueryStatus, handler, workflow.QueryHandlerOptions{Description: description})
}

// leaveAlone waits as long as Apple asked for, and no shorter: a timer never fires early.
func leaveAlone(ctx workflow.Context, pause time.Duration) error {
	return workflow.NewTimerWithOptions(ctx, pause, workflow.TimerOptions{Summary: "Apple asks to wait"}).Get(ctx, nil)
}

// outOfReach reports whether an activity failed because Apple could not be reached, or not be understood, for longer than
// it is worth waiting for.
func outOfReach(err error) bool {
	var timeout *temporal.TimeoutError
	if errors.As(err, &timeout) {
		return true
	}
	var app *temporal.ApplicationError
	return errors.As(err, &app) && (app.Type() == string(fault.Unreachable) || app.Type() == string(fault.Garbled))
}

// haltSentence says why nothing more is asked.
func haltSentence(h activities.ABMHalt) string {
	switch h.Blocked {
	case "":
	case provision.BlockedTokenExpired, provision.BlockedTokenRejected:
		return "The server token can't be used; it must be renewed."
	case provision.BlockedTerms:
		return "Apple's terms and conditions must be signed first."
	default:
		return "Apple denies what is asked for."
	}
	if h.Idle != "" {
		return fmt.Sprintf("The server is %s.", h.Idle)
	}
	return ""
}

func withRemarks(text, waits, notice string) string {
	if waits != "" {
		text += "\n- Next: goes on at " + waits + "."
	}
	if notice != "" {
		text += "\n\n> " + notice
	}
	return text
}
