package store

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/muster-mdm/muster/provision"
)

// ABMListing is what a server said of a device last, in Apple's words.
type ABMListing struct {
	Server string
	// Listed is false once the server lists the device no more, since GoneAt.
	Listed                                                      bool
	Model, Description, Color, AssetTag, Family, OS, AssignedBy string
	AssignedAt                                                  *time.Time

	ProfileUUID   string
	ProfileStatus string
	// Profile is the device profile that was defined at the server under ProfileUUID; "" = it is none of Muster's.
	Profile           string
	ProfileAssignedAt *time.Time
	ProfilePushedAt   *time.Time

	OpType string
	OpDate *time.Time
	SeenAt time.Time
	GoneAt *time.Time
	// Settled is false while it isn't known what the device's absence means.
	Settled bool
	// Source and AddedAt are the Business API's: how the device came into the organisation, and when.
	Source  string
	AddedAt *time.Time
}

const abmListings = `
SELECT a.server, a.listed, a.model, a.description, a.color, a.asset_tag, a.family, a.os, a.assigned_by, a.assigned_at,
    a.profile_uuid, a.profile_status,
    coalesce((
        SELECT f.profile
        FROM device_profile_definitions f
        WHERE f.server = a.server AND f.uuid = a.profile_uuid AND f.uuid <> ''
        LIMIT 1), ''),
    a.profile_assigned_at, a.profile_pushed_at, a.op_type, a.op_date, a.seen_at, a.gone_at, a.settled, a.source, a.added_at
FROM abm_devices a
WHERE a.serial = $1
ORDER BY a.listed DESC, a.server`

// ProfileSource says by what a device gets its device profile.
type ProfileSource string

// Sources, the first that has a profile counts.
const (
	ByDevice ProfileSource = "device"
	ByGroup  ProfileSource = "group"
	ByServer ProfileSource = "server"
)

// WantedProfile is the device profile that a device should be set up by; the zero value is none.
type WantedProfile struct {
	Name string
	By   ProfileSource
	// Of names the group or the server; "" of a device's own.
	Of string
}

const wantedProfile = `
SELECT coalesce(d.device_profile, ''), coalesce(g.device_profile, ''), coalesce(g.name, ''), coalesce(s.default_profile, ''),
    d.server
FROM devices d
    LEFT JOIN abm_servers s ON s.name = d.server
    ` + profileOfGroups + `
WHERE d.serial = $1`

// ABMView is all that is known of a device in Apple Business Manager.
type ABMView struct {
	Device   provision.Device
	Listings []ABMListing
	Duties   []ABMDuty
	Wanted   WantedProfile
	// FirstEnrolledAt is when the device enrolled for the first time since it was added by hand; nil for other devices.
	FirstEnrolledAt *time.Time
}

// AddedByHand returns what a server says that lists the device and knows it to be added with Apple Configurator; nil when
// none does.
func (v ABMView) AddedByHand() *ABMListing {
	for i, l := range v.Listings {
		if l.Listed && l.Source == provision.AddedByHand {
			return &v.Listings[i]
		}
	}
	return nil
}

// ABMView returns what is known of a device in Apple Business Manager. It fails with [provision.DeviceNotFound].
func (db *DB) ABMView(ctx context.Context, serial string) (ABMView, error) {
	var v ABMView
	var err error
	if v.Device, err = db.Device(ctx, serial); err != nil {
		return v, err
	}
	rows, err := db.pool.Query(ctx, abmListings, serial)
	if err != nil {
		return v, translate(err, "reading what ABM servers say of "+serial)
	}
	if v.Listings, err = pgx.CollectRows(rows, pgx.RowToStructByPos[ABMListing]); err != nil {
		return v, translate(err, "reading what ABM servers say of "+serial)
	}
	if v.Duties, err = db.ABMDutiesOf(ctx, serial); err != nil {
		return v, err
	}
	if v.Wanted, err = db.wantedProfile(ctx, serial); err != nil {
		return v, err
	}
	if l := v.AddedByHand(); l != nil {
		v.FirstEnrolledAt, err = db.firstEnrolled(ctx, serial, l.AddedAt)
	}
	return v, err
}

func (db *DB) wantedProfile(ctx context.Context, serial string) (WantedProfile, error) {
	var own, ofGroup, group, ofServer, server string
	err := db.pool.QueryRow(ctx, wantedProfile, serial).Scan(&own, &ofGroup, &group, &ofServer, &server)
	if err != nil {
		return WantedProfile{}, translate(err, "reading which device profile "+serial+" should have")
	}
	switch {
	case own != "":
		return WantedProfile{Name: own, By: ByDevice}, nil
	case ofGroup != "":
		return WantedProfile{Name: ofGroup, By: ByGroup, Of: group}, nil
	case ofServer != "":
		return WantedProfile{Name: ofServer, By: ByServer, Of: server}, nil
	}
	return WantedProfile{}, nil
}

const firstEnrolled = `
SELECT created_at
FROM device_events
WHERE serial = $1 AND kind = 'activated' AND ($2::timestamptz IS NULL OR created_at >= $2)
ORDER BY id
LIMIT 1`

func (db *DB) firstEnrolled(ctx context.Context, serial string, since *time.Time) (*time.Time, error) {
	var at time.Time
	err := db.pool.QueryRow(ctx, firstEnrolled, serial, since).Scan(&at)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil //nolint:nilnil // no time is the answer
	}
	return &at, translate(err, "reading when "+serial+" enrolled first")
}
