package abm

import (
	"fmt"
	"slices"
	"time"
)

// What an activity does, in Apple's words.
const (
	ActivityAssign   = "ASSIGN_DEVICES"
	ActivityUnassign = "UNASSIGN_DEVICES"
	ActivityRelease  = "RELEASE_DEVICES"
)

const (
	statusRunning   = "IN_PROGRESS"
	statusCompleted = "COMPLETED"
	statusFailed    = "FAILED"
	statusStopped   = "STOPPED"

	activityKept = 30 * 24 * time.Hour // how long Apple answers questions about an activity
)

// activity is work that the Business API was asked for; it has its effect when it ends.
type activity struct {
	ID       string
	Type     string
	ServerID string
	Serials  []string
	Created  time.Time
	Ends     time.Time
	Fate     string // the fault that it will meet
	Ended    bool
	Failures map[string]string // why, by serial
	Status   string            // of one that has ended
	Sub      string
}

// progress is the state to show at a time.
func (a *activity) progress(now time.Time) (status, sub string) {
	if a.Ended {
		return a.Status, a.Sub
	}
	done := float64(now.Sub(a.Created)) / float64(max(a.Ends.Sub(a.Created), 1))
	stages := []string{"SUBMITTED", "PRE_PROCESSING", "PENDING", "PROCESSING", "POST_PROCESSING"}
	if a.Fate == FaultActivityStopped && done > 0.5 {
		return statusRunning, "STOPPING"
	}
	return statusRunning, stages[min(max(int(done*float64(len(stages))), 0), len(stages)-1)]
}

// settle ends the activities whose time has come, in the order of their ends. The caller holds mu.
func (o *Organization) settle(now time.Time) {
	for len(o.running) > 0 && !o.running[0].Ends.After(now) {
		a := o.running[0]
		o.running = o.running[1:]
		o.finish(a)
	}
}

func (o *Organization) start(a *activity) {
	a.Created = o.now()
	life := o.cfg.Lifetime.Activity
	switch {
	case o.strike(FaultActivityFailed, a.Type) != nil:
		a.Fate = FaultActivityFailed
	case o.strike(FaultActivityStopped, a.Type) != nil:
		a.Fate = FaultActivityStopped
	}
	if slow := o.strike(FaultActivitySlow, a.Type); slow != nil {
		life = slow.duration()
	}
	a.Ends = a.Created.Add(life)
	o.activities[a.ID] = a
	i, _ := slices.BinarySearchFunc(o.running, a.Ends, func(b *activity, end time.Time) int {
		if b.Ends.After(end) {
			return 1
		}
		return -1
	})
	o.running = slices.Insert(o.running, i, a)
}

func (o *Organization) finish(a *activity) {
	a.Ended, a.Failures = true, map[string]string{}
	switch a.Fate {
	case FaultActivityFailed:
		a.Status, a.Sub = statusFailed, "COMPLETED_WITH_FAILURE"
		return
	case FaultActivityStopped:
		a.Status, a.Sub = statusStopped, "COMPLETED_WITH_FAILURE"
		return
	}
	for _, serial := range a.Serials {
		if why := o.act(a, serial); why != "" {
			a.Failures[serial] = why
		}
	}
	switch len(a.Failures) {
	case 0:
		a.Status, a.Sub = statusCompleted, "COMPLETED_WITH_SUCCESS"
	case len(a.Serials):
		a.Status, a.Sub = statusFailed, "COMPLETED_WITH_FAILURE"
	default:
		a.Status, a.Sub = statusCompleted, "COMPLETED_WITH_ERROR"
	}
}

// act does the activity to one device; why it can't, or "".
func (o *Organization) act(a *activity, serial string) (why string) {
	d, err := o.owned(serial)
	if err != nil {
		return "DEVICE_NOT_FOUND"
	}
	switch a.Type {
	case ActivityAssign:
		o.put(d, o.servers[a.ServerID], o.cfg.AdminID)
	case ActivityUnassign:
		if d.ServerID != a.ServerID {
			return "DEVICE_NOT_ASSIGNED_TO_SERVER"
		}
		o.take(d)
	case ActivityRelease:
		o.release(d)
	}
	return ""
}

// StopActivity ends a running activity without effect, as a person in the portal can; false when none of that id runs.
func (o *Organization) StopActivity(id string) bool {
	defer o.lock()()
	i := slices.IndexFunc(o.running, func(a *activity) bool { return a.ID == id })
	if i < 0 {
		return false
	}
	a := o.running[i]
	o.running = slices.Delete(o.running, i, i+1)
	a.Fate = FaultActivityStopped
	o.finish(a)
	return true
}

// Running lists the ids of the activities that have not ended, the next to end first.
func (o *Organization) Running() []string {
	defer o.lock()()
	ids := make([]string, len(o.running))
	for i, a := range o.running {
		ids[i] = a.ID
	}
	return ids
}

// csv is the log of an activity that has ended.
func (a *activity) csv() string {
	out := "Serial Number,Activity,Result,Reason\n"
	for _, serial := range a.Serials {
		result, why := "SUCCESS", a.Failures[serial]
		if a.Fate == FaultActivityFailed || a.Fate == FaultActivityStopped {
			why = a.Status
		}
		if why != "" {
			result = "FAILED"
		}
		out += fmt.Sprintf("%s,%s,%s,%s\n", serial, a.Type, result, why)
	}
	return out
}
