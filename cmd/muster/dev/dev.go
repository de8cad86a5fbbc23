// Package dev is muster dev: everything Muster needs on one machine, with virtual devices that really enrol, for a first
// look and for development.
package dev

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/muster-mdm/muster/cmd/muster/serve"
	"github.com/muster-mdm/muster/cmd/muster/settings"
	"github.com/muster-mdm/muster/devstack"
	"github.com/muster-mdm/muster/devstack/directories"
	"github.com/muster-mdm/muster/directory"
)

// options are the flags of muster dev.
type options struct {
	dir         string
	listen      string
	listenGiven bool // by --listen, and not its default
	devices     int
	seed        uint64
	plain       bool
	until       string
	directory   func(context.Context, devstack.Progress, ...directories.Account) (*directories.Slapd, error)
	spread      time.Duration // devices are assigned and switched on within it, and install apps at that pace
}

// Command is muster dev.
func Command() *cobra.Command {
	o := options{spread: 8 * time.Second, directory: directories.StartSlapd}
	cmd := &cobra.Command{
		Use:   "dev",
		Short: "Runs everything on this machine, with virtual devices that enroll.",
		Long: `Runs a private PostgreSQL, Temporal's development server with its UI, Muster's API, MDM endpoint and worker, a
virtual Apple push service and two dozen virtual devices that enroll over HTTP. Two of them are set up by their users,
who sign in to a directory, where OpenLDAP is installed or can be. State is kept in the folder given by
--dir, so the next run goes on from there. Ctrl-C stops everything.

DATABASE_URL, if it is set, names a database to use instead of the private one: the schema and the demonstration's data are
put into it, so never name one that matters. PG_BIN names the folder of PostgreSQL's programs, if several are installed.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.listenGiven = cmd.Flags().Changed("listen")
			return run(cmd.Context(), o, cmd.OutOrStdout())
		},
	}
	cmd.Flags().StringVar(&o.dir, "dir", ".dev", "where the state is kept; remove the folder to begin anew")
	cmd.Flags().StringVar(&o.listen, "listen", "127.0.0.1:8080", "address of the API and the MDM endpoint, by default that of the last run; another port is taken when this one is in use")
	cmd.Flags().IntVar(&o.devices, "devices", 24, "number of virtual devices")
	cmd.Flags().Uint64Var(&o.seed, "seed", 1, "decides the virtual devices' serial numbers and luck")
	cmd.Flags().BoolVar(&o.plain, "plain", false, "print a line per change instead of a live table")
	cmd.Flags().StringVar(&o.until, "until", "", `"enrolled": stop with exit code 0 once every device that can is Enrolled`)
	return cmd
}

func run(ctx context.Context, o options, out io.Writer) (err error) {
	if o.until != "" && o.until != "enrolled" {
		return settings.Misused("--until knows only \"enrolled\", not %q", o.until)
	}
	if err := os.MkdirAll(o.dir, 0o755); err != nil { //nolint:gosec // PostgreSQL's user must pass through
		return fmt.Errorf("making the folder for the state: %w", err)
	}
	begun := time.Now()
	say := func(format string, args ...any) { _, _ = fmt.Fprintf(out, format+"\n", args...) }
	st, err := startStack(ctx, o, say)
	if err != nil {
		return interrupted(ctx, err)
	}
	defer func() {
		say("\nStopping …")
		stopped := st.stop()
		if err == nil { // else it follows from that error
			err = stopped
		}
		say("Stopped. The state is in %s; the next run goes on from there.", o.dir)
	}()
	d, err := newDemo(ctx, o, st, say)
	if err != nil {
		return interrupted(ctx, st.blame(ctx, err))
	}
	printWhere(say, o, st, d, time.Since(begun))
	return watch(ctx, o, st, d, out)
}

// interrupted turns the end that Ctrl-C brought into a good one.
func interrupted(ctx context.Context, err error) error {
	if ctx.Err() == nil {
		return err
	}
	return nil
}

// watch shows the devices until Ctrl-C, or until a server fails.
func watch(ctx context.Context, o options, st *stack, d *demo, out io.Writer) error {
	living, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, 5)
	go func() { ended <- st.children.Wait(living) }()
	go func() { ended <- st.muster.Wait(living) }()
	go func() { ended <- nowAndThen(living, func() error { return d.keeper.saveAll(d.fleet.Devices()) }) }()
	go func() { ended <- nowAndThen(living, st.keepPortal) }()
	go func() { ended <- d.show(living, newView(out, o, st), o) }()
	d.play(living)
	err := interrupted(ctx, st.blame(ctx, <-ended))
	cancel()
	return errors.Join(err, d.end())
}

func printWhere(say func(string, ...any), o options, st *stack, d *demo, took time.Duration) {
	devices := fmt.Sprintf("%d virtual devices are enrolling now.", o.devices)
	if n := d.enrolled(); n > 0 {
		devices = fmt.Sprintf("%d of %d virtual devices are enrolled from the last run and go on.", n, o.devices)
	}
	say(`
Muster is up after %s.

  API          %s/v1/devices
  API contract %s/openapi.json
  Temporal UI  %s
  ABM portal   %s/admin/state   (a virtual Apple Business Manager; see docs/quickstart.md)
  PostgreSQL   %s
  Token        %s   (an admin's; also in %s)
  Logs         %s

Try:
  curl -H "Authorization: Bearer %s" %s/v1/devices?limit=5

%s%s Ctrl-C stops everything.
`, took.Round(100*time.Millisecond), st.muster.URL(), st.muster.URL(), st.temporal.UIURL(), st.portalAt.URL, st.database,
		st.token, filepath.Join(o.dir, "token"), filepath.Join(o.dir, "muster.log"), st.token, st.muster.URL(), whoSignsIn(st), devices)
}

// whoSignsIn says with what people sign in, if somebody does.
func whoSignsIn(st *stack) string {
	if st.people == nil {
		return ""
	}
	var accounts []string
	for _, i := range slices.Sorted(maps.Keys(theirOwn)) {
		accounts = append(accounts, directories.Domain+`\`+accountOf(i))
	}
	return fmt.Sprintf("%s set their devices up themselves: they sign in with the password %s.\n", strings.Join(accounts, " and "), st.people.Password)
}

// serveSettings are muster serve's for one machine: short pauses, so that a person sees things happen.
func serveSettings(st *stack) settings.Serve {
	return settings.Serve{
		Database: settings.Database{DatabaseURL: st.database},
		Temporal: settings.Temporal{TemporalAddress: st.temporal.HostPort(), TemporalNamespace: "default", TaskQueue: "devices"},
		Log:      settings.Log{LogLevel: "info", LogFormat: "json"}, DatabaseMaxConns: 20,
		Roles:  []string{settings.RoleAPI, settings.RoleMDM, settings.RoleWorker},
		Listen: st.listen, Organization: "Muster demo", AssignmentRequirement: "user",
		APNsURL: st.apns.URL(), APNsCAFile: st.path("apns-ca.pem"), PushCertFile: st.path("push-cert.pem"), PushKeyFile: st.path("push-key.pem"),
		SetupHold: 10 * time.Minute, SetupHoldPolicy: "release",
		RetryAfter: []time.Duration{5 * time.Second, 15 * time.Second, time.Minute, 5 * time.Minute},
		NudgeAfter: []time.Duration{time.Minute, 5 * time.Minute, time.Hour},
		PollFirst:  time.Second, PollMost: 15 * time.Second, RepushFirst: 5 * time.Second, RepushMost: time.Minute,
		NotNowPause: 5 * time.Second, ReleaseDelay: 30 * time.Second, RemindBefore: []time.Duration{time.Hour, time.Minute},
		Enrolling: settings.Enrolling{
			EnrollAnchorsFile: st.path("enroll-anchors.pem"), ReenrollKeepsAssignment: true, IdentityRenewBefore: 365 * 24 * time.Hour,
			Edition: string(directory.OnPremises),
		},
		Secrets: settings.Secrets{Keyring: st.keyring},
		ABMURL:  st.portalAt.URL, ABMBusinessURL: st.portalAt.URL, ABMTokenURL: st.portalAt.URL + "/auth/oauth2/v2/token", ABMMissingAfter: time.Hour,
		RatePerSecond: 1000, RateBurst: 2000, BootstrapToken: st.token,
	}
}

var _ devstack.Child = (*serve.Service)(nil)
