package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/muster-mdm/muster/api/client"
	"github.com/muster-mdm/muster/cmd/muster/settings"
)

// serials are the arguments of commands about one device or many; "-" reads them from the standard input.
func serials(ctx context.Context, cmd *cobra.Command, args []string) ([]string, error) {
	if len(args) != 1 || args[0] != "-" {
		return args, nil
	}
	list, err := typed(ctx, func() (list []string, err error) {
		lines := bufio.NewScanner(cmd.InOrStdin())
		for lines.Scan() {
			if s := strings.TrimSpace(lines.Text()); s != "" {
				list = append(list, s)
			}
		}
		return list, lines.Err()
	})
	if err != nil {
		return nil, fmt.Errorf("reading the serial numbers: %w", err)
	}
	if len(list) == 0 {
		return nil, settings.Misused("no serial number came by the standard input")
	}
	return list, nil
}

func someSerials(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return settings.Misused("%q needs serial numbers, or - to read them from the standard input", cmd.CommandPath())
	}
	return nil
}

// assignmentFlags are who and what devices shall be for.
type assignmentFlags struct {
	user, email, domain, technician, owner, from, until, expected string
	groups                                                        []string
}

func (f *assignmentFlags) bind(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.user, "user", "", "name of the user")
	flags.StringVar(&f.email, "email", "", "e-mail address of the user")
	flags.StringVar(&f.domain, "domain", "", "domain of the user or technician; MDM when empty")
	flags.StringVar(&f.technician, "technician", "", "technician who stands in for a user")
	flags.StringSliceVarP(&f.groups, "group", "g", nil, "groups, separated by commas")
	flags.StringVar(&f.owner, "owned-by", "", "Corporate or Personal")
	offer(cmd, "owned-by", "Corporate", "Personal")
	flags.StringVar(&f.from, "effective-at", "", "when it comes into force, such as 2026-03-01T09:00:00Z or +24h")
	flags.StringVar(&f.until, "return-by", "", "when the device is due back; a day, such as 2026-03-15, means its end")
	flags.StringVar(&f.expected, "expected-by", "", "when a device that isn't known yet should be there; a day means its end")
}

func (f *assignmentFlags) input() (client.AssignmentInput, error) {
	in := client.AssignmentInput{OwnedBy: given(client.OwnedBy(f.owner))}
	if len(f.groups) > 0 {
		in.Groups = &f.groups
	}
	if (f.user == "") != (f.email == "") {
		return in, settings.Misused("a user is named by both --user and --email")
	}
	if f.user != "" {
		in.User = &struct {
			Domain *string `json:"domain,omitempty"`
			Email  string  `json:"email"`
			Name   string  `json:"name"`
		}{given(f.domain), f.email, f.user}
	}
	if f.technician != "" {
		in.Technician = &struct {
			Domain *string `json:"domain,omitempty"`
			Name   string  `json:"name"`
		}{given(f.domain), f.technician}
	}
	for _, t := range []struct {
		flag, text string
		parse      func(string) (time.Time, error)
		to         **time.Time
	}{
		{"effective-at", f.from, parseTime, &in.EffectiveAt},
		{"return-by", f.until, parseEnd, &in.ReturnBy},
		{"expected-by", f.expected, parseEnd, &in.ExpectedBy},
	} {
		if t.text == "" {
			continue
		}
		at, err := t.parse(t.text)
		if err != nil {
			return in, settings.Misused("--%s %s is no time; write 2026-03-01T09:00:00Z, 2026-03-01 or +24h", t.flag, t.text)
		}
		*t.to = &at
	}
	return in, nil
}

// parseEnd is [parseTime] for what ends: a day ends with its last second, so that nothing is overdue on the day itself.
func parseEnd(text string) (time.Time, error) {
	day, err := time.ParseInLocation(time.DateOnly, text, time.Local)
	if err != nil {
		return parseTime(text)
	}
	return day.AddDate(0, 0, 1).Add(-time.Second), nil
}

// parseTime reads a time, a day, which means its beginning here, or a while from now.
func parseTime(text string) (time.Time, error) {
	if rest, ok := strings.CutPrefix(text, "+"); ok {
		d, err := time.ParseDuration(rest)
		return time.Now().Add(d).UTC().Truncate(time.Second), err
	}
	if at, err := time.Parse(time.RFC3339, text); err == nil {
		return at, nil
	}
	return time.ParseInLocation(time.DateOnly, text, time.Local)
}

