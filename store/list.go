package store

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/muster-mdm/muster/provision"
)

// DeviceRow is a device as it is shown: what its facts amount to, and what it and others say of it.
type DeviceRow struct {
	provision.Device
	Information
	// User and Technician are those of the assignment; nil when there is none.
	User, Technician *provision.Person
	// AssignedBy and AssignedFrom are actor and source of the newest assignment.
	AssignedBy   string
	AssignedFrom provision.Source
	// AssignedIn is the import or operation that it was part of, and AssignedLine the row there.
	AssignedIn   string
	AssignedLine int64
	// Others are further people whom the device is about: of an assignment for later, and who signed in.
	Others     []provision.Person
	ExpectedBy *time.Time
	CreatedAt  time.Time
	UpdatedAt  time.Time
	Version    int64
}

// DeviceFilter narrows a list of devices; zero fields don't.
type DeviceFilter struct {
	// Statuses are those that are listed; none = all but withdrawn devices.
	Statuses   []string
	Awaiting   string
	Management string
	Group      string
	// Person is the id of the user or technician.
	Person    string
	Server    string
	BlockedBy string
	// Query is part of a serial number, of a device's name, or of its user's name or e-mail address.
	Query string
	// After is the serial number after which the list begins.
	After string
	Limit int
}

const devices = `
SELECT d.state, d.name, d.model, d.product_name, d.os_version, d.build_version,
    u.id, u.name, u.domain, u.email, u.technician, t.id, t.name, t.domain, t.email, t.technician,
    coalesce(e.actor, ''), coalesce(e.source, ''), coalesce(e.payload ->> 'operation', ''),
    coalesce((e.payload ->> 'line')::bigint, 0), d.expected_by, (
        SELECT jsonb_agg(jsonb_build_object('ID', p.id, 'Name', p.name, 'Domain', p.domain, 'Email', p.email, 'Technician', p.technician))
        FROM people p
        WHERE p.id IN (d.state -> 'planned' ->> 'user_id', d.state -> 'planned' ->> 'technician_id',
            d.state -> 'review' -> 'signed_in' ->> 'user_id')
    ), d.created_at, d.updated_at, d.version
FROM devices d
    LEFT JOIN people u ON u.id = d.user_id
    LEFT JOIN people t ON t.id = d.technician_id
    LEFT JOIN device_events e ON e.id = (d.state -> 'assignment_mark' ->> 'by')::bigint
WHERE `

func scanDevice(row pgx.CollectableRow) (DeviceRow, error) {
	var r DeviceRow
	var u, t nullPerson
	err := row.Scan(&r.Device, &r.Name, &r.Model, &r.ProductName, &r.OSVersion, &r.BuildVersion,
		&u.id, &u.name, &u.domain, &u.email, &u.technician, &t.id, &t.name, &t.domain, &t.email, &t.technician,
		&r.AssignedBy, &r.AssignedFrom, &r.AssignedIn, &r.AssignedLine, &r.ExpectedBy, &r.Others, &r.CreatedAt, &r.UpdatedAt, &r.Version)
	r.User, r.Technician = u.person(), t.person()
	return r, err
}

// Person is one of the people whom the device is about; nil when it is nobody.
func (r DeviceRow) Person(id string) *provision.Person {
	for _, p := range []*provision.Person{r.User, r.Technician} {
		if p != nil && p.ID == id {
			return p
		}
	}
	for i := range r.Others {
		if r.Others[i].ID == id {
			return &r.Others[i]
		}
	}
	return nil
}

type nullPerson struct {
	id, name, domain, email *string
	technician              *bool
}

func (n nullPerson) person() *provision.Person {
	if n.id == nil {
		return nil
	}
	return &provision.Person{ID: *n.id, Name: *n.name, Domain: *n.domain, Email: *n.email, Technician: *n.technician}
}

// conditions says what the filter asks for; the texts are constants, so that each combination is planned by itself.
func (f DeviceFilter) conditions() string {
	where := []string{`d.serial > @after`}
	add := func(given bool, condition string) {
		if given {
			where = append(where, condition)
		}
	}
	add(len(f.Statuses) > 0, `d.status = ANY (@statuses)`)
	add(len(f.Statuses) == 0, `d.status <> 'Withdrawn'`)
	add(f.Awaiting != "", `d.awaiting @> ARRAY[@awaiting::text]`)
	add(f.Management != "", `d.management = @management`)
	add(f.Group != "", `d.group_names @> ARRAY[@group::text]`)
	add(f.Person != "", `(d.user_id = @person OR d.technician_id = @person)`)
	add(f.Server != "", `d.server = @server`)
	add(f.BlockedBy != "", `d.blocked_by = @blocked_by`)
	add(f.Query != "", `(d.serial LIKE upper(@pattern) OR d.name ILIKE @pattern OR u.name ILIKE @pattern OR u.email ILIKE @pattern)`)
	return strings.Join(where, " AND ")
}

func (f DeviceFilter) args() pgx.NamedArgs {
	return pgx.NamedArgs{
		"after": f.After, "statuses": f.Statuses, "awaiting": f.Awaiting, "management": f.Management, "group": f.Group,
		"person": f.Person, "server": f.Server, "blocked_by": f.BlockedBy, "pattern": pattern(f.Query), "limit": f.Limit,
	}
}

// Devices lists devices by serial number.
func (db *DB) Devices(ctx context.Context, f DeviceFilter) ([]DeviceRow, error) {
	rows, err := db.pool.Query(ctx, devices+f.conditions()+` ORDER BY d.serial LIMIT @limit`, f.args())
	if err != nil {
		return nil, translate(err, "listing devices")
	}
	list, err := pgx.CollectRows(rows, scanDevice)
	return list, translate(err, "listing devices")
}

// DeviceRow returns a device as it is shown. It fails with [provision.DeviceNotFound].
func (db *DB) DeviceRow(ctx context.Context, serial string) (DeviceRow, error) {
	rows, err := db.pool.Query(ctx, devices+`d.serial = $1`, serial)
	if err != nil {
		return DeviceRow{}, translate(err, "reading device "+serial)
	}
	r, err := pgx.CollectExactlyOneRow(rows, scanDevice)
	if errors.Is(err, pgx.ErrNoRows) {
		return r, notKnown(serial)
	}
	return r, translate(err, "reading device "+serial)
}
