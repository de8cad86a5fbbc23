package dev

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/term"

	"github.com/muster-mdm/muster/api/client"
)

// page is what a table shows.
type page struct {
	rows     []row
	summary  string
	failures []string
}

// row is a device.
type row struct {
	serial, name, user, groups, status string
	color                              string
	changed                            time.Time
}

const (
	green  = "\x1b[32m"
	yellow = "\x1b[33m"
	plain  = "\x1b[0m"
)

func rowOf(dev client.Device, changed time.Time) row {
	r := row{serial: dev.Serial, name: dev.Name, status: labels(dev), changed: changed}
	if a := dev.Assignment; a != nil {
		r.groups = strings.Join(a.Groups, ", ")
		if a.User != nil {
			r.user = a.User.Name
		}
	}
	switch dev.Status {
	case client.StatusEnrolled:
		r.color = green
	case client.StatusProvisioning:
		r.color = yellow
	}
	return r
}

// column is one that a narrow terminal may lack.
type column struct {
	title string
	width int
	text  func(row) string
}

// The status is never left out, and gets what the others leave; it is that wide with two labels.
const statusWidth = 51

// columns in the order in which they are shown; those with the highest rank are left out first.
func columns(width int) []column {
	all := []column{
		{"SERIAL", 12, func(r row) string { return r.serial }},
		{"NAME", 10, func(r row) string { return r.name }},
		{"USER", 10, func(r row) string { return r.user }},
		{"GROUPS", 29, func(r row) string { return r.groups }},
	}
	left, n := width-statusWidth, 0
	for n < len(all) && left > all[n].width {
		left -= all[n].width + 1
		n++
	}
	return all[:max(n, 1)]
}

// table is drawn again and again in the same place of a terminal.
type table struct {
	out    io.Writer
	size   func() (width, height int)
	footer string

	drawn         int // lines of the last time
	width, height int // of the terminal then
}

// terminalSize tells the size of the terminal behind out, or is nil when there is none.
func terminalSize(out io.Writer) func() (width, height int) {
	f, ok := out.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return nil
	}
	return func() (int, int) {
		width, height, err := term.GetSize(int(f.Fd()))
		if err != nil || width <= 0 || height <= 0 {
			return 80, 24
		}
		return width, height
	}
}

// resized tells whether the terminal has another size than when the table was drawn.
func (t *table) resized() bool {
	width, height := t.size()
	return width != t.width || height != t.height
}

// draw replaces what was drawn before. It never takes more lines than the terminal has, since what has scrolled away
// can't be replaced.
func (t *table) draw(p page) {
	var b strings.Builder
	switch {
	case t.drawn > 0 && t.resized(): // nobody knows where the old lines are now
		b.WriteString("\x1b[2J\x1b[H")
	case t.drawn > 0:
		fmt.Fprintf(&b, "\x1b[%dA\r", t.drawn)
	}
	t.width, t.height = t.size()
	lines := t.lines(p)
	for _, line := range lines {
		b.WriteString(line + "\x1b[K\n")
	}
	b.WriteString("\x1b[J") // what is left of a longer one
	t.drawn = len(lines)
	_, _ = io.WriteString(t.out, b.String())
}

// lines fit the terminal, with its last line left to the cursor, and its last column, which clearing the rest of a line
// would clear, too.
func (t *table) lines(p page) []string {
	width := t.width - 1
	below := []string{"", cut(p.summary, width)}
	const mostFailures = 3
	for _, f := range p.failures[:min(len(p.failures), mostFailures)] {
		below = append(below, cut(f, width))
	}
	if more := len(p.failures) - mostFailures; more > 0 {
		below = append(below, cut(fmt.Sprintf("… and %d more went wrong.", more), width))
	}
	below = append(below, cut(t.footer, width))
	rows, hidden := latest(p.rows, t.height-1-1-len(below)) // the cursor and the titles
	if hidden > 0 {
		below = append([]string{cut(fmt.Sprintf("… and %d more devices; those that changed last are shown", hidden), width)}, below...)
	}
	shown := columns(width)
	lines := []string{line(shown, width, "STATUS", "", func(c column) string { return c.title })}
	for _, r := range rows {
		lines = append(lines, line(shown, width, r.status, r.color, func(c column) string { return c.text(r) }))
	}
	lines = append(lines, below...)
	return lines[max(0, len(lines)-max(t.height-1, 1)):] // a terminal of a few lines
}

// latest keeps as many rows as there is room for, those that changed last, and leaves a line for saying so.
func latest(rows []row, room int) (kept []row, hidden int) {
	if len(rows) <= room {
		return rows, 0
	}
	kept = slices.Clone(rows)
	slices.SortStableFunc(kept, func(a, b row) int { return b.changed.Compare(a.changed) })
	kept = kept[:max(room-1, 0)]
	return kept, len(rows) - len(kept)
}

func line(shown []column, width int, status, color string, text func(column) string) string {
	var b strings.Builder
	for _, c := range shown {
		cell := cut(text(c), min(c.width, width))
		b.WriteString(cell + strings.Repeat(" ", max(min(c.width+1, width)-utf8.RuneCountInString(cell), 0)))
		width -= c.width + 1
	}
	if status = cut(status, width); color != "" {
		status = color + status + plain
	}
	b.WriteString(status)
	return b.String()
}

// cut shortens a text to so many letters, and to its first line.
func cut(text string, width int) string {
	text, _, _ = strings.Cut(text, "\n")
	letters := []rune(text)
	if len(letters) <= width {
		return text
	}
	if width <= 0 {
		return ""
	}
	return string(letters[:width-1]) + "…"
}