func assignCommand() *cobra.Command {
	var flags assignmentFlags
	cmd := &cobra.Command{
		Use: "assign SERIAL...", Short: "Assigns devices to a user or technician, and to groups.",
		Long: "Several devices get the same assignment, by an operation that is waited for; to give each its own, import a file.\n\n" + remoteHelp,
		Args: someSerials,
	}
	flags.bind(cmd)
	m := withMany(cmd)
	return withRemote(cmd, func(ctx context.Context, api *client.Client, args []string) error {
		in, err := flags.input()
		if err != nil {
			return err
		}
		list, err := serials(ctx, cmd, args)
		if err != nil {
			return err
		}
		if len(list) == 1 {
			r, err := ask[client.AssignmentResult](api.AssignDevice(ctx, list[0], nil, in))
			if err != nil {
				return err
			}
			return m.out.show(r, func(w io.Writer) { showDevice(w, r.Device) })
		}
		o, err := ask[client.Operation](api.AssignDevices(ctx, nil, client.AssignDevicesInput{Serials: &list, Assignment: in}))
		if err != nil {
			return err
		}
		return m.follow(ctx, api, o)
	})
}

// withSerials is [withRemote] for a command whose arguments name devices.
func withSerials(cmd *cobra.Command, run func(ctx context.Context, api *client.Client, list []string) error) *cobra.Command {
	return withRemote(cmd, func(ctx context.Context, api *client.Client, args []string) error {
		list, err := serials(ctx, cmd, args)
		if err != nil {
			return err
		}
		return run(ctx, api, list)
	})
}

func unassignCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "unassign SERIAL...", Short: "Takes user and groups away from devices, which stay managed.", Long: remoteHelp, Args: someSerials,
	}
	m := withMany(cmd)
	return withSerials(cmd, func(ctx context.Context, api *client.Client, list []string) error {
		if len(list) == 1 {
			d, err := ask[client.Device](api.UnassignDevice(ctx, list[0], nil))
			if err != nil {
				return err
			}
			return m.out.show(d, func(w io.Writer) { showDevice(w, d) })
		}
		return m.confirmed(ctx, api, func(token *string, _ *int) (*http.Response, error) {
			return api.UnassignDevices(ctx, nil, client.ManyInput{Serials: &list, Confirmation: token})
		})
	})
}

func devicesWithdrawCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "withdraw SERIAL...", Short: "Takes serial numbers back that were mistyped.", Args: someSerials,
		Long: `A serial number that only people named, by assigning or registering it, is known no longer: it loses user and groups, and is
listed only by muster devices list --status Withdrawn. Its timeline stays. A device that Apple Business Manager lists or listed,
or that was heard of, is refused.

` + remoteHelp,
	}
	m := withMany(cmd)
	return withSerials(cmd, func(ctx context.Context, api *client.Client, list []string) error {
		if len(list) == 1 {
			d, err := ask[client.Device](api.WithdrawDevice(ctx, list[0], nil))
			if err != nil {
				return err
			}
			return m.out.show(d, func(w io.Writer) { showDevice(w, d) })
		}
		return m.confirmed(ctx, api, func(token *string, _ *int) (*http.Response, error) {
			return api.WithdrawDevices(ctx, nil, client.ManyInput{Serials: &list, Confirmation: token})
		})
	})
}

func devicesUnassignFromMDMCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "unassign-from-mdm SERIAL...", Short: "Takes devices off their MDM servers in Apple Business Manager.", Args: someSerials,
	}
	m := withMany(cmd)
	return withSerials(cmd, func(ctx context.Context, api *client.Client, list []string) error {
		return m.confirmed(ctx, api, func(token *string, _ *int) (*http.Response, error) {
			return api.UnassignDevicesFromMdm(ctx, nil, client.ManyInput{Serials: &list, Confirmation: token})
		})
	})
}

func devicesDeprovisionCommand() *cobra.Command {
	var reason, way string
	cmd := &cobra.Command{Use: "deprovision SERIAL...", Short: "Ends the management of devices.", Args: someSerials}
	cmd.Flags().StringVar(&reason, "reason", "", "repair, employee_left, retire or in_stock")
	cmd.Flags().StringVar(&way, "by", "remove_management", "remove_management or erase")
	offer(cmd, "reason", "repair", "employee_left", "retire", "in_stock")
	offer(cmd, "by", "remove_management", "erase")
	m := withMany(cmd)
	return withSerials(cmd, func(ctx context.Context, api *client.Client, list []string) error {
		return m.confirmed(ctx, api, func(token *string, _ *int) (*http.Response, error) {
			return api.DeprovisionDevices(ctx, nil, client.DeprovisionDevicesInput{Serials: &list, Reason: reason, By: way, Confirmation: token})
		})
	})
}

