package store

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/muster-mdm/muster/provision"
)

// Encoder writes a command as the XML property list that NanoMDM queues.
type Encoder func(provision.Order) ([]byte, error)

// commandSpace is the UUID name space of our CommandUUIDs.
var commandSpace = uuid.NewSHA1(uuid.NameSpaceURL, []byte("https://github.com/muster-mdm/muster#command"))

// CommandUUID derives the UUID of a command from what it is, so that a repeated activity can't send it twice.
func CommandUUID(serial string, epoch int, c provision.Command) string {
	parts := []string{serial, strconv.Itoa(epoch), string(c.Type), c.Item.String(), strconv.Itoa(c.Version), strconv.Itoa(c.Attempt)}
	return strings.ToUpper(uuid.NewSHA1(commandSpace, []byte(strings.Join(parts, "|"))).String())
}

const insertDeviceCommand = `
INSERT INTO device_commands (command_uuid, serial, epoch, request_type, kind, name, version, attempt, identifiers, created_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
ON CONFLICT DO NOTHING`

// The queue is written in our own transaction, so that a plan and its commands are stored together or not at all.
const insertCommand = `
INSERT INTO nanomdm.commands (command_uuid, request_type, command)
VALUES ($1, $2, $3)
ON CONFLICT DO NOTHING`

// NanoMDM orders a queue by created_at, which defaults to the transaction's time: the same for all of ours.
const insertQueue = `
INSERT INTO nanomdm.enrollment_queue (id, command_uuid, created_at)
VALUES ($1, $2, clock_timestamp()::timestamp + $3::interval)
ON CONFLICT DO NOTHING`

// unwritable says in words why the command of an item could not be written.
type unwritable map[provision.ItemKey]string

// queueCommands writes the commands into the device's queue. A command of a plan's item that can't be written (its
// content is gone or bad) is left out and named, so that one bad item doesn't keep the others from the device.
func (c *Change) queueCommands(ctx context.Context, commands []provision.Command) (unwritable, error) {
	if len(commands) == 0 {
		return nil, nil
	}
	if c.udid == "" {
		return nil, fmt.Errorf("queueing commands: device %s has no UDID", c.Device.Serial)
	}
	contents, err := c.contents(ctx, commands)
	if err != nil {
		return nil, err
	}
	left := unwritable{}
	for i, cmd := range commands {
		order, there := contents.order(cmd)
		if !there {
			left[cmd.Item] = "It was deleted from the catalog before it could be sent."
			continue
		}
		order.UUID = CommandUUID(c.Device.Serial, c.Device.Activation.Epoch, cmd)
		raw, err := c.db.encode(order)
		if err != nil && cmd.Item.Kind == provision.BuiltinItem {
			return nil, fmt.Errorf("writing %s: %w", cmd.Type, err)
		}
		if err != nil {
			left[cmd.Item] = "Its command can't be written: " + err.Error()
			continue
		}
		c.queueCommand(order, raw, i)
	}
	return left, nil
}

// queueCommand has a command written with the device, as the n-th of those that are queued together.
func (c *Change) queueCommand(order provision.Order, raw []byte, n int) {
	cmd := order.Command
	c.later.Queue(insertDeviceCommand, order.UUID, c.Device.Serial, c.Device.Activation.Epoch, cmd.Type, cmd.Item.Kind,
		cmd.Item.Name, cmd.Version, cmd.Attempt, notNil(cmd.Identifiers), c.now)
	c.later.Queue(insertCommand, order.UUID, cmd.Type, string(raw))
	c.later.Queue(insertQueue, c.udid, order.UUID, time.Duration(n)*time.Microsecond)
}

// contents are what install commands carry.
type contents struct {
	profiles  map[itemContent][]byte
	apps      map[string]provision.Order
	documents map[itemContent]provision.DocumentSource
}

// itemContent is one content of a configuration or a document.
type itemContent struct {
	name    string
	content int
}

const configurationContents = `
SELECT c.name, c.content, c.payload
FROM unnest($1::text[], $2::integer[]) AS wanted (name, content)
    JOIN configuration_contents c USING (name, content)`

const appSources = `
SELECT name, coalesce(manifest_url, ''), coalesce(store_id, 0)
FROM apps
WHERE name = ANY ($1)`

