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

func (c *Change) queueCommands(ctx context.Context, batch *pgx.Batch, commands []provision.Command) error {
	if len(commands) == 0 {
		return nil
	}
	if c.udid == "" {
		return fmt.Errorf("queueing commands: device %s has no UDID", c.Device.Serial)
	}
	for i, cmd := range commands {
		order, err := c.order(ctx, cmd)
		if err != nil {
			return err
		}
		raw, err := c.db.encode(order)
		if err != nil {
			return fmt.Errorf("writing %s for %s: %w", cmd.Type, cmd.Item, err)
		}
		batch.Queue(insertDeviceCommand, order.UUID, c.Device.Serial, c.Device.Activation.Epoch, cmd.Type, cmd.Item.Kind,
			cmd.Item.Name, cmd.Version, cmd.Attempt, notNil(cmd.Identifiers), c.now)
		batch.Queue(insertCommand, order.UUID, cmd.Type, string(raw))
		batch.Queue(insertQueue, c.udid, order.UUID, time.Duration(i)*time.Microsecond)
	}
	return nil
}

const configurationContent = `
SELECT payload
FROM configuration_contents
WHERE name = $1 AND content = $2`

const appSource = `
SELECT coalesce(manifest_url, ''), coalesce(store_id, 0)
FROM apps
WHERE name = $1`

func (c *Change) order(ctx context.Context, cmd provision.Command) (provision.Order, error) {
	o := provision.Order{UUID: CommandUUID(c.Device.Serial, c.Device.Activation.Epoch, cmd), Command: cmd}
	var err error
	switch cmd.Type {
	case provision.InstallProfile:
		err = c.tx.QueryRow(ctx, configurationContent, cmd.Item.Name, cmd.Version).Scan(&o.Payload)
	case provision.InstallApplication:
		err = c.tx.QueryRow(ctx, appSource, cmd.Item.Name).Scan(&o.ManifestURL, &o.StoreID)
	case provision.RemoveProfile, provision.ProfileList, provision.RemoveApplication, provision.ManagedApplicationList,
		provision.DeviceInformationQuery, provision.DeviceConfigured:
	}
	if err != nil {
		return o, fmt.Errorf("reading %s version %d: %w", cmd.Item, cmd.Version, err)
	}
	return o, nil
}

// SentCommand is a command as it was queued and answered.
type SentCommand struct {
	UUID    string
	Serial  string
	Epoch   int
	Command provision.Command
	// Status is "" before any answer.
	Status provision.AnswerStatus
}

// Answered reports whether the last word on the command was spoken.
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
	return []any{&s.UUID, &s.Serial, &s.Epoch, &s.Command.Type, &s.Command.Item.Kind, &s.Command.Item.Name,
		&s.Command.Version, &s.Command.Attempt, &s.Command.Identifiers, &s.Status}
}

func (s *SentCommand) found(err error, commandUUID string) error {
	if errors.Is(err, pgx.ErrNoRows) {
		return provision.Errorf(provision.UnknownCommand, "Command %.64q was never sent by this server.", commandUUID)
	}
	return translate(err, "reading command")
}
