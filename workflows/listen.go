package workflows

import (
	"fmt"

	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/workflow"

	"github.com/muster-mdm/muster/provision"
)

// listen folds facts as they come, also while a step is carried out. It watches the channels and never receives in a
// blocking way: a value that was given to a blocked receiver would be lost to continueAsNew, whose turn may come first.
func (d *device) listen(ctx workflow.Context) {
	waiting := func() bool {
		for _, ch := range d.inbox {
			if ch.Len() > 0 {
				return true
			}
		}
		return false
	}
	for workflow.Await(ctx, waiting) == nil {
		d.drain(ctx)
	}
}

// drain takes in every fact that has come so far.
func (d *device) drain(ctx workflow.Context) {
	for _, ch := range d.inbox {
		for {
			var raw converter.RawValue // decoding a Fact here would skip a malformed one in silence
			if !ch.ReceiveAsync(&raw) {
				break
			}
			d.take(ctx, provision.Kind(ch.Name()), raw)
		}
	}
}

// take folds one signal. What can't be read is told to the operator and breaks nothing; without a payload the name of the
// signal is the whole fact.
func (d *device) take(ctx workflow.Context, kind provision.Kind, raw converter.RawValue) {
	d.facts++
	var f provision.Fact
	if raw.Payload() != nil {
		if err := converter.GetDefaultDataConverter().FromPayload(raw.Payload(), &f); err != nil {
			d.Notice = fmt.Sprintf("A signal %s could not be read: its payload is not a fact.", kind)
			workflow.GetLogger(ctx).Warn("unreadable signal", "kind", kind, "error", err)
			return
		}
	}
	f.Kind = kind
	d.Paused = provision.Step{}
	if f.ID <= 0 {
		d.Unrecorded = append(d.Unrecorded, f)
		return
	}
	d.Device = provision.Fold(d.Device, f)
	d.since = append(d.since, f)
	d.describe(ctx)
}