func (c *Change) contents(ctx context.Context, commands []provision.Command) (contents, error) {
	found := contents{map[itemContent][]byte{}, map[string]provision.Order{}, map[itemContent]provision.DocumentSource{}}
	var profiles, apps, documents []string
	var versions, documentVersions []int
	for _, cmd := range commands {
		switch cmd.Type {
		case provision.InstallProfile:
			profiles, versions = append(profiles, cmd.Item.Name), append(versions, cmd.Version)
		case provision.InstallApplication:
			apps = append(apps, cmd.Item.Name)
		case provision.InstallMedia:
			documents, documentVersions = append(documents, cmd.Item.Name), append(documentVersions, cmd.Version)
		case provision.RemoveProfile, provision.ProfileList, provision.RemoveApplication, provision.ManagedApplicationList,
			provision.RemoveMedia, provision.ManagedMediaList, provision.DeviceInformationQuery, provision.DeviceConfigured:
		}
	}
	batch := &pgx.Batch{}
	if len(profiles) > 0 {
		batch.Queue(configurationContents, profiles, versions).Query(func(rows pgx.Rows) error {
			var p itemContent
			var payload []byte
			_, err := pgx.ForEachRow(rows, []any{&p.name, &p.content, &payload}, func() error {
				found.profiles[p], payload = payload, nil
				return nil
			})
			return err
		})
	}
	if len(apps) > 0 {
		batch.Queue(appSources, apps).Query(func(rows pgx.Rows) error {
			var name string
			var o provision.Order
			_, err := pgx.ForEachRow(rows, []any{&name, &o.ManifestURL, &o.StoreID}, func() error {
				found.apps[name] = o
				return nil
			})
			return err
		})
	}
	if len(documents) > 0 {
		batch.Queue(documentSources, documents, documentVersions).Query(func(rows pgx.Rows) error {
			return c.collectDocuments(rows, found.documents)
		})
	}
	if batch.Len() == 0 {
		return found, nil
	}
	if err := c.tx.SendBatch(ctx, batch).Close(); err != nil {
		return found, fmt.Errorf("reading what to install: %w", err)
	}
	return found, nil
}

func (c contents) order(cmd provision.Command) (provision.Order, bool) {
	order, there := provision.Order{}, true
	switch cmd.Type {
	case provision.InstallProfile:
		order.Payload, there = c.profiles[itemContent{cmd.Item.Name, cmd.Version}]
	case provision.InstallApplication:
		order, there = c.apps[cmd.Item.Name]
	case provision.InstallMedia:
		order.Document, there = c.documents[itemContent{cmd.Item.Name, cmd.Version}]
	case provision.RemoveProfile, provision.ProfileList, provision.RemoveApplication, provision.ManagedApplicationList,
		provision.RemoveMedia, provision.ManagedMediaList, provision.DeviceInformationQuery, provision.DeviceConfigured:
	}
	order.Command = cmd
	return order, there
}

// A device that answered NotNow gets a command again after those queued later. A superseded install or removal must not
// come back then and undo its successor.
const supersede = `
WITH stale AS (
    UPDATE device_commands c
    SET status = 'Superseded', answered_at = $4
    WHERE c.serial = $1 AND c.epoch = $2 AND c.status IN ('', 'NotNow')
        AND c.request_type IN ('InstallProfile', 'InstallApplication', 'RemoveProfile', 'RemoveApplication', 'InstallMedia', 'RemoveMedia',
            'DeviceInformation')
        AND (c.kind, c.name) <> ('builtin', 'identity_renewal') -- which belongs to no plan
        AND NOT EXISTS (
            SELECT
            FROM plan_items p
            WHERE p.serial = c.serial AND p.epoch = c.epoch AND p.kind = c.kind AND p.name = c.name AND p.attempt = c.attempt
        )
    RETURNING command_uuid
)
UPDATE nanomdm.enrollment_queue q
SET active = false
FROM stale
WHERE q.id = $3 AND q.command_uuid = stale.command_uuid`

// SentCommand is a command as it was queued and answered.
type SentCommand struct {
	UUID    string
	Serial  string
	Epoch   int
	Command provision.Command
	// Status is "" before any answer.
	Status provision.AnswerStatus
}

// Answered reports whether the last word on the command was spoken; a command that a newer one superseded has none.
func (s SentCommand) Answered() bool { return s.Status != "" && s.Status.Final() }

const sentCommand = `
SELECT command_uuid, serial, epoch, request_type, kind, name, version, attempt, identifiers, status
FROM device_commands
WHERE command_uuid = $1`

// SentCommand finds a command by its UUID. It fails with [provision.UnknownCommand].
func (db *DB) SentCommand(ctx context.Context, commandUUID string) (SentCommand, error) {
	var s SentCommand
	err := db.pool.QueryRow(ctx, sentCommand, commandUUID).Scan(s.columns()...)
	return s, s.found(err, commandUUID)
}

func (s *SentCommand) columns() []any {
	return []any{
		&s.UUID, &s.Serial, &s.Epoch, &s.Command.Type, &s.Command.Item.Kind, &s.Command.Item.Name,
		&s.Command.Version, &s.Command.Attempt, &s.Command.Identifiers, &s.Status,
	}
}

func (s *SentCommand) found(err error, commandUUID string) error {
	if errors.Is(err, pgx.ErrNoRows) {
		return provision.Errorf(provision.UnknownCommand, "Command %.64q was never sent by this server.", commandUUID)
	}
	return translate(err, "reading command")
}