func devicesReleaseCommand() *cobra.Command {
	var reason string
	cmd := &cobra.Command{Use: "release SERIAL...", Short: "Releases devices for good.", Args: someSerials}
	cmd.Flags().StringVar(&reason, "reason", "", "end_of_life or permanently_damaged")
	offer(cmd, "reason", "end_of_life", "permanently_damaged")
	m := withMany(cmd)
	m.typed = true
	cmd.Flags().IntVar(&m.count, "count", 0, "with --yes: the number of devices, typed to confirm")
	return withSerials(cmd, func(ctx context.Context, api *client.Client, list []string) error {
		return m.confirmed(ctx, api, func(token *string, count *int) (*http.Response, error) {
			return api.ReleaseDevices(ctx, nil, client.ReleaseDevicesInput{Serials: &list, Reason: reason, Confirmation: token, Count: count})
		})
	})
}

// many is how a command about many devices asks, waits and shows.
type many struct {
	cmd      *cobra.Command
	out      *output
	yes      bool
	noWait   bool
	typed    bool // the number of devices is typed to confirm
	count    int
	interval time.Duration
}

func withMany(cmd *cobra.Command) *many {
	m := &many{cmd: cmd, out: withOutput(cmd), interval: lookEvery}
	cmd.Flags().BoolVarP(&m.yes, "yes", "y", false, "go on without asking")
	cmd.Flags().BoolVar(&m.noWait, "no-wait", false, "don't wait until all is done")
	return m
}

// confirmed sends a request, shows what would happen, and sends it again when that is wanted.
func (m *many) confirmed(ctx context.Context, api *client.Client, send func(token *string, count *int) (*http.Response, error)) error {
	o, err := ask[client.Operation](send(nil, nil))
	var refused *refusedError
	if errors.As(err, &refused) && refused.Confirmation != nil {
		c := refused.Confirmation
		m.consequences(c)
		count, agreed, err := m.agree(ctx, c.Devices)
		if err != nil {
			return err
		}
		if !agreed {
			return errors.New("nothing was done")
		}
		o, err = ask[client.Operation](send(&c.Token, count))
		if err != nil {
			return err
		}
		return m.follow(ctx, api, o)
	}
	if err != nil {
		return err
	}
	return m.follow(ctx, api, o)
}

func (m *many) consequences(c *client.Confirmation) {
	m.cmd.PrintErrf("This concerns %s:\n", counted(c.Devices))
	for _, at := range c.Consequences {
		status := ""
		if at.Status != nil {
			status = " (" + *at.Status + ")"
		}
		code := ""
		if at.Refused != nil {
			code = " [" + *at.Refused + "]"
		}
		m.cmd.PrintErrf("  %d%s: %s%s\n", at.Devices, status, at.Effect, code)
	}
}

func counted(n int) string {
	if n == 1 {
		return "1 device"
	}
	return strconv.Itoa(n) + " devices"
}

// agree asks; without a person to ask, --yes is needed.
func (m *many) agree(ctx context.Context, devices int) (count *int, agreed bool, err error) {
	if m.yes && m.typed && m.count == 0 {
		return nil, false, settings.Misused("this can't be undone: to go on where nobody can be asked, add --count with the number of devices")
	}
	if m.yes {
		return given(m.count), true, nil
	}
	if f, ok := m.cmd.InOrStdin().(*os.File); !ok || !term.IsTerminal(int(f.Fd())) {
		return nil, false, settings.Misused("to go on where nobody can be asked, add --yes")
	}
	question := "Go on? Type yes: "
	if m.typed {
		question = "Type the number of devices to go on: "
	}
	m.cmd.PrintErr(question)
	answer, err := typed(ctx, func() (string, error) {
		text, _ := bufio.NewReader(m.cmd.InOrStdin()).ReadString('\n')
		return strings.TrimSpace(text), nil
	})
	if err != nil {
		m.cmd.PrintErrln()
		return nil, false, fmt.Errorf("%w; nothing was done", err)
	}
	if m.typed {
		n, _ := strconv.Atoi(answer)
		return &n, n == devices, nil
	}
	return nil, strings.EqualFold(answer, "yes"), nil
}

// follow waits for an operation and shows what became of it.
func (m *many) follow(ctx context.Context, api *client.Client, o client.Operation) error {
	var err error
	if !m.noWait {
		if o, err = awaitOperation(ctx, api, o, m.cmd.ErrOrStderr(), over); err != nil {
			return err
		}
	}
	if err := m.out.show(o, func(w io.Writer) { showWithErrors(ctx, w, api, o) }); err != nil {
		return err
	}
	if o.Progress.Refused > 0 || o.Rows.Error > 0 || !m.noWait && endedEarly(o) {
		return partly{}
	}
	return nil
}

// endedEarly: somebody paused or cancelled it, or it failed, while it was waited for.
func endedEarly(o client.Operation) bool { return o.State != client.OperationDone }

// partly is an operation of which not everything was done; its result was shown.
type partly struct{}

func (partly) Error() string { return "not everything was done" }

// AlreadySaid returns the exit code.
func (partly) AlreadySaid() int { return 1 }
