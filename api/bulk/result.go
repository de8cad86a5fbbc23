package bulk

import (
	"encoding/csv"
	"fmt"
	"io"
	"slices"
	"strings"
)

// resultColumns are what a result has beside the file's own columns.
var resultColumns = []string{"Verdict", "Detail", "Link"}

// isResult reports whether a header is that of a result.
func isResult(header []string) bool {
	for _, name := range resultColumns {
		if !slices.ContainsFunc(header, func(c string) bool { return strings.TrimSpace(c) == name }) {
			return false
		}
	}
	return true
}

// ResultWriter writes a file's rows again, with their verdicts. What it writes can be corrected and imported: it says the
// same, and no spreadsheet calculates what is in it.
type ResultWriter struct {
	csv       *csv.Writer
	delimiter string
	width     int   // of the original rows
	drop      []int // the columns of an earlier result
}

// NewResultWriter returns a writer for the rows of a file with that header and layout, and writes the header.
func NewResultWriter(w io.Writer, header []string, l Layout) (*ResultWriter, error) {
	if l.BOM {
		if _, err := io.WriteString(w, "\uFEFF"); err != nil {
			return nil, fmt.Errorf("writing the result: %w", err)
		}
	}
	if l.Delimiter == 0 {
		l.Delimiter = ','
	}
	r := &ResultWriter{csv: csv.NewWriter(w), delimiter: string(l.Delimiter), width: len(header)}
	r.csv.Comma = l.Delimiter
	if isResult(header) {
		for i, name := range header {
			if slices.Contains(resultColumns, strings.TrimSpace(name)) {
				r.drop = append(r.drop, i)
			}
		}
	}
	return r, r.write(header, resultColumns...)
}

// Write writes a row. The link is where more is known about its device, or "".
func (r *ResultWriter) Write(row Row, link string) error {
	return r.write(row.Record, string(row.Verdict), Details(row.Problems), link)
}

// Flush hands everything to the underlying writer.
func (r *ResultWriter) Flush() error {
	r.csv.Flush()
	return r.failed(r.csv.Error())
}

func (r *ResultWriter) write(cells []string, added ...string) error {
	line := make([]string, 0, r.width+len(added))
	for i := range r.width {
		if !slices.Contains(r.drop, i) {
			line = append(line, Guard(r.cell(cells, i)))
		}
	}
	for _, a := range added {
		line = append(line, Guard(a))
	}
	return r.failed(r.csv.Write(line))
}

func (r *ResultWriter) failed(err error) error {
	if err != nil {
		return fmt.Errorf("writing the result: %w", err)
	}
	return nil
}

// inOneLine makes one line of several.
var inOneLine = strings.NewReplacer("\r\n", " ", "\r", " ", "\n", " ")

// cell returns an original cell. What stands behind the last column goes into that, for no cell may move; in a single line,
// because several with delimiters in them look like rows that were swallowed.
func (r *ResultWriter) cell(cells []string, i int) string {
	switch {
	case i >= len(cells):
		return ""
	case i == r.width-1 && len(cells) > r.width:
		last := len(cells) - 1
		for last > i && strings.TrimFunc(cells[last], empty) == "" {
			last-- // it was no value to the reader either
		}
		all := strings.Join(cells[i:last+1], r.delimiter)
		if strings.Contains(all, r.delimiter) {
			all = inOneLine.Replace(all)
		}
		return all
	}
	return cells[i]
}

// Guard makes a cell safe for spreadsheets: an apostrophe in front of what they would calculate has it shown as text
// (OWASP, "CSV Injection"). What can't be read is replaced by U+FFFD.
func Guard(cell string) string {
	cell = strings.ReplaceAll(strings.ToValidUTF8(cell, "�"), "\x00", "�")
	if formula(strings.TrimLeft(cell, "'")) {
		return "'" + cell
	}
	return cell
}

// unguardAll undoes Guard.
func unguardAll(cells []string) {
	for i, cell := range cells {
		if rest, ok := strings.CutPrefix(cell, "'"); ok && formula(strings.TrimLeft(rest, "'")) {
			cells[i] = rest
		}
	}
}
