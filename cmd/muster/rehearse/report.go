package rehearse

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/muster-mdm/muster/api/client"
	"github.com/muster-mdm/muster/sim"
)

// Report is what a rehearsal found. Its JSON is read by other programs: fields are added, never renamed.
type Report struct {
	Devices int `json:"devices"`
	// AsModelled counts the devices that ended as the model says, seen by the API and on the device itself.
	AsModelled int            `json:"as_modelled"`
	ByStatus   map[string]int `json:"by_status"`
	// SignedIn counts the devices that were enrolled by somebody signing in on them; AutoAssigned are those of them that became
	// Enrolled although nobody at a desk ever assigned them.
	SignedIn     int `json:"signed_in"`
	AutoAssigned int `json:"auto_assigned"`
	Commands     int `json:"commands"`
	// CommandsSentTwice is counted by the devices; see [sim.SentTwice].
	CommandsSentTwice int `json:"commands_sent_twice"`
	// Unexplained counts the devices that are neither Enrolled nor Released and can't say what they wait for.
	Unexplained int `json:"unexplained"`
	// ToFirstCommand and ToEnrolled are from the second fact to the first Enrolled, over all devices that got there.
	ToFirstCommand Percentiles `json:"to_first_command_ms"`
	ToEnrolled     Percentiles `json:"to_enrolled_ms"`
	// The medians are over the devices that became Enrolled without a hold in Setup Assistant, from unknown to their first
	// Enrolled.
	SignalsPerDevice       float64 `json:"signals_per_device_p50"`
	ActivitiesPerDevice    float64 `json:"activities_per_device_p50"`
	HistoryEventsPerDevice float64 `json:"history_events_per_device_p50"`
	// Elapsed is from the first event of a life until all devices were as modelled, or time was up.
	Elapsed float64 `json:"elapsed_s"`

	// Wrong are the devices that ended elsewhere, for people.
	Wrong []Wrong `json:"-"`
	// Counted is the number of devices behind the medians; Enrolled behind the latencies.
	Counted, Enrolled int    `json:"-"`
	Seed              uint64 `json:"-"`
}

// Percentiles are in milliseconds.
type Percentiles struct {
	P50 float64 `json:"p50"`
	P95 float64 `json:"p95"`
	P99 float64 `json:"p99"`
}

// Wrong is a device that ended elsewhere than the model says, or can't explain itself.
type Wrong struct {
	Life        Life
	Differences []string
	Waits       []client.Wait
	Timeline    []client.Fact
	Plan        []client.PlanItem
}

// Good reports whether everything that must hold does.
func (r Report) Good() bool {
	return r.AsModelled == r.Devices && r.CommandsSentTwice == 0 && r.Unexplained == 0
}

const reportPatience = time.Minute

func (r *Rehearsal) report(ctx context.Context) (Report, error) {
	ctx, cancel := context.WithTimeout(ctx, reportPatience)
	defer cancel()
	report := Report{
		Devices: len(r.cfg.Lives), ByStatus: map[string]int{}, Seed: r.cfg.Seed,
		Elapsed: round(r.elapsed.Seconds()),
	}
	for _, l := range r.cfg.Lives {
		if err := r.judge(ctx, l, &report); err != nil {
			return report, err
		}
		report.CommandsSentTwice += sim.SentTwice(r.fleet.Device(l.Serial).Log())
	}
	var err error
	if report.Commands, err = commandCount(ctx, r.env.DatabaseURL()); err != nil {
		return report, err
	}
	if err := r.reportLatencies(ctx, &report); err != nil {
		return report, err
	}
	return report, r.reportCosts(ctx, &report)
}

