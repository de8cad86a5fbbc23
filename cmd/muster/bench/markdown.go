package bench

import (
	"fmt"
	"os"
	"strings"
	"time"
	"unicode/utf8"
)

// Markdown is the report as a table with the machine and the processor times; it reads well on a terminal, too.
func (r Report) Markdown() string {
	var b strings.Builder
	b.WriteString(r.Machine.sentence(r) + "\n\n")
	rates := [][]string{{"row", "what", "Muster", "bare", "ratio", "goal", ""}}
	costs := [][]string{{"row", "processor time", "Temporal", "PostgreSQL", "API", "worker", "bare", "load"}}
	for _, row := range r.Rows {
		rates = append(rates, row.rates())
		costs = append(costs, row.costs()...)
	}
	b.WriteString(table(rates))
	if len(costs) > 1 {
		b.WriteString("\n" + table(costs))
	}
	return b.String()
}

func (r Row) rates() []string {
	cells := []string{r.Key, r.Title, "—", "—", "—", r.Goal, r.verdict()}
	switch {
	case r.Error != "":
	case r.Ratio != nil:
		cells[2], cells[3] = r.Muster.text("%.1f")+" "+r.Unit+"s/s", r.Bare.text("%.1f")+" "+r.Unit+"s/s"
		cells[4] = r.Ratio.text("%.2f")
		if r.Peak != nil {
			cells[2] += ", peak " + r.Peak.text("%.0f") + " MiB"
		}
	case r.Muster != nil:
		cells[2] = r.Muster.text("%.1f") + " " + r.Unit + "s/s; p50 " + r.P50.text("%.0f") + " ms, p99 " + r.P99.text("%.0f") + " ms"
	case r.P99 != nil:
		cells[2] = "p50 " + r.P50.text("%.0f") + " ms, p99 " + r.P99.text("%.0f") + " ms"
	}
	return cells
}

func (r Row) verdict() string {
	switch {
	case r.Error != "":
		return "not measured: " + strings.Join(strings.Fields(strings.ReplaceAll(r.Error, "|", "/")), " ")
	case r.Met:
		return "met"
	}
	return "missed"
}

func (s *Series) text(format string) string {
	if len(s.Runs) == 1 {
		return fmt.Sprintf(format, s.Median)
	}
	return fmt.Sprintf(format+" ("+format+"–"+format+")", s.Median, s.Min, s.Max)
}

// costs are the row's processor times, in milliseconds per unit, or in microseconds where milliseconds would be all noughts.
func (r Row) costs() [][]string {
	unit, factor := "ms", 1.0
	if most := max(largest(r.MusterCPU), largest(r.BareCPU)); most < 0.1 {
		unit, factor = "µs", 1000
	}
	var lines [][]string
	if len(r.MusterCPU) > 0 {
		lines = append(lines, costLine(r.Key, fmt.Sprintf("%s per %s, Muster", unit, r.Unit), r.MusterCPU, factor))
	}
	if len(r.BareCPU) > 0 {
		lines = append(lines, costLine(r.Key, fmt.Sprintf("%s per %s, bare", unit, r.Unit), r.BareCPU, factor))
	}
	return lines
}

func largest(cpu map[string]float64) float64 {
	most := 0.0
	for _, spent := range cpu {
		most = max(most, spent)
	}
	return most
}

func costLine(key, what string, cpu map[string]float64, factor float64) []string {
	line := []string{key, what}
	for _, name := range processNames {
		cell := "—"
		if spent, ok := cpu[name]; ok {
			cell = fmt.Sprintf("%.2f", spent*factor)
		}
		line = append(line, cell)
	}
	return line
}

// table writes a Markdown table whose columns are aligned; the first line is the heading.
func table(lines [][]string) string {
	widths := make([]int, len(lines[0]))
	for _, line := range lines {
		for i, cell := range line {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell), 3)
		}
	}
	var b strings.Builder
	write := func(line []string, fill string) {
		for i, width := range widths {
			b.WriteString("| " + line[i] + strings.Repeat(fill, width-utf8.RuneCountInString(line[i])) + " ")
		}
		b.WriteString("|\n")
	}
	write(lines[0], " ")
	write(make([]string, len(widths)), "-")
	for _, line := range lines[1:] {
		write(line, " ")
	}
	return b.String()
}

func progress(n int, muster, bare run) string {
	return fmt.Sprintf("  run %d: Muster %.1f/s, bare %.1f/s, ratio %.2f", n+1, muster.rate(), bare.rate(), muster.rate()/bare.rate())
}

func (m Machine) sentence(r Report) string {
	s := fmt.Sprintf("Measured on %s by muster %s on %d cores of %s, %.1f GiB of memory, %s, with %s, PostgreSQL %s and Temporal %s; load average before the run: %s. "+
		"Medians of %d runs, in brackets the least and the most.",
		m.Date.Format(time.DateOnly), m.Muster, m.Cores, m.CPU, m.MemoryGB, m.System, m.Go, m.PostgreSQL, m.Temporal, m.Load, r.Repeats)
	if r.Durable {
		s += " The servers kept every commit on disk."
	}
	if r.Quick {
		s += " The runs were quick ones, which say nothing about rates."
	}
	return s
}

const (
	beginMark = "<!-- bench:begin -->"
	endMark   = "<!-- bench:end -->"
)

// writeBetweenMarks replaces what stands between the marks of a file.
func writeBetweenMarks(file, text string) error {
	raw, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("keeping the table: %w", err)
	}
	before, rest, begun := strings.Cut(string(raw), beginMark)
	_, after, ended := strings.Cut(rest, endMark)
	if !begun || !ended {
		return fmt.Errorf("keeping the table: %s has no lines %s and %s", file, beginMark, endMark)
	}
	if err := os.WriteFile(file, []byte(before+beginMark+"\n"+text+endMark+after), 0o644); err != nil { //nolint:gosec // a page for everybody
		return fmt.Errorf("keeping the table: %w", err)
	}
	return nil
}
