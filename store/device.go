package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/muster-mdm/muster/provision"
)

const deviceState = `
SELECT state
FROM devices
WHERE serial = $1`

// Device returns what the facts of a device amount to. It fails with [provision.DeviceNotFound].
func (db *DB) Device(ctx context.Context, serial string) (provision.Device, error) {
	var d provision.Device
	err := db.pool.QueryRow(ctx, deviceState, serial).Scan(&d)
	if errors.Is(err, pgx.ErrNoRows) {
		return d, notKnown(serial)
	}
	return d, translate(err, "reading device "+serial)
}

const setUDID = `
UPDATE devices
SET udid = nullif($2, '')
WHERE serial = $1`

const holderOfUDID = `
SELECT serial
FROM devices
WHERE udid = $1 AND serial <> $2`

// SetUDID notes the enrollment id under which NanoMDM knows the device. A main board that moved into another case takes
// its UDID along, so whichever device had it before loses it, and its enrollment has ended with that.
func (c *Change) SetUDID(ctx context.Context, udid string) error {
	if c.udid == udid {
		return nil
	}
	var holder string
	err := c.tx.QueryRow(ctx, holderOfUDID, udid, c.Device.Serial).Scan(&holder)
	if err == nil {
		err = c.takeUDID(ctx, holder, udid)
	}
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return fmt.Errorf("taking the UDID from another device: %w", err)
	}
	if _, err := c.tx.Exec(ctx, setUDID, c.Device.Serial, udid); err != nil {
		return fmt.Errorf("noting the UDID: %w", err)
	}
	c.udid = udid
	return nil
}

func (c *Change) takeUDID(ctx context.Context, holder, udid string) error {
	other := &Change{db: c.db, tx: c.tx, priority: c.priority}
	if err := other.lock(ctx, holder, false); err != nil {
		return err
	}
	if other.udid != udid {
		return nil // it gave the UDID up while we waited for its row
	}
	if _, err := c.tx.Exec(ctx, setUDID, holder, ""); err != nil {
		return err
	}
	if d := other.Device; d.Active() && !d.Over() {
		ended := provision.Fact{
			Kind: provision.CheckedOut, Epoch: d.Activation.Epoch, Source: provision.FromDevice,
			Reason: "Device " + c.Device.Serial + " enrolled under this one's UDID.",
		}
		if _, err := other.Record(ctx, ended); err != nil {
			return err
		}
		if err := other.RevokeIdentities(ctx); err != nil {
			return err
		}
	}
	other.pushIn(-1)
	other.pollAt(time.Time{})
	return other.save(ctx)
}

// UDID is the enrollment id of the device in NanoMDM; "" before its first Authenticate.
func (c *Change) UDID() string { return c.udid }

// SaveInformation notes what the device says of itself.
func (c *Change) SaveInformation(ctx context.Context, i Information) error {
	c.queueInformation(i)
	return c.flush(ctx)
}

const setExpected = `
UPDATE devices
SET expected_by = $2,
    expected_alerted = false
WHERE serial = $1 AND expected_by IS DISTINCT FROM $2`

// Expect notes the day by which a device that isn't there yet shall be.
func (c *Change) Expect(by time.Time) {
	c.later.Queue(setExpected, c.Device.Serial, &by)
}

const serialOfUDID = `
SELECT serial
FROM devices
WHERE udid = $1`

// SerialOf returns the serial number of the device enrolled under a UDID. It fails with [provision.DeviceNotFound].
func (db *DB) SerialOf(ctx context.Context, udid string) (string, error) {
	var serial string
	err := db.pool.QueryRow(ctx, serialOfUDID, udid).Scan(&serial)
	if errors.Is(err, pgx.ErrNoRows) {
		return "", provision.Errorf(provision.DeviceNotFound, "No device is enrolled under the identifier %.64q.", udid)
	}
	return serial, translate(err, "reading a device by its UDID")
}
