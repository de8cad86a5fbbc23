package cli

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/muster-mdm/muster/api/client"
	"github.com/muster-mdm/muster/cmd/muster/settings"
)

const remoteHelp = `Works on a running Muster by its API: log in by muster login, or name it by --url or MUSTER_URL and give a token by
MUSTER_TOKEN or MUSTER_TOKEN_FILE.`

func devicesCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "devices", Short: "Lists devices, says what they wait for, and what happened to them.", Long: remoteHelp}
	cmd.AddCommand(
		devicesListCommand(), devicesShowCommand(), devicesExplainCommand(), devicesTimelineCommand(), devicesWatchCommand(),
		devicesReviewCommand(), devicesReservationsCommand(), devicesHoldCommand(), devicesPlanCommand(),
		devicesUnassignFromMDMCommand(), devicesDeprovisionCommand(), devicesReleaseCommand(), devicesWithdrawCommand(),
	)
	for _, v := range deviceVerbs {
		cmd.AddCommand(v.command())
	}
	return cmd
}

// deviceFilter are the flags that narrow a list.
type deviceFilter struct {
	statuses                                                []string
	awaiting, management, group, user, server, blockedBy, q string
}

func withDeviceFilter(cmd *cobra.Command) *deviceFilter {
	f := &deviceFilter{}
	flags := cmd.Flags()
	flags.StringSliceVar(&f.statuses, "status", nil, "of these statuses, such as Enrolled")
	flags.StringVar(&f.awaiting, "awaiting", "", "that miss this: activation or assignment")
	flags.StringVar(&f.management, "management", "", "staged, managed or unmanaged")
	flags.StringVar(&f.group, "group", "", "assigned to this group")
	flags.StringVar(&f.user, "user", "", "of the person with this id")
	flags.StringVar(&f.server, "server", "", "listed by this Apple Business Manager server")
	flags.StringVar(&f.blockedBy, "blocked-by", "", "blocked by this, such as on_hold")
	flags.StringVarP(&f.q, "query", "q", "", "with this in the serial number, the name, or the user's name or address")
	offer(cmd, "status", statuses...)
	offer(cmd, "awaiting", "activation", "assignment")
	offer(cmd, "management", "staged", "managed", "unmanaged")
	return f
}

func (f *deviceFilter) params() client.ListDevicesParams {
	p := client.ListDevicesParams{
		Awaiting: given(client.Awaiting(awaitingLabel(f.awaiting))), Management: given(client.Management(f.management)), Group: given(f.group),
		User: given(f.user), Server: given(f.server), BlockedBy: given(client.BlockedBy(f.blockedBy)), Q: given(f.q),
	}
	if len(f.statuses) > 0 {
		list := make([]client.Status, len(f.statuses))
		for i, s := range f.statuses {
			list[i] = client.Status(s)
		}
		p.Status = &list
	}
	return p
}

func awaitingLabel(word string) string {
	switch word {
	case "activation":
		return "Awaiting Device Activation"
	case "assignment":
		return "Awaiting User Assignment"
	}
	return word
}

// given is a pointer to what is not the zero value.
func given[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	return &v
}

func devicesListCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "list", Short: "Lists devices."}
	out, filter := withList(cmd), withDeviceFilter(cmd)
	return withRemote(cmd, func(ctx context.Context, api *client.Client, _ []string) error {
		list, err := entire(func(cursor *string) (*http.Response, error) {
			p, most := filter.params(), 500
			p.Cursor, p.Limit = cursor, &most
			return api.ListDevices(ctx, &p)
		}, func(p client.DeviceList) ([]client.Device, *string) { return p.Devices, p.NextCursor })
		if err != nil {
			return err
		}
		return out.show(list, func(w io.Writer) { tableOfDevices(w, list, out.wide()) })
	})
}

func tableOfDevices(w io.Writer, list []client.Device, wide bool) {
	header := []string{"SERIAL", "STATUS", "BLOCKED BY", "ASSIGNED TO", "GROUPS"}
	if wide {
		header = append(header, "EMAIL", "OWNED BY", "NAME", "MODEL", "OS", "SERVER", "ACTIVATED", "UPDATED")
	}
	row(w, header...)
	for _, d := range list {
		who, email, groups, owner := assignedTo(d.Assignment)
		cells := []string{d.Serial, strings.Join(d.Labels, ", "), orNone(string(value(d.BlockedBy))), orNone(who), orNone(groups)}
		if wide {
			cells = append(cells, orNone(email), orNone(owner), orNone(d.Name), orNone(d.Model), orNone(d.OsVersion), orNone(d.Server), orNone(moment(d.ActivatedAt)), moment(&d.UpdatedAt))
		}
		row(w, cells...)
	}
}

