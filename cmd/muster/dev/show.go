package dev

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/term"

	"github.com/muster-mdm/muster/api/client"
)

// show keeps a person up to date about the devices until the context ends: a live table on a terminal, a line per change
// elsewhere.
func (d *demo) show(ctx context.Context, out io.Writer, o options) error {
	view := view{out: out, live: !o.plain && isTerminal(out), begun: time.Now(), last: map[string]string{}, told: map[string]bool{}}
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		devices, err := d.list(ctx)
		if err != nil {
			continue // the API is stopping, or starting again; the next tick tells
		}
		view.render(devices, d.failures())
		if o.until == "enrolled" && d.allEnrolled(devices) {
			return nil
		}
	}
}

func isTerminal(out io.Writer) bool {
	f, ok := out.(*os.File)
	return ok && term.IsTerminal(int(f.Fd())) //nolint:gosec // a file descriptor fits
}

func (d *demo) list(ctx context.Context) ([]client.Device, error) {
	limit := 500
	res, err := d.api.ListDevicesWithResponse(ctx, &client.ListDevicesParams{Limit: &limit})
	if err != nil {
		return nil, err
	}
	if res.JSON200 == nil {
		return nil, wanted("listing", res.StatusCode(), res.Body)
	}
	return res.JSON200.Devices, nil
}

func (d *demo) failures() map[string]error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return maps.Clone(d.failed)
}

// allEnrolled reports whether every device that was assigned and switched on is Enrolled.
func (d *demo) allEnrolled(devices []client.Device) bool {
	n := len(d.fleet.Devices())
	want := n
	if n >= 6 {
		want = n - neverOn - neverAssigned
	}
	got := 0
	for _, dev := range devices {
		if dev.Status == client.StatusEnrolled {
			got++
		}
	}
	return got >= want
}

// view is what a person sees.
type view struct {
	out   io.Writer
	live  bool
	begun time.Time
	last  map[string]string
	told  map[string]bool
	lines int
	full  bool
}

func (v *view) render(devices []client.Device, failed map[string]error) {
	changed := false
	for _, dev := range devices {
		now := strings.Join(dev.Labels, ", ")
		if v.last[dev.Serial] == now {
			continue
		}
		v.last[dev.Serial], changed = now, true
		if !v.live {
			_, _ = fmt.Fprintf(v.out, "%6.1fs  %-14s %s\n", time.Since(v.begun).Seconds(), dev.Serial, now)
		}
	}
	for _, serial := range slices.Sorted(maps.Keys(failed)) {
		if v.told[serial] {
			continue
		}
		v.told[serial], changed = true, true
		if !v.live {
			_, _ = fmt.Fprintf(v.out, "%6.1fs  %-14s went wrong: %v\n", time.Since(v.begun).Seconds(), serial, failed[serial])
		}
	}
	if v.live && (changed || !v.full) {
		v.table(devices, failed)
	}
	if !v.live && changed {
		_, _ = fmt.Fprintf(v.out, "%6.1fs  %s\n", time.Since(v.begun).Seconds(), summary(devices))
	}
}

func (v *view) table(devices []client.Device, failed map[string]error) {
	var b strings.Builder
	if v.full {
		fmt.Fprintf(&b, "\x1b[%dA\x1b[J", v.lines) // back to the table's first line, and clear what is below
	}
	fmt.Fprintf(&b, "%-14s %-12s %-10s %-32s %s\n", "SERIAL", "NAME", "USER", "GROUPS", "STATUS")
	for _, dev := range devices {
		user, groups := "", ""
		if a := dev.Assignment; a != nil {
			groups = strings.Join(a.Groups, ", ")
			if a.User != nil {
				user = a.User.Name
			}
		}
		fmt.Fprintf(&b, "%-14s %-12s %-10s %-32s %s\n", dev.Serial, dev.Name, user, groups, color(dev))
	}
	fmt.Fprintf(&b, "\n%s   (%.0f s)\n", summary(devices), time.Since(v.begun).Seconds())
	for _, serial := range slices.Sorted(maps.Keys(failed)) {
		fmt.Fprintf(&b, "%s: %v\n", serial, failed[serial])
	}
	v.lines, v.full = strings.Count(b.String(), "\n"), true
	_, _ = io.WriteString(v.out, b.String())
}

func color(dev client.Device) string {
	text := strings.Join(dev.Labels, ", ")
	switch dev.Status {
	case client.StatusEnrolled:
		return "\x1b[32m" + text + "\x1b[0m"
	case client.StatusProvisioning:
		return "\x1b[33m" + text + "\x1b[0m"
	default:
		return text
	}
}

func summary(devices []client.Device) string {
	counts := map[string]int{}
	for _, dev := range devices {
		counts[string(dev.Status)]++
	}
	var parts []string
	for _, status := range slices.Sorted(maps.Keys(counts)) {
		parts = append(parts, fmt.Sprintf("%d %s", counts[status], status))
	}
	return strings.Join(parts, " · ")
}
