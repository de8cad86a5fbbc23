package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/muster-mdm/muster/provision"
)

// byConstraint says what the breach of a named constraint means to people.
var byConstraint = map[string]*provision.Error{
	"devices_serial_form":         provision.Errorf(provision.SerialInvalid, "The serial number has a form that Apple doesn't use."),
	"devices_user_exists":         provision.Errorf(provision.NotFound, "The user does not exist any more."),
	"devices_technician_exists":   provision.Errorf(provision.TechnicianNotFound, "The technician does not exist any more."),
	"groups_name_form":            provision.Errorf(provision.GroupNameInvalid, "The group name is empty or contains \"/\"."),
	"groups_pkey":                 provision.Errorf(provision.AlreadyExists, "A group of that name exists already."),
	"groups_name_once":            provision.Errorf(provision.AlreadyExists, "A group of that name exists already, spelled in other letter case."),
	"configurations_pkey":         provision.Errorf(provision.AlreadyExists, "A configuration of that name exists already."),
	"documents_pkey":              provision.Errorf(provision.AlreadyExists, "A document of that name exists already."),
	"group_items_document":        provision.Errorf(provision.InUse, "A group brings a document that does not exist, or the document is still in a group."),
	"document_files_size":         provision.Errorf(provision.PayloadTooLarge, "The document is larger than 256 MiB."),
	"apps_pkey":                   provision.Errorf(provision.AlreadyExists, "An app of that name exists already."),
	"group_items_configuration":   provision.Errorf(provision.InUse, "A group brings a configuration that does not exist, or the configuration is still in a group."),
	"group_items_app":             provision.Errorf(provision.InUse, "A group brings an app that does not exist, or the app is still in a group."),
	"group_items_once":            provision.Errorf(provision.Invalid, "The group lists the same item twice."),
	"people_account":              provision.Errorf(provision.AlreadyExists, "A user of that name exists in that domain already."),
	"device_profiles_pkey":        provision.Errorf(provision.AlreadyExists, "A device profile of that name exists already."),
	"devices_profile":             provision.Errorf(provision.InUse, "The device profile is still that of a device; give the device another one first."),
	"groups_profile":              provision.Errorf(provision.InUse, "The device profile is still that of a group; give the group another one first."),
	"abm_servers_profile":         provision.Errorf(provision.InUse, "The device profile is still the default of an ABM server; give the server another one first."),
	"abm_servers_consumer":        provision.Errorf(provision.AlreadyExists, "Another ABM server is linked with the same MDM server at Apple already."),
	"abm_servers_pkey":            provision.Errorf(provision.AlreadyExists, "An ABM server of that name exists already."),
	"abm_servers_name_form":       provision.Errorf(provision.Invalid, "The name of an ABM server is made of up to 63 lower-case letters, digits and hyphens."),
	"directories_domain":          provision.Errorf(provision.AlreadyExists, "Another directory has this domain already; each domain has one.").At("domain"),
	"directories_pkey":            provision.Errorf(provision.AlreadyExists, "A directory of that name exists already."),
	"directories_name_form":       provision.Errorf(provision.Invalid, "The name of a directory is made of up to 63 lower-case letters, digits and hyphens.").At("name"),
	"directory_groups_group":      provision.Errorf(provision.InUse, "The group does not exist, or a directory still brings it to its members."),
	"configuration_contents_size": provision.Errorf(provision.ConfigurationBad, "The configuration is empty or larger than 5 MiB."),
}

// Codes of PostgreSQL (its documentation, appendix A).
const (
	deadlockDetected     = "40P01"
	serializationFailure = "40001"
	uniqueViolation      = "23505"
	undefinedTable       = "42P01"
	undefinedColumn      = "42703"
)

// LacksSchema reports whether err comes from a database that lacks a table or column: its schema wasn't brought up to date.
func LacksSchema(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && (pg.Code == undefinedTable || pg.Code == undefinedColumn)
}

// lostRace reports whether the transaction failed only because of another one at the same time.
func lostRace(err error) bool {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) {
		return false
	}
	return pg.Code == deadlockDetected || pg.Code == serializationFailure ||
		pg.Code == uniqueViolation && pg.ConstraintName == "devices_udid"
}

// unavailable reports whether PostgreSQL can't work now: unreachable, starting, stopping, or out of connections or space.
func unavailable(err error) bool {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return strings.HasPrefix(pg.Code, "08") || strings.HasPrefix(pg.Code, "53") || strings.HasPrefix(pg.Code, "57P")
	}
	if errors.Is(err, context.Canceled) {
		return false
	}
	var connect *pgconn.ConnectError
	var netErr net.Error
	return errors.As(err, &connect) || errors.As(err, &netErr) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF)
}

// translate turns a driver's error into one for people where it has a meaning, and wraps it otherwise.
func translate(err error, doing string) error {
	if err == nil {
		return nil
	}
	var own *provision.Error
	if errors.As(err, &own) {
		return err
	}
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		if known, ok := byConstraint[pg.ConstraintName]; ok {
			return known
		}
	}
	if unavailable(err) {
		return fmt.Errorf("%s: %w", doing, errors.Join(provision.Errorf(provision.StorageUnavailable, "The database can't be reached; try again shortly."), err))
	}
	return fmt.Errorf("%s: %w", doing, err)
}
