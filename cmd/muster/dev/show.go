package dev

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/muster-mdm/muster/api/client"
)

// show keeps a person up to date about the devices until the context ends, or until what was asked for is there.
func (d *demo) show(ctx context.Context, v *view, o options) error {
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
		enrolled, able := d.progress(devices)
		v.render(devices, d.failures(), enrolled >= able)
		if o.until == "enrolled" && enrolled >= able {
			return nil
		}
	}
}

// list returns the demonstration's devices as Muster sees them; there may be others, of another seed or made by hand, which
// are shown, too.
func (d *demo) list(ctx context.Context) ([]client.Device, error) {
	var all []client.Device
	limit, cursor := 500, (*string)(nil)
	for {
		res, err := d.api.ListDevicesWithResponse(ctx, &client.ListDevicesParams{Limit: &limit, Cursor: cursor})
		if err != nil {
			return nil, err
		}
		if res.JSON200 == nil {
			return nil, wanted("listing", res.StatusCode(), res.Body)
		}
		all = append(all, res.JSON200.Devices...)
		if cursor = res.JSON200.NextCursor; cursor == nil {
			return all, nil
		}
	}
}

func (d *demo) failures() map[string]error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return maps.Clone(d.failed)
}

// progress counts the devices that are Enrolled, and those that can be: the others are never assigned or switched on.
// Muster and the device must agree on it.
func (d *demo) progress(devices []client.Device) (enrolled, able int) {
	status := map[string]client.Status{}
	for _, dev := range devices {
		status[dev.Serial] = dev.Status
	}
	for i, dev := range d.fleet.Devices() {
		if on, assigned := d.fate(i); !on || !assigned {
			continue
		}
		able++
		if status[dev.Serial()] == client.StatusEnrolled && dev.Snapshot().Enrolled {
			enrolled++
		}
	}
	return enrolled, able
}

// enrolled counts the devices that say that they are enrolled.
func (d *demo) enrolled() int {
	n := 0
	for _, dev := range d.fleet.Devices() {
		if dev.Snapshot().Enrolled {
			n++
		}
	}
	return n
}

// view is what a person sees: a live table on a terminal, a line per change elsewhere.
type view struct {
	out     io.Writer
	table   *table // nil: lines
	begun   time.Time
	last    map[string]string
	changed map[string]time.Time // when a device's labels became what they are
	told    map[string]bool
	settled bool
}

func newView(out io.Writer, o options, st *stack) *view {
	v := &view{out: out, begun: time.Now(), last: map[string]string{}, changed: map[string]time.Time{}, told: map[string]bool{}}
	if size := terminalSize(out); size != nil && !o.plain {
		v.table = &table{out: out, size: size, footer: st.muster.URL() + " · token in " + st.path("token") + " · Ctrl-C stops everything"}
	}
	return v
}

// render shows what is new. done tells that all devices that can be are Enrolled.
func (v *view) render(devices []client.Device, failed map[string]error, done bool) {
	lines := v.news(devices, failed)
	if done && !v.settled {
		lines = append(lines, "All devices that can be are Enrolled.")
	}
	if v.table != nil {
		if len(lines) > 0 || !v.settled || v.table.resized() {
			v.table.draw(v.page(devices, failed))
		}
		v.settled = done
		return
	}
	v.settled = done
	if len(lines) > 0 {
		lines = append(lines, summary(devices))
	}
	for _, line := range lines {
		_, _ = fmt.Fprintf(v.out, "%6.1fs  %s\n", time.Since(v.begun).Seconds(), line)
	}
}

// news is a line for each change since it was last asked for.
func (v *view) news(devices []client.Device, failed map[string]error) []string {
	var lines []string
	now := time.Now()
	for _, dev := range devices {
		is := labels(dev)
		if v.last[dev.Serial] == is {
			continue
		}
		v.last[dev.Serial], v.changed[dev.Serial] = is, now
		lines = append(lines, fmt.Sprintf("%-14s %s", dev.Serial, is))
	}
	for _, serial := range slices.Sorted(maps.Keys(failed)) {
		if v.told[serial] {
			continue
		}
		v.told[serial] = true
		lines = append(lines, fmt.Sprintf("%-14s went wrong: %v", serial, failed[serial]))
	}
	return lines
}

func (v *view) page(devices []client.Device, failed map[string]error) page {
	p := page{summary: fmt.Sprintf("%s   (%.0f s)", summary(devices), time.Since(v.begun).Seconds())}
	for _, dev := range devices {
		p.rows = append(p.rows, rowOf(dev, v.changed[dev.Serial]))
	}
	for _, serial := range slices.Sorted(maps.Keys(failed)) {
		p.failures = append(p.failures, fmt.Sprintf("%s went wrong: %v", serial, failed[serial]))
	}
	return p
}

func labels(dev client.Device) string { return strings.Join(dev.Labels, ", ") }

// summary counts the devices by status, in the order of a device's life.
func summary(devices []client.Device) string {
	counts := map[client.Status]int{}
	for _, dev := range devices {
		counts[dev.Status]++
	}
	var parts []string
	for _, status := range []client.Status{client.StatusAwaiting, client.StatusProvisioning, client.StatusEnrolled} {
		if counts[status] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", counts[status], status))
		}
		delete(counts, status)
	}
	for _, status := range slices.Sorted(maps.Keys(counts)) {
		parts = append(parts, fmt.Sprintf("%d %s", counts[status], status))
	}
	return strings.Join(parts, " · ")
}
