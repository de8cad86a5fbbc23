package cli

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"github.com/muster-mdm/muster/api/bulk"
	"github.com/muster-mdm/muster/cmd/muster/settings"
)

// output is the form in which a command shows what it got: a table for people, or JSON or YAML of the API's own fields.
type output struct {
	format string
	cmd    *cobra.Command
}

// withOutput gives a command the flag -o.
func withOutput(cmd *cobra.Command) *output {
	o := &output{cmd: cmd}
	o.takes("table, json or yaml", "table", "json", "yaml")
	return o
}

// withList is [withOutput] for lists, which can be wide, and CSV.
func withList(cmd *cobra.Command) *output {
	o := &output{cmd: cmd}
	o.takes("table, wide, json, yaml or csv", "table", "wide", "json", "yaml", "csv")
	return o
}

func (o *output) takes(words string, formats ...string) {
	o.cmd.Flags().StringVarP(&o.format, "output", "o", "table", words)
	offer(o.cmd, "output", formats...)
	o.cmd.PreRunE = func(*cobra.Command, []string) error {
		if slices.Contains(formats, o.format) {
			return nil
		}
		return settings.Misused("-o %s is no form of output; take %s", o.format, words)
	}
}

// offer has the shell complete a flag that takes one of a few words.
func offer(cmd *cobra.Command, flag string, words ...string) {
	_ = cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp)) // it fails for flags that aren't there
}

// wide reports whether a table may have columns that most people don't need.
func (o *output) wide() bool { return o.format == "wide" || o.format == "csv" }

// inCSV writes a table as CSV: row has taken tabs out of the cells. What spreadsheets would calculate is kept from them.
func inCSV(table func(w io.Writer)) ([]byte, error) {
	var b, out bytes.Buffer
	table(&b)
	w := csv.NewWriter(&out)
	for line := range strings.Lines(b.String()) {
		cells := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		for i, c := range cells {
			if cells[i] = bulk.Guard(c); c == "-" {
				cells[i] = "" // none
			}
		}
		if err := w.Write(cells); err != nil {
			return nil, err
		}
	}
	w.Flush()
	return out.Bytes(), w.Error()
}

// show prints a value; table writes it for people, cells separated by tabs.
func (o *output) show(value any, table func(w io.Writer)) error {
	var text []byte
	var err error
	switch o.format {
	case "json":
		text, err = inJSON(value)
	case "yaml":
		text, err = inYAML(value)
	case "csv":
		text, err = inCSV(table)
	default:
		var b bytes.Buffer
		w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
		table(w)
		err = w.Flush()
		text = b.Bytes()
	}
	if err != nil {
		return fmt.Errorf("writing the output: %w", err)
	}
	if _, err := o.cmd.OutOrStdout().Write(text); err != nil {
		return fmt.Errorf("writing the output: %w", err)
	}
	return nil
}

func inJSON(value any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	err := e.Encode(value)
	return b.Bytes(), err
}

// inYAML goes by JSON, which is YAML, too: so the fields have the API's names and order.
func inYAML(value any) ([]byte, error) {
	text, err := inJSON(value)
	if err != nil {
		return nil, err
	}
	var n yaml.Node
	if err := yaml.Unmarshal(text, &n); err != nil {
		return nil, err
	}
	plain(&n)
	var b bytes.Buffer
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	if err := e.Encode(&n); err != nil {
		return nil, err
	}
	err = e.Close()
	return b.Bytes(), err
}

// plain takes JSON's braces and quotes away; the encoder quotes what would be read as something else.
func plain(n *yaml.Node) {
	n.Style = 0
	for _, inner := range n.Content {
		plain(inner)
	}
}

// row writes the cells of a line. What others wrote can't move the cursor or colour the terminal.
func row(w io.Writer, cells ...string) {
	tame := make([]string, len(cells))
	for i, cell := range cells {
		tame[i] = strings.Map(func(r rune) rune {
			if unicode.IsControl(r) {
				return ' '
			}
			return r
		}, cell)
	}
	_, _ = fmt.Fprintln(w, strings.Join(tame, "\t"))
}

// line writes a name and what it is, unless that is empty.
func line(w io.Writer, name, is string) {
	if is != "" {
		row(w, name+":", is)
	}
}

// moment writes a time for people; nil is none.
func moment(t *time.Time) string {
	if t == nil || t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02 15:04 UTC")
}
