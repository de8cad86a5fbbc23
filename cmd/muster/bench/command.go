// Package bench measures Muster against what it is made of: a bare workflow on the same Temporal server, and bare NanoMDM on
// the same PostgreSQL.
package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/muster-mdm/muster/cmd/muster/settings"
)

type options struct {
	quick   bool
	durable bool
	rows    []string
	repeats int
	json    bool
	write   string
}

// Command is `muster bench`.
func Command() *cobra.Command {
	var o options
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Measures Muster's rates beside those of what it is made of.",
		Long: `Starts PostgreSQL, Temporal, a virtual push service and muster itself, all of them thrown away at the end, and measures

  a  devices a second from the first fact to Enrolled, against a bare workflow on the same Temporal
  b  MDM check-ins a second, against bare NanoMDM on the same PostgreSQL
  c  from the second fact to the first command in the queue, at a low load
  d  facts a second through the relay, against bare SignalWithStart
  e  a file of a million rows validated, against encoding/csv and COPY, and the memory it takes
  f  a file of 100,000 rows applied, and how long single assignments take to their workflows meanwhile
  g  a full fetch of 100,000 devices from a virtual Apple Business Manager at which requests fail, against NanoDEP's client
     that writes nothing, and the memory it takes; none may be missed or doubled

The two of a pair take turns, and the ratio inside a run is what counts. The exit code tells whether every row could be
measured, not whether its goal was met.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.quick && !cmd.Flags().Changed("repeats") {
				o.repeats = 1
			}
			return o.run(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	f := cmd.Flags()
	f.BoolVar(&o.quick, "quick", false, "tiny runs that prove that every row works and say nothing about rates")
	f.BoolVar(&o.durable, "durable", false, "have the servers keep every commit on disk: then the disk is measured, too")
	f.StringSliceVar(&o.rows, "rows", rowKeys, "rows to measure")
	f.IntVar(&o.repeats, "repeats", 3, "runs of each half of a pair (with --quick: 1)")
	f.BoolVar(&o.json, "json", false, "print the report as one JSON object")
	f.StringVar(&o.write, "write", "", "also put the table between the marks of this Markdown file")
	cmd.AddCommand(bareWorkerCommand(), bareNanoMDMCommand(), listWorkerCommand())
	return cmd
}

// unmeasured is a run in which rows could not be measured; the report says which and why.
type unmeasured struct{ rows []string }

func (u unmeasured) Error() string { return "not measured: row " + strings.Join(u.rows, ", ") }

// AlreadySaid returns the exit code.
func (u unmeasured) AlreadySaid() int { return 1 }

func (o options) check() error {
	if o.repeats < 1 {
		return fmt.Errorf("--repeats is %d; it must be at least 1", o.repeats)
	}
	if len(o.rows) == 0 {
		return settings.Misused("--rows names no row; take some of %s", strings.Join(rowKeys, ","))
	}
	for _, r := range o.rows {
		if !slices.Contains(rowKeys, r) {
			return settings.Misused("--rows: there is no row %q; take some of %s", r, strings.Join(rowKeys, ","))
		}
	}
	return nil
}

func (o options) run(ctx context.Context, out, errOut io.Writer) error {
	if err := o.check(); err != nil {
		return err
	}
	report, err := o.measure(ctx, func(sentence string) { _, _ = fmt.Fprintln(errOut, sentence) })
	if err != nil {
		return err
	}
	if o.write != "" {
		if err := writeBetweenMarks(o.write, report.Markdown()); err != nil {
			return err
		}
	}
	if o.json {
		err = json.NewEncoder(out).Encode(report)
	} else {
		_, err = io.WriteString(out, report.Markdown())
	}
	if err != nil {
		return err
	}
	if failed := report.unmeasured(); len(failed) > 0 {
		return unmeasured{failed}
	}
	return nil
}

// measure measures the rows in the order of [turns]. A row that fails is told in the report; the others are measured all the same.
func (o options) measure(ctx context.Context, say func(string)) (Report, error) {
	machine := describeMachine()
	s, err := openStage(ctx, o, say)
	if err != nil {
		return Report{}, err
	}
	report := Report{Quick: o.quick, Durable: o.durable, Repeats: o.repeats, Machine: machine}
	watched, release := s.watch(ctx)
	err = s.describeServers(watched, &report.Machine)
	for _, key := range turns {
		if err == nil && slices.Contains(o.rows, key) {
			report.Rows = append(report.Rows, s.row(watched, key))
		}
	}
	release()
	slices.SortFunc(report.Rows, func(a, b Row) int { return strings.Compare(a.Key, b.Key) })
	return report, errors.Join(err, ctx.Err(), s.Close())
}

func (s *stage) row(ctx context.Context, key string) Row {
	row := rows[key]
	row.Key = key
	s.say("Row " + key + ": " + row.Title + " …")
	if err := row.measure(ctx, s, &row); err != nil {
		row.Error = err.Error()
		if cause := context.Cause(ctx); cause != nil {
			row.Error = cause.Error()
		}
		s.say("Row " + key + " could not be measured: " + row.Error)
	}
	return row
}
