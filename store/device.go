package store

import (
	"context"
	"errors"

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
SET udid = $2
WHERE serial = $1 AND udid IS DISTINCT FROM $2`

const freeUDID = `
UPDATE devices
SET udid = NULL
WHERE udid = $2 AND serial <> $1`

// SetUDID notes the enrollment id under which NanoMDM knows the device. A main board that moved into another case takes
// its UDID along, so whichever device had it before loses it.
func (c *Change) SetUDID(ctx context.Context, udid string) error {
	if c.udid == udid {
		return nil
	}
	if _, err := c.tx.Exec(ctx, freeUDID, c.Device.Serial, udid); err != nil {
		return err
	}
	if _, err := c.tx.Exec(ctx, setUDID, c.Device.Serial, udid); err != nil {
		return err
	}
	c.udid = udid
	return nil
}

// UDID is the enrollment id of the device in NanoMDM; "" before its first Authenticate.
func (c *Change) UDID() string { return c.udid }

// SaveInformation notes what the device says of itself.
func (c *Change) SaveInformation(ctx context.Context, i Information) error {
	return c.saveInformation(ctx, i)
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
