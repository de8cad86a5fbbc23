package workflows

import (
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/muster-mdm/muster/provision"
)

// DefaultPolicy is the policy of a workflow that was begun without one.
func DefaultPolicy() provision.Policy {
	return provision.Policy{
		// Long enough for a large app over a school's Wi-Fi; a person stands in front of the device all that time.
		SetupHold: 30 * time.Minute,
		// A device in somebody's hands is worth more than one that waits for a perfect plan; the rest follows on the desk.
		HoldPolicy: provision.HoldRelease,
		// Whoever decides may be off until tomorrow.
		ReviewFreesSetup: true,
		// Most failures pass with the network or a full disk; after a day of tries an administrator must look.
		RetryAfter: []time.Duration{time.Minute, 5 * time.Minute, 15 * time.Minute, time.Hour, 6 * time.Hour, 24 * time.Hour},
		// APNs drops pushes to devices that are off: ask again soon at first, then as often as people open lids.
		NudgeAfter: []time.Duration{15 * time.Minute, time.Hour, 6 * time.Hour, 24 * time.Hour},
		// A release can't be undone at Apple; whoever picked the wrong row notices within minutes.
		ReleaseDelay: 15 * time.Minute,
		// Time to find a charger and a parcel, then the day before.
		RemindBefore: []time.Duration{3 * 24 * time.Hour, 24 * time.Hour},
	}
}

const (
	// maxHistory ends a run long before Temporal's own suggestion (4,096 events): a worker that has not cached the
	// workflow replays it whole, for every signal.
	maxHistory = 2000
	// samePause is how long a step waits that was carried out and is due again although nothing came of it: the row has
	// moved on, and the fact that says so is on its way.
	samePause = 30 * time.Second
	// failurePause is how long a step waits that failed for good or for longer than its time-outs; a new fact ends it.
	failurePause = 5 * time.Minute
)

const (
	// syncPages ends a run of a sync well below Temporal's suggestion; a page costs three events. A hundred thousand devices take
	// one run.
	syncPages = 300
	// dutyRounds ends a run of duties, for the same reason.
	dutyRounds = 300
	// dutyNear is how soon something must be due for the workflow to wait for it; otherwise it ends, and begins again then. A
	// timer costs two events, a new workflow six.
	dutyNear = 2 * time.Minute
)

// pageOptions are those of activities that ask Apple for one page and write it.
func pageOptions(summary string) workflow.ActivityOptions {
	return workflow.ActivityOptions{
		Summary: summary,
		// Two requests of a minute at most, and a transaction over a thousand devices.
		StartToCloseTimeout: 3 * time.Minute,
		// What passes by itself has passed by then, or takes longer than to the next sync.
		ScheduleToCloseTimeout: 15 * time.Minute,
		// The activity says every three seconds that its worker lives; one that died is noticed as soon as that.
		HeartbeatTimeout: 20 * time.Second,
		RetryPolicy: &temporal.RetryPolicy{
			InitialInterval:    2 * time.Second,
			BackoffCoefficient: 3,
			MaximumInterval:    time.Minute,
			// An outage of Apple's is for the next sync, which begins where this one ended.
			MaximumAttempts: 6,
		},
	}
}

// askOptions are those of activities that ask Apple for many devices, one after the other or all at once.
func askOptions(summary string) workflow.ActivityOptions {
	options := pageOptions(summary)
	// A thousand devices, looked at one by one.
	options.StartToCloseTimeout = 20 * time.Minute
	options.ScheduleToCloseTimeout = time.Hour
	return options
}

// applyOptions are those of the one regular activity of devices.
func applyOptions(summary string) workflow.ActivityOptions {
	return workflow.ActivityOptions{
		Summary: summary,
		// One transaction; what takes longer hangs, or its worker died: then this is how long the device waits for another.
		StartToCloseTimeout: 10 * time.Second,
		// Bounds the whole, so that a request to release comes to its turn although a plan can't be made.
		ScheduleToCloseTimeout: 10 * time.Minute,
		RetryPolicy: &temporal.RetryPolicy{
			InitialInterval:    time.Second,
			BackoffCoefficient: 2,
			// PostgreSQL is back within minutes or it takes hours.
			MaximumInterval: time.Minute,
		},
	}
}

// recordOptions are those of local activities: one short transaction each.
func recordOptions(summary string) workflow.LocalActivityOptions {
	return workflow.LocalActivityOptions{
		Summary: summary,
		// Below the workflow task's ten seconds, so that the task needn't be extended.
		StartToCloseTimeout: 5 * time.Second,
		// While PostgreSQL is down each extension of the task costs three events: rather give up and wait by a timer.
		ScheduleToCloseTimeout: 15 * time.Second,
		RetryPolicy: &temporal.RetryPolicy{
			InitialInterval:    100 * time.Millisecond,
			BackoffCoefficient: 3,
			MaximumInterval:    5 * time.Second,
		},
	}
}