// judge compares one device with the model, and collects what helps to understand a wrong one.
func (r *Rehearsal) judge(ctx context.Context, l Life, report *Report) error {
	d, err := r.customer.Device(ctx, l.Serial)
	if err != nil {
		report.Wrong = append(report.Wrong, Wrong{Life: l, Differences: []string{err.Error()}})
		return ctx.Err()
	}
	report.ByStatus[string(d.Status)]++
	r.mu.Lock()
	signed := r.signed[l.Serial]
	r.mu.Unlock()
	if signed {
		report.SignedIn++
	}
	if signed && string(d.Status) == statusEnrolled && !has(l.Events, Assign) {
		report.AutoAssigned++
	}
	wrong := Wrong{Life: l, Differences: differences(Model(r.catalog, l, l.Events), d, r.fleet.Device(l.Serial).Snapshot())}
	r.mu.Lock()
	failed, over := r.over[l.Serial]
	r.mu.Unlock()
	switch {
	case !over:
		wrong.Differences = append(wrong.Differences, "its life was not over in time")
	case failed != nil:
		wrong.Differences = append(wrong.Differences, failed.Error())
	}
	if len(wrong.Differences) == 0 {
		report.AsModelled++
	}
	if d.Waits != nil {
		wrong.Waits = *d.Waits
	}
	mute := len(wrong.Waits) == 0 && string(d.Status) != statusEnrolled && string(d.Status) != statusReleased
	if mute {
		report.Unexplained++
		wrong.Differences = append(wrong.Differences, "it can't say what it waits for")
	}
	if len(wrong.Differences) == 0 {
		return nil
	}
	if wrong.Timeline, err = r.customer.Timeline(ctx, l.Serial, 12); err != nil {
		return err
	}
	if wrong.Plan, err = r.customer.Plan(ctx, l.Serial); err != nil {
		return err
	}
	report.Wrong = append(report.Wrong, wrong)
	return nil
}

func (r *Rehearsal) reportLatencies(ctx context.Context, report *Report) error {
	all, err := Latencies(ctx, r.env.DatabaseURL())
	if err != nil {
		return err
	}
	var first, enrolled []float64
	for _, l := range all {
		first = append(first, milliseconds(l.ToFirstCommand))
		enrolled = append(enrolled, milliseconds(l.Enrolled))
	}
	report.Enrolled = len(all)
	report.ToFirstCommand, report.ToEnrolled = percentiles(first), percentiles(enrolled)
	return nil
}

func (r *Rehearsal) reportCosts(ctx context.Context, report *Report) error {
	c, err := r.env.Dial(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	var signalled, activities, events []float64
	for _, l := range r.cfg.Lives {
		if l.Awaits {
			continue
		}
		cost, ok, err := costOf(ctx, c, l.Serial)
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		signalled = append(signalled, float64(cost.Signals))
		activities = append(activities, float64(cost.Activities))
		events = append(events, float64(cost.Events))
	}
	report.Counted = len(events)
	report.SignalsPerDevice = Percentile(signalled, 0.5)
	report.ActivitiesPerDevice = Percentile(activities, 0.5)
	report.HistoryEventsPerDevice = Percentile(events, 0.5)
	return nil
}

func percentiles(all []float64) Percentiles {
	return Percentiles{P50: Percentile(all, 0.5), P95: Percentile(all, 0.95), P99: Percentile(all, 0.99)}
}

// Percentile is the smallest value that the share of all values doesn't exceed, rounded to tenths; 0 without values.
func Percentile(all []float64, share float64) float64 {
	if len(all) == 0 {
		return 0
	}
	sorted := slices.SortedFunc(slices.Values(all), cmp.Compare[float64])
	return round(sorted[max(0, int(math.Ceil(share*float64(len(sorted))))-1)])
}

func round(f float64) float64 { return math.Round(f*10) / 10 }

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// Summary is the verdict in one sentence.
func (r Report) Summary() string {
	if r.Good() {
		return fmt.Sprintf("All %d devices ended as modelled; no command was sent twice; every device can say what it waits for.", r.Devices)
	}
	return fmt.Sprintf("%d of %d devices ended as modelled; %d commands were sent twice; %d devices can't say what they wait for.",
		r.AsModelled, r.Devices, r.CommandsSentTwice, r.Unexplained)
}
