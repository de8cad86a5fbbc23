package store

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"github.com/muster-mdm/muster/provision"
)

// Entrant is a device that is switched on and asks to enroll.
type Entrant struct {
	Device provision.Device
	// ActivationMode is that of the device profile that the device is to have: by_admin, by_user; "" = it is to have none.
	ActivationMode string
	// Department, SupportPhone and SupportEmail are whom people can ask, as the device profile says.
	Department, SupportPhone, SupportEmail string
}

// By the same order as [sweepWanted].
const entrant = `
SELECT d.state, coalesce(p.activation_mode, ''), coalesce(p.fields ->> 'department', ''),
    coalesce(p.fields ->> 'support_phone_number', ''), coalesce(p.fields ->> 'support_email_address', '')
FROM devices d
    LEFT JOIN abm_servers s ON s.name = d.server
    LEFT JOIN LATERAL (
        SELECT g.device_profile
        FROM groups g
        WHERE g.name = ANY (d.group_names) AND g.device_profile IS NOT NULL
        ORDER BY array_position(d.group_names, g.name)
        LIMIT 1
    ) g ON true
    LEFT JOIN device_profiles p ON p.name = coalesce(d.device_profile, g.device_profile, s.default_profile)
WHERE d.serial = $1`

// Entrant reads what decides whether and how a device may enroll. It fails with [provision.DeviceNotFound], also for one that was
// withdrawn.
func (db *DB) Entrant(ctx context.Context, serial string) (Entrant, error) {
	var e Entrant
	err := db.pool.QueryRow(ctx, entrant, serial).Scan(&e.Device, &e.ActivationMode, &e.Department, &e.SupportPhone,
		&e.SupportEmail)
	if errors.Is(err, pgx.ErrNoRows) {
		return e, notKnown(serial)
	}
	if err == nil && e.Device.Withdrawn() {
		return Entrant{}, notKnown(serial)
	}
	return e, translate(err, "reading device "+serial)
}
