package rehearse

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/muster-mdm/muster/cmd/muster/rehearse/environment"
	"github.com/muster-mdm/muster/cmd/muster/settings"
	"github.com/muster-mdm/muster/sim"
)

type options struct {
	devices int
	seed    uint64
	timeout time.Duration
	json    bool
	keep    bool
	verbose bool
	signIn  bool
}

// Command is `muster rehearse`.
func Command() *cobra.Command {
	var o options
	cmd := &cobra.Command{
		Use:   "rehearse",
		Short: "Lets virtual devices live through everything in a throw-away environment, and says whether they ended right.",
		Long: `Starts PostgreSQL, Temporal, a virtual push service and muster itself, all of them thrown away at the end, and lets
virtual devices enroll over HTTP: assigned before, after and during activation, with repeated assignments, reboots, offline
spells, refused and lost messages, factory resets, reassignments. On half of the devices that Apple Business Manager lists, somebody
signs in against an OpenLDAP server, which is all that some of them need to become Enrolled. Then each device is compared with a model written from the
requirements.

Times run from the second of the two facts "activated" and "assigned". Signals, activities and history events are medians over
the devices that became Enrolled without a hold in Setup Assistant, from unknown to their first Enrolled.

The exit code is 0 when every device ended as modelled, no command was sent twice and every device can say what it waits for.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return o.run(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	f := cmd.Flags()
	f.IntVar(&o.devices, "devices", 50, "number of virtual devices")
	f.Uint64Var(&o.seed, "seed", 1, "decides serial numbers, lives and faults")
	f.DurationVar(&o.timeout, "timeout", 10*time.Minute, "longest time for the devices' lives")
	f.BoolVar(&o.json, "json", false, "print the report as one JSON object")
	f.BoolVar(&o.keep, "keep", false, "leave logs and data behind, and say where")
	f.BoolVar(&o.signIn, "sign-in", true, "have people sign in on devices, which needs OpenLDAP; it is installed if it is missing")
	f.BoolVarP(&o.verbose, "verbose", "v", false, "show what muster's processes log")
	return cmd
}

// failure is a rehearsal that went wrong; all about it was printed.
type failure struct{ Report }

func (f failure) Error() string { return f.Summary() }

// AlreadySaid returns the exit code.
func (f failure) AlreadySaid() int { return 1 }

func (o options) run(ctx context.Context, out, errOut io.Writer) error {
	if o.devices < 1 {
		return settings.Misused("--devices is %d; it must be at least 1", o.devices)
	}
	if o.timeout <= 0 {
		return settings.Misused("--timeout is %s; it must be longer than nothing", o.timeout)
	}
	report, err := o.rehearse(ctx, errOut)
	if err != nil {
		return err
	}
	if err := report.PrintWrong(errOut); err != nil {
		return err
	}
	if err := o.print(report, out); err != nil {
		return err
	}
	if !report.Good() {
		return failure{report}
	}
	return nil
}

func (o options) print(report Report, out io.Writer) error {
	if !o.json {
		return report.Print(out)
	}
	return json.NewEncoder(out).Encode(report)
}

func (o options) rehearse(ctx context.Context, errOut io.Writer) (report Report, err error) {
	line := newStatusLine(errOut)
	defer line.done()
	cfg := environment.Config{
		Keep: o.keep, Progress: line.say,
		Push: sim.APNsConfig{Seed: o.seed, Faults: sim.PushFaults{Drop: 0.02, Latency: sim.Span{Max: 20 * time.Millisecond}}},
	}
	if o.verbose {
		cfg.Logs = errOut
	}
	lives := Draw(o.seed, o.devices)
	if !o.signIn {
		lives = DrawWithoutSignIn(o.seed, o.devices)
	}
	cfg.Accounts = Accounts(lives)
	env, keys, err := prepare(ctx, cfg, lives, line)
	if err != nil {
		return Report{}, err
	}
	defer func() {
		if closed := env.Close(); err == nil {
			err = closed
		}
		if o.keep {
			line.say("Logs and data are in " + env.Dir() + ".")
		}
	}()
	return Run(ctx, env, Config{Lives: lives, Seed: o.seed, Keys: keys, Timeout: o.timeout, Progress: line.progress})
}

// prepare starts the environment while the devices' keys are being made.
func prepare(ctx context.Context, cfg environment.Config, lives []Life, line *statusLine) (*environment.Environment, *sim.KeyPool, error) {
	line.say("Starting PostgreSQL, Temporal and muster …")
	const bits = 2048
	keys := sim.NewKeyPool(bits, 0)
	var env *environment.Environment
	work, ctx2 := errgroup.WithContext(ctx)
	work.SetLimit(1 + runtime.GOMAXPROCS(0))
	work.Go(func() error { return keys.Fill(ctx2, Keys(lives)) })
	work.Go(func() error {
		var err error
		env, err = environment.Start(ctx2, cfg)
		return err
	})
	if err := work.Wait(); err != nil {
		if env != nil {
			_ = env.Close()
		}
		return nil, nil, err
	}
	return env, keys, nil
}

// Keys counts the identities that lives need, retries aside.
func Keys(lives []Life) int {
	n := 0
	for _, l := range lives {
		each(l.Events, func(e Event) {
			if e.Do == SwitchOn || e.Do == BeginActivation {
				n++
			}
		})
	}
	return n
}

// statusLine shows progress on a terminal, and sentences elsewhere.
type statusLine struct {
	to       io.Writer
	terminal bool
	open     bool
}

func newStatusLine(to io.Writer) *statusLine {
	f, ok := to.(*os.File)
	if !ok {
		return &statusLine{to: to}
	}
	info, err := f.Stat()
	return &statusLine{to: to, terminal: err == nil && info.Mode()&os.ModeCharDevice != 0}
}

func (s *statusLine) say(sentence string) {
	s.done()
	_, _ = fmt.Fprintln(s.to, sentence)
}

func (s *statusLine) progress(p Progress) {
	if !s.terminal {
		return
	}
	s.open = true
	_, _ = fmt.Fprintf(s.to, "\r\x1b[K%4.0f s  %d of %d devices as modelled, %d Enrolled, %d lives go on", p.Elapsed.Seconds(), p.AsModelled, p.Devices, p.Enrolled, p.Alive)
}

func (s *statusLine) done() {
	if s.open {
		s.open = false
		_, _ = fmt.Fprintln(s.to)
	}
}
