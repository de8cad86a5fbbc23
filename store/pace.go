package store

import (
	"time"

	"github.com/muster-mdm/muster/provision"
)

const (
	// patientPolls is how often an app that doesn't move is asked after at the usual pace.
	patientPolls = 20
	// rarestPoll bounds the pauses after that: a person may sign in to the App Store any time, or never.
	rarestPoll = 6 * time.Hour
)

func (t Timing) pace() provision.Pace {
	return provision.Pace{PollAfter: t.pollAfter, RetryAfter: t.RetryAfter}
}

// RetryAt is when a best_effort item that failed is tried again by itself; zero when it isn't.
func (db *DB) RetryAt(it provision.PlanItem) time.Time { return db.timing.pace().RetryAt(it) }

// pollAfter is the pause before the next question after an app that said the same so many times in a row.
func (t Timing) pollAfter(polls int) time.Duration {
	usual := t.Poll(min(polls, patientPolls))
	if polls <= patientPolls || usual >= rarestPoll {
		return usual
	}
	return Backoff(2*usual, rarestPoll)(polls - patientPolls)
}
