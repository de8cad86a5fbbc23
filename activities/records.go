package activities

import (
	"context"

	"github.com/muster-mdm/muster/provision"
)

// Keeper records decisions and facts.
type Keeper interface {
	// Device returns what is recorded of the device.
	Device(ctx context.Context, serial string) (provision.Device, error)
	// Carry checks under the device's lock that the step still applies.
	Carry(ctx context.Context, serial string, step provision.Step) (provision.Device, error)
	// RecordByHand checks that the groups and people that the fact names exist. The same key is recorded once.
	RecordByHand(ctx context.Context, serial, key string, f provision.Fact) (provision.Device, error)
}

// Records is what PostgreSQL keeps of devices. Its activities are single short transactions, run as local activities.
type Records struct{ Keeper Keeper }

// Look returns the device as it is recorded. It changes nothing.
func (r *Records) Look(ctx context.Context, serial string) (provision.Device, error) {
	d, err := r.Keeper.Device(ctx, serial)
	return d, told(ctx, err)
}

// Carry carries out a step that is one transaction: a conclusion, a nudge, the way out of Setup Assistant, the release. A
// retry does no harm: the step no longer applies once it was carried out.
func (r *Records) Carry(ctx context.Context, serial string, step provision.Step) (provision.Device, error) {
	d, err := r.Keeper.Carry(ctx, serial, step)
	return d, told(ctx, err)
}

// Record records a fact that an operator signalled by hand, if it is one that an operator can witness and all that it
// names exists. key names the signal, so that a retry records nothing.
func (r *Records) Record(ctx context.Context, serial, key string, f provision.Fact) (provision.Device, error) {
	f, err := checkByHand(f)
	if err != nil {
		return provision.Device{}, told(ctx, err)
	}
	d, err := r.Keeper.RecordByHand(ctx, serial, key, f)
	return d, told(ctx, err)
}