func assignedTo(a *client.Assignment) (who, email, groups, owner string) {
	if a == nil {
		return "", "", "", ""
	}
	for _, p := range []*client.PersonRef{a.User, a.Technician} {
		if p != nil && who == "" {
			who, email = p.Name, p.Email
			if p.Domain != "MDM" {
				who = p.Domain + `\` + p.Name
			}
		}
	}
	return who, email, strings.Join(a.Groups, "/"), string(a.OwnedBy)
}

func devicesShowCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "show SERIAL", Short: "Shows a device, and what it waits for.", Args: takes("a SERIAL number")}
	return withThing(cmd, showDevice, func(ctx context.Context, api *client.Client, name string) (*http.Response, error) {
		return api.GetDevice(ctx, name)
	})
}

func showDevice(w io.Writer, d client.Device) {
	who, email, groups, owner := assignedTo(d.Assignment)
	line(w, "Serial number", d.Serial)
	line(w, "Status", strings.Join(d.Labels, ", "))
	line(w, "Blocked by", string(value(d.BlockedBy)))
	line(w, "Assigned to", strings.TrimSpace(who+" "+email))
	line(w, "Groups", groups)
	line(w, "Owned by", owner)
	if a := d.Assignment; a != nil {
		line(w, "Assigned", moment(&a.At)+by(a.Origin))
		line(w, "Due back", moment(a.ReturnBy))
	}
	if p := d.PlannedAssignment; p != nil {
		who, _, groups, _ := assignedTo(&client.Assignment{User: p.User, Technician: p.Technician, Groups: p.Groups})
		line(w, "For later", strings.Join(slices.DeleteFunc([]string{moment(&p.EffectiveAt), who, groups}, func(s string) bool { return s == "" }), ", "))
		line(w, "  due back", moment(p.ReturnBy))
	}
	if r := d.Review; r != nil {
		line(w, "To be decided", "reserved for "+orNone(personName(r.Reserved))+", signed in: "+orNone(personName(r.SignedIn)))
	}
	line(w, "Expected", moment(d.ExpectedBy))
	line(w, "Name", d.Name)
	line(w, "Model", strings.TrimSpace(d.Model+" "+d.OsVersion))
	line(w, "Server", d.Server)
	line(w, "Activated", moment(d.ActivatedAt))
	line(w, "Enrolled", moment(d.EnrolledAt))
	showWaits(w, value(d.Waits))
}

func personName(p *client.PersonRef) string {
	if p == nil {
		return ""
	}
	return p.Name
}

// by says where an assignment comes from.
func by(o *client.Origin) string {
	switch {
	case o == nil || o.Source == "":
		return ""
	case o.Operation != nil:
		return ", by " + partOf(*o.Operation, value(o.Line))
	}
	return ", by " + o.Source
}

// partOf names an operation, and the line of an import's file: other operations have no file that lines could be looked up in.
func partOf(operation string, line int64) string {
	if line == 0 || !strings.HasPrefix(operation, "imp_") {
		return operation
	}
	return fmt.Sprintf("%s line %d", operation, line)
}

// operationOf names what a fact was part of; its payload says so.
func operationOf(f client.Fact) string {
	operation, _ := f.Payload["operation"].(string)
	line, _ := f.Payload["line"].(float64)
	return partOf(operation, int64(line))
}

func showWaits(w io.Writer, waits []client.Wait) {
	for _, t := range waits {
		row(w, "")
		line(w, "Waits for", t.For)
		line(w, "  since", moment(&t.Since))
		line(w, "  who", t.Who)
		line(w, "  until", moment(t.Until))
	}
}

func devicesExplainCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "explain SERIAL", Short: "Says what a device waits for, since when, and who can end it.", Args: takes("a SERIAL number")}
	out := withOutput(cmd)
	return withRemote(cmd, func(ctx context.Context, api *client.Client, args []string) error {
		e, err := ask[client.Explanation](api.ExplainDevice(ctx, args[0]))
		if err != nil {
			return err
		}
		return out.show(e, func(w io.Writer) {
			line(w, e.Serial, strings.Join(e.Labels, ", "))
			if len(e.Waits) == 0 {
				row(w, "It waits for nothing.")
			}
			showWaits(w, e.Waits)
		})
	})
}

func devicesTimelineCommand() *cobra.Command {
	var limit int
	cmd := &cobra.Command{Use: "timeline SERIAL", Short: "Shows what happened to a device, the newest first.", Args: takes("a SERIAL number")}
	out := withList(cmd)
	cmd.Flags().IntVar(&limit, "limit", 50, "how many facts")
	return withRemote(cmd, func(ctx context.Context, api *client.Client, args []string) error {
		t, err := ask[client.Timeline](api.GetDeviceTimeline(ctx, args[0], &client.GetDeviceTimelineParams{Limit: &limit}))
		if err != nil {
			return err
		}
		return out.show(t.Facts, func(w io.Writer) {
			row(w, "AT", "FACT", "EPOCH", "SOURCE", "BY", "REASON", "OPERATION")
			for _, f := range t.Facts {
				row(w, f.At.UTC().Format("2006-01-02 15:04:05 UTC"), f.Kind, strconv.Itoa(f.Epoch), orNone(f.Source), orNone(orElse(value(f.ActorName), f.Actor)), orNone(value(f.Reason)), orNone(operationOf(f)))
			}
		})
	})
}

// statuses that a device may have, as the API spells them.
var statuses = []string{
	string(client.StatusAwaiting), string(client.StatusProvisioning), string(client.StatusEnrolled), string(client.StatusUnassignPending),
	string(client.StatusUnassigned), string(client.StatusUnmanaged), string(client.StatusDeprovisioned), string(client.StatusReleased),
	string(client.StatusWithdrawn),
}

func statusNamed(word string) (string, error) {
	for _, s := range statuses {
		if strings.EqualFold(s, word) {
			return s, nil
		}
	}
	return "", settings.Misused("--until %s is no status; take %s or %s", word, strings.Join(statuses[:len(statuses)-1], ", "), statuses[len(statuses)-1])
}

func devicesWatchCommand() *cobra.Command {
	var every time.Duration
	var until string
	cmd := &cobra.Command{
		Use: "watch SERIAL", Short: "Prints a line whenever the status of a device changes, or what it waits for.",
		Long: "Ends by Ctrl-C, or when the device has the status that --until names.\n\n" + remoteHelp, Args: takes("a SERIAL number"),
	}
	cmd.Flags().DurationVar(&every, "every", time.Second, "how often to look")
	cmd.Flags().StringVar(&until, "until", "", "end at this status, such as Enrolled")
	offer(cmd, "until", statuses...)
	return withRemote(cmd, func(ctx context.Context, api *client.Client, args []string) (err error) {
		if until != "" {
			if until, err = statusNamed(until); err != nil {
				return err
			}
		}
		tick := time.NewTicker(max(every, 100*time.Millisecond))
		defer tick.Stop()
		for said := ""; ; {
			d, err := ask[client.Device](api.GetDevice(ctx, args[0]))
			if ctx.Err() != nil {
				return unless(until)
			}
			if err != nil {
				return err
			}
			if now := inOneLine(d); now != said {
				said = now
				cmd.Printf("%s  %s\n", time.Now().Format("15:04:05"), now)
			}
			if string(d.Status) == until {
				return nil
			}
			select {
			case <-ctx.Done():
				return unless(until)
			case <-tick.C:
			}
		}
	})
}

// unless is what is said when a watch is interrupted: a script that waits for a status mustn't take it for reached.
func unless(until string) error {
	if until == "" {
		return nil
	}
	return fmt.Errorf("interrupted before the device was %s", until)
}

func inOneLine(d client.Device) string {
	text := d.Serial + " " + strings.Join(d.Labels, ", ")
	for _, w := range value(d.Waits) {
		text += " · " + w.For
	}
	return text
}

func devicesReviewCommand() *cobra.Command {
	var choice string
	cmd := &cobra.Command{
		Use: "review SERIAL", Short: "Decides for whom a device is that somebody else signed in on.", Args: takes("a SERIAL number"),
		Long: `A device whose sign-in is to be decided is blocked by sign_in_review: muster devices list --blocked-by sign_in_review lists
them, and muster devices show names both people.

` + remoteHelp,
	}
	out := withOutput(cmd)
	cmd.Flags().StringVar(&choice, "choice", "", "keep_reserved or take_signed_in")
	offer(cmd, "choice", "keep_reserved", "take_signed_in")
	return withRemote(cmd, func(ctx context.Context, api *client.Client, args []string) error {
		if choice == "" {
			return settings.Misused("say for whom the device is: --choice keep_reserved or --choice take_signed_in")
		}
		d, err := ask[client.Device](api.ReviewDevice(ctx, args[0], nil, client.ReviewInput{Choice: choice}))
		if err != nil {
			return err
		}
		return out.show(d, func(w io.Writer) { showDevice(w, d) })
	})
}

func devicesReservationsCommand() *cobra.Command {
	var overdue bool
	cmd := &cobra.Command{Use: "reservations", Short: "Lists devices that are assigned and not there yet."}
	out := withList(cmd)
	cmd.Flags().BoolVar(&overdue, "overdue", false, "only those that should have come")
	return withRemote(cmd, func(ctx context.Context, api *client.Client, _ []string) error {
		list, err := entire(func(cursor *string) (*http.Response, error) {
			most := 500
			return api.ListReservations(ctx, &client.ListReservationsParams{Cursor: cursor, Limit: &most, Overdue: given(overdue)})
		}, func(p client.ReservationList) ([]client.Reservation, *string) { return p.Reservations, p.NextCursor })
		if err != nil {
			return err
		}
		return out.show(list, func(w io.Writer) {
			row(w, "SERIAL", "DAYS", "EXPECTED", "OVERDUE", "ASSIGNED TO", "GROUPS")
			for _, v := range list {
				who, _, groups, _ := assignedTo(v.Assignment)
				row(w, v.Serial, strconv.Itoa(v.AgeDays), orNone(moment(v.ExpectedBy)), yesNo(v.Overdue), orNone(who), orNone(groups))
			}
		})
	})
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}
