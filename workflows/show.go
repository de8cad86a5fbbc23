package workflows

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/signals"
)

// answerQueries sets the handlers of status and explain.
func (d *device) answerQueries(ctx workflow.Context) error {
	err := workflow.SetQueryHandlerWithOptions(ctx, signals.QueryStatus, func() (signals.Status, error) {
		return d.status(workflow.Now(ctx)), nil
	}, workflow.QueryHandlerOptions{Description: "Where the device stands and what it waits for."})
	if err != nil {
		return err
	}
	return workflow.SetQueryHandlerWithOptions(ctx, signals.QueryExplain, func() (signals.Explanation, error) {
		now := workflow.Now(ctx)
		return signals.Explanation{
			Serial: d.Device.Serial, Labels: d.Device.Labels(), Waits: d.Device.Explain(d.Policy, now), Next: d.next(now), Notice: d.Notice,
		}, nil
	}, workflow.QueryHandlerOptions{Description: "What the device waits for, since when, who can end it, and what comes next."})
}

func (d *device) status(now time.Time) signals.Status {
	dev := d.Device
	return signals.Status{
		Serial: dev.Serial, Status: dev.Status(), Labels: dev.Labels(), Awaiting: dev.Awaiting(), Management: dev.Management(),
		Epoch: dev.Activation.Epoch, BlockedBy: dev.BlockedBy(), Plan: dev.Plan.By, Round: dev.Plan.Round, Verdict: dev.Verdict(),
		Waits: dev.Explain(d.Policy, now), Notice: d.Notice,
	}
}

// attributes are the values of the search attributes.
type attributes struct {
	status, server, blockedBy string
	awaiting, groups          []string
	epoch                     int64
}

// readAttributes are those that the run began with, from the one before it.
func readAttributes(ctx workflow.Context) attributes {
	have := workflow.GetTypedSearchAttributes(ctx)
	var a attributes
	a.status, _ = have.GetKeyword(signals.AttributeStatus)
	a.server, _ = have.GetKeyword(signals.AttributeServer)
	a.blockedBy, _ = have.GetKeyword(signals.AttributeBlockedBy)
	a.awaiting, _ = have.GetKeywordList(signals.AttributeAwaiting)
	a.groups, _ = have.GetKeywordList(signals.AttributeGroups)
	a.epoch, _ = have.GetInt64(signals.AttributeEpoch)
	return a
}

func attributesOf(d provision.Device) attributes {
	a := attributes{
		status: string(d.Status()), server: clip(d.ABM.Server), blockedBy: d.BlockedBy(), awaiting: d.Awaiting(),
		epoch: int64(d.Activation.Epoch),
	}
	if d.Assignment != nil {
		a.groups = fitting(d.Assignment.Groups)
	}
	return a
}

// attributeLimit is a little below the size that Temporal allows a value of a search attribute (2 KiB). More would fail
// the workflow task again and again.
const attributeLimit = 1900

// fitting returns as many names as a search attribute holds.
func fitting(names []string) []string {
	size := 2
	for i, name := range names {
		if size += encodedLen(name) + 1; size > attributeLimit {
			return names[:i]
		}
	}
	return names
}

func clip(text string) string {
	for encodedLen(text) > attributeLimit {
		text = string([]rune(text)[:len([]rune(text))/2])
	}
	return text
}

func encodedLen(text string) int {
	encoded, err := json.Marshal(text)
	if err != nil {
		return len(text)
	}
	return len(encoded)
}

// updates are what must be told to Temporal when a follows was; nothing is told twice.
func (a attributes) updates(was attributes) []temporal.SearchAttributeUpdate {
	var updates []temporal.SearchAttributeUpdate
	keyword := func(key temporal.SearchAttributeKeyKeyword, value, was string) {
		switch value {
		case was:
		case "":
			updates = append(updates, key.ValueUnset())
		default:
			updates = append(updates, key.ValueSet(value))
		}
	}
	list := func(key temporal.SearchAttributeKeyKeywordList, value, was []string) {
		switch {
		case slices.Equal(value, was):
		case len(value) == 0:
			updates = append(updates, key.ValueUnset())
		default:
			updates = append(updates, key.ValueSet(value))
		}
	}
	keyword(signals.AttributeStatus, a.status, was.status)
	list(signals.AttributeAwaiting, a.awaiting, was.awaiting)
	list(signals.AttributeGroups, a.groups, was.groups)
	keyword(signals.AttributeServer, a.server, was.server)
	keyword(signals.AttributeBlockedBy, a.blockedBy, was.blockedBy)
	if a.epoch != was.epoch {
		updates = append(updates, signals.AttributeEpoch.ValueSet(a.epoch))
	}
	return updates
}

// publish tells Temporal's search and its UI where the device stands, if that has changed.
func (d *device) publish(ctx workflow.Context) {
	d.describe(ctx)
	now := attributesOf(d.Device)
	updates := now.updates(d.shown)
	if len(updates) == 0 {
		return
	}
	if err := workflow.UpsertTypedSearchAttributes(ctx, updates...); err != nil {
		workflow.GetLogger(ctx).Error("search attributes not upserted", "error", err)
		return
	}
	d.shown = now
}

// describe sets the lines that the Temporal UI shows of a running workflow; they cost no event.
func (d *device) describe(ctx workflow.Context) {
	workflow.SetCurrentDetails(ctx, d.details(workflow.Now(ctx)))
}

func (d *device) details(now time.Time) string {
	var b strings.Builder
	fmt.Fprintf(&b, "**%s**\n", strings.Join(d.Device.Labels(), "**, **"))
	enrolled := d.Device.Status() == provision.StatusEnrolled
	if enrolled {
		fmt.Fprintf(&b, "\nEnrolled since %s.", stamp(d.Device.Enrolled.At))
	}
	for _, w := range d.Device.Explain(d.Policy, now) {
		fmt.Fprintf(&b, "\n- %s Since %s. Can end it: %s.", w.For, stamp(w.Since), w.Who)
		if w.Until != nil {
			fmt.Fprintf(&b, " Muster acts by itself at %s.", stamp(*w.Until))
		}
	}
	switch step := d.next(now); {
	case d.ended():
	case step.Do != provision.WaitForFacts:
		fmt.Fprintf(&b, "\n- Next: %s.", deeds[step.Do])
	case !step.Until.IsZero():
		fmt.Fprintf(&b, "\n- Next: looked at again at %s, or when something happens.", stamp(step.Until))
	case enrolled && d.Device.BlockedBy() == "":
		b.WriteString(" Nothing to do.")
	default:
		b.WriteString("\n- Next: nothing before something happens.")
	}
	if d.Notice != "" {
		fmt.Fprintf(&b, "\n\n> %s", d.Notice)
	}
	return b.String()
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return "the beginning"
	}
	return t.UTC().Format("2006-01-02 15:04 MST")
}
