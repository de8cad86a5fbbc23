package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

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
	cmd.Flags().StringVarP(&o.format, "output", "o", "table", "table, json or yaml")
	cmd.PreRunE = func(*cobra.Command, []string) error {
		switch o.format {
		case "table", "json", "yaml":
			return nil
		}
		return settings.Misused("-o %s is no form of output; take table, json or yaml", o.format)
	}
	return o
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
