package cli

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/muster-mdm/muster/api/bulk"
	"github.com/muster-mdm/muster/provision"
)

// mostProblems are printed unless all are asked for.
const mostProblems = 50

// checkReport prints what is found in a file, as it is found.
type checkReport struct {
	check
	name   string
	out    *bufio.Writer
	errOut io.Writer
	lines  *json.Encoder

	verdicts map[bulk.Verdict]int // of rows
	unusable bool                 // the file as a whole
	problems int
	codes    map[provision.Code]int // of problems
}

func newCheckReport(c check, name string, s Streams) *checkReport {
	r := &checkReport{check: c, name: name, out: bufio.NewWriter(s.Out), errOut: s.Err, verdicts: map[bulk.Verdict]int{}, codes: map[provision.Code]int{}}
	if name == "-" {
		r.name = "standard input"
	}
	r.lines = json.NewEncoder(r.out)
	r.lines.SetEscapeHTML(false)
	return r
}

// judged is a line of --json.
type judged struct {
	Line    int              `json:"line"`
	Verdict bulk.Verdict     `json:"verdict"`
	Codes   []provision.Code `json:"codes"`
	Detail  string           `json:"detail"`
}

func (r *checkReport) failed() bool { return r.unusable || r.verdicts[bulk.Fault] > 0 }

// file reports problems of the file as a whole.
func (r *checkReport) file(problems []bulk.Problem) error {
	for _, p := range problems {
		r.unusable = r.unusable || p.Severity == bulk.Fault
		if !r.json {
			r.print(p)
			continue
		}
		if err := r.lines.Encode(judged{p.Line, p.Severity, []provision.Code{p.Code}, p.Detail}); err != nil {
			return fmt.Errorf("writing the report: %w", err)
		}
	}
	return nil
}

func (r *checkReport) row(row bulk.Row) error {
	r.verdicts[row.Verdict]++
	if r.json {
		if err := r.lines.Encode(judged{row.Line, row.Verdict, bulk.Codes(row.Problems), bulk.Details(row.Problems)}); err != nil {
			return fmt.Errorf("writing the report: %w", err)
		}
		return nil
	}
	for _, p := range row.Problems {
		r.print(p)
	}
	return nil
}

func (r *checkReport) print(p bulk.Problem) {
	r.problems++
	r.codes[p.Code]++
	if r.all || r.problems <= mostProblems {
		_, _ = fmt.Fprintf(r.out, "line %d: %s: %s (%s)\n", p.Line, p.Severity, p.Detail, p.Code)
	}
}

// close prints the summary and returns the first error of writing.
func (r *checkReport) close() error {
	if !r.json {
		r.summarise()
	}
	if err := r.out.Flush(); err != nil {
		return err
	}
	if r.format == bulk.Assignments && !r.groupsGiven && !r.unusable {
		_, _ = fmt.Fprintln(r.errOut, "Whether the groups exist wasn't checked; name those that do with --groups.")
	}
	return nil
}

func (r *checkReport) summarise() {
	if more := r.problems - mostProblems; more > 0 && !r.all {
		_, _ = fmt.Fprintf(r.out, "… and %d more; --all shows them. In all there are:\n", more)
		for _, code := range slices.Sorted(maps.Keys(r.codes)) {
			_, _ = fmt.Fprintf(r.out, "  %s: %d\n", code, r.codes[code])
		}
	}
	if r.unusable {
		_, _ = fmt.Fprintf(r.out, "%s can't be imported.\n", r.name)
		return
	}
	ok, noticed, wrong := r.verdicts[bulk.OK], r.verdicts[bulk.Notice], r.verdicts[bulk.Fault]
	if ok+noticed+wrong == 0 {
		_, _ = fmt.Fprintf(r.out, "%s has no rows.\n", r.name)
		return
	}
	_, _ = fmt.Fprintf(r.out, "%s has %s: %d ok, %d with notices, %d in error.\n", r.name, rows(ok+noticed+wrong), ok, noticed, wrong)
}

func rows(n int) string {
	if n == 1 {
		return "1 row"
	}
	return fmt.Sprintf("%d rows", n)
}
