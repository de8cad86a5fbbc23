// Package environment makes a throw-away Muster with all that surrounds it: PostgreSQL, Temporal, a virtual push service,
// and muster's own processes, which can be killed and started again at any moment. Nothing of it outlives the program that
// made it.
package environment

import (
	"io"
	"net/http"
	"time"

	"github.com/muster-mdm/muster/devstack"
	"github.com/muster-mdm/muster/devstack/directories"
	"github.com/muster-mdm/muster/sim"
)

// The variables by which a runner of tests shares its servers; see devstack/stacktest.
const (
	sharedPostgres = "MUSTER_TEST_POSTGRES"
	sharedTemporal = "MUSTER_TEST_TEMPORAL"
)

// Config describes an environment; its zero value is a complete one with private servers.
type Config struct {
	// Muster is the command line that runs muster; empty: the running program itself.
	Muster []string
	// Variables are added to the environment of muster's processes, over the settings that suit virtual devices.
	Variables map[string]string
	// Private makes servers that nobody shares, even where a runner of tests offers its own: what is stopped, killed or
	// measured must be.
	Private bool
	// Durable keeps every commit on disk, as production does; else speed comes first.
	Durable bool
	// Keep leaves the folder with logs and data behind.
	Keep bool
	// Front, when set, stands between the devices and muster.
	Front func(http.Handler) http.Handler
	// Push is the virtual push service.
	Push sim.APNsConfig
	// PortalSeed decides what the virtual Apple Business Manager leaves to chance.
	PortalSeed uint64
	// Accounts are those of a directory, an OpenLDAP server, to sign in against; there is one if there are any.
	Accounts []directories.Account
	// Logs receives what muster's processes log; nil: only their files do.
	Logs     io.Writer
	Progress devstack.Progress
}

// patience bounds what is waited for while servers start; installing and building what is missing may take long.
const (
	buildPatience = 20 * time.Minute
	readyPatience = time.Minute
)

// settings suit devices that answer within milliseconds. Retries are many and close together: a device that recovers is
// there soon, and one that never does is stuck soon.
func settings() map[string]string {
	return map[string]string{
		"MUSTER_LOG_FORMAT":    "json",
		"MUSTER_ORGANIZATION":  "Rehearsal",
		"MUSTER_SETUP_HOLD":    "10s",
		"MUSTER_RETRY_AFTER":   "500ms,500ms,1s,1s,1s,1s",
		"MUSTER_NUDGE_AFTER":   "10s,20s",
		"MUSTER_POLL_FIRST":    "500ms",
		"MUSTER_POLL_MOST":     "2s",
		"MUSTER_REPUSH_FIRST":  "2s",
		"MUSTER_REPUSH_MOST":   "10s",
		"MUSTER_NOT_NOW_PAUSE": "1s",
		"MUSTER_RELEASE_DELAY": "1s",
	}
}
