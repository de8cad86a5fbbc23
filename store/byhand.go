package store

import (
	"context"
	"fmt"

	"github.com/muster-mdm/muster/provision"
)

const signalRecorded = `
SELECT EXISTS (SELECT FROM device_events WHERE serial = $1 AND signal_key = $2)`

const nameSignal = `
UPDATE device_events
SET signal_key = $2
WHERE id = $1`

// RecordByHand records a fact that an operator signalled to the workflow himself; it is not delivered again. The kind and
// its fields were checked; here the groups and people that it names must exist. key names the signal: a second call with
// it records nothing, else it would override what happened in between. It fails with [provision.GroupNotFound],
// [provision.NotFound], [provision.TechnicianNotFound], [provision.DeviceNotFound], [provision.DeviceReleased] and
// [provision.ReleaseBegun], and then records nothing.
func (db *DB) RecordByHand(ctx context.Context, serial, key string, f provision.Fact) (provision.Device, error) {
	return db.transact(ctx, "recording a signal to device "+serial, func(c *Change) error {
		// The groups are locked before the device, as catalog edits do.
		if f.Assignment != nil {
			assignment, err := c.existing(ctx, *f.Assignment)
			if err != nil {
				return err
			}
			f.Assignment = &assignment
		}
		if err := c.lock(ctx, serial, false); err != nil {
			return err
		}
		var recorded bool
		if err := c.tx.QueryRow(ctx, signalRecorded, serial, key).Scan(&recorded); err != nil || recorded {
			return err
		}
		if c.Device.Over() {
			return provision.Errorf(provision.DeviceReleased, "Device %s was released; nothing more can happen to it.", serial)
		}
		if c.Device.Withdrawn() && !f.Kind.Begins() {
			return c.Device.CheckChange()
		}
		if f.Kind == provision.CancelRelease {
			if err := c.Device.CheckCancel(); err != nil {
				return err
			}
			c.DropABMDuty(provision.ReleaseDevice)
		}
		fact, err := c.RecordDelivered(ctx, f)
		if err != nil {
			return err
		}
		if _, err := c.tx.Exec(ctx, nameSignal, fact.ID, key); err != nil || f.Kind != provision.CheckedOut {
			return err
		}
		return c.RevokeIdentities(ctx)
	})
}

const peopleThere = `
SELECT EXISTS (SELECT FROM people WHERE id = $1),
    EXISTS (SELECT FROM people WHERE id = $2 AND technician)`

// existing returns the assignment with its groups as they are spelled in the store.
func (c *Change) existing(ctx context.Context, a provision.Assignment) (provision.Assignment, error) {
	var err error
	if a.Groups, err = existingGroups(ctx, c.tx, a.Groups); err != nil {
		return a, err
	}
	var user, technician bool
	if err := c.tx.QueryRow(ctx, peopleThere, a.UserID, a.TechnicianID).Scan(&user, &technician); err != nil {
		return a, fmt.Errorf("reading the people: %w", err)
	}
	switch {
	case a.UserID != "" && !user:
		return a, provision.Errorf(provision.NotFound, "User %q does not exist.", a.UserID).At("user_id")
	case a.TechnicianID != "" && !technician:
		return a, provision.Errorf(provision.TechnicianNotFound, "Technician %q does not exist.", a.TechnicianID).At("technician_id")
	}
	return a, nil
}
