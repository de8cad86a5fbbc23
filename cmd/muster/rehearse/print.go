package rehearse

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// Print writes the report for people.
func (r Report) Print(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := func(name, format string, values ...any) {
		_, _ = fmt.Fprintf(t, "%s\t%s\n", name, fmt.Sprintf(format, values...)) // Flush tells
	}
	row("Devices", "%d (seed %d)", r.Devices, r.Seed)
	row("As modelled", "%d", r.AsModelled)
	for _, status := range slices.Sorted(maps.Keys(r.ByStatus)) {
		row("  "+status, "%d", r.ByStatus[status])
	}
	row("Enrolled by signing in", "%d, of them %d Enrolled that nobody else assigned", r.SignedIn, r.AutoAssigned)
	row("Commands", "%d", r.Commands)
	row("Commands sent twice", "%d", r.CommandsSentTwice)
	row("Unexplained", "%d", r.Unexplained)
	row("", "%8s%10s%10s", "p50", "p95", "p99")
	row("Second fact to first command, ms", "%8.1f%10.1f%10.1f", r.ToFirstCommand.P50, r.ToFirstCommand.P95, r.ToFirstCommand.P99)
	row("Second fact to Enrolled, ms", "%8.1f%10.1f%10.1f", r.ToEnrolled.P50, r.ToEnrolled.P95, r.ToEnrolled.P99)
	row("Signals per device", "%8.0f", r.SignalsPerDevice)
	row("Regular activities per device", "%8.0f", r.ActivitiesPerDevice)
	row("History events per device", "%8.0f", r.HistoryEventsPerDevice)
	row("Elapsed, s", "%8.1f", r.Elapsed)
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "\nTimes are of the %d devices that became Enrolled; signals, activities and history events of the %d among\n"+
		"them that were not held in Setup Assistant, from unknown to their first Enrolled.\n%s\n", r.Enrolled, r.Counted, r.Summary())
	return err
}

// PrintWrong writes what is known of each device that ended elsewhere than the model says.
func (r Report) PrintWrong(w io.Writer) error {
	for _, d := range r.Wrong {
		if _, err := io.WriteString(w, d.text()); err != nil {
			return err
		}
	}
	return nil
}

func (d Wrong) text() string {
	var b strings.Builder
	say := func(format string, values ...any) { b.WriteString(fmt.Sprintf(format, values...) + "\n") }
	say("\n%s (%s) ended wrong:", d.Life.Serial, d.Life.Kind)
	for _, difference := range d.Differences {
		say("  - %s", difference)
	}
	say("  its life: %s", story(d.Life.Events))
	for _, wait := range d.Waits {
		say("  waits since %s for: %s (%s)", wait.Since.Format(time.TimeOnly), wait.For, wait.Who)
	}
	for _, item := range d.Plan {
		say("  item %s/%s, %s: %s (attempt %d) %s", item.Kind, item.Name, item.Stage, item.State, item.Attempt, item.Detail)
	}
	for _, fact := range d.Timeline {
		undelivered := ""
		if fact.DeliveredAt == nil {
			undelivered = " (not delivered)"
		}
		say("  %s #%d %s, epoch %d, by %s%s", fact.At.Format("15:04:05.000"), fact.Id, fact.Kind, fact.Epoch, fact.Source, undelivered)
	}
	return b.String()
}

func story(events []Event) string {
	words := make([]string, 0, len(events))
	for _, e := range events {
		word := string(e.Do)
		if len(e.Groups) > 0 {
			word += " " + strings.Join(e.Groups, "+")
		}
		if len(e.Events) > 0 {
			word += " (" + story(e.Events) + ")"
		}
		if e.After > 0 {
			word = e.After.Round(10*time.Millisecond).String() + " later " + word
		}
		words = append(words, word)
	}
	return strings.Join(words, ", ")
}
