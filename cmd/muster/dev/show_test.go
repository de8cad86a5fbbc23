package dev

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/api/client"
	"github.com/muster-mdm/muster/devstack/logtest"
)

func deviceNamed(serial string, status client.Status, labels ...string) client.Device {
	a := client.Assignment{Groups: []string{"zylker_drivers", "zylker_office"}, User: &client.PersonRef{Name: "ANDREW"}}
	return client.Device{Serial: serial, Name: "iPad " + serial[:2], Status: status, Labels: labels, Assignment: &a}
}

func awaitingBoth(serial string) client.Device {
	return deviceNamed(serial, client.StatusAwaiting, "Awaiting Device Activation", "Awaiting User Assignment")
}

func newTestView(out *logtest.Log, live *table) *view {
	return &view{out: out, table: live, begun: time.Now(), last: map[string]string{}, changed: map[string]time.Time{}, told: map[string]bool{}}
}

func TestLinesTellEachChangeOnce(t *testing.T) {
	out := &logtest.Log{}
	v := newTestView(out, nil)
	failed := map[string]error{"01XXXXXXXXXX": errors.New("no network")}
	for range 2 {
		v.render([]client.Device{awaitingBoth("01XXXXXXXXXX")}, failed, false)
	}
	for range 2 {
		v.render([]client.Device{deviceNamed("01XXXXXXXXXX", client.StatusEnrolled, "Enrolled")}, failed, true)
	}
	var said []string
	for line := range strings.Lines(out.String()) {
		_, text, _ := strings.Cut(strings.TrimSpace(line), "s  ")
		said = append(said, text)
	}
	require.Equal(t, []string{
		"01XXXXXXXXXX   Awaiting Device Activation, Awaiting User Assignment", "01XXXXXXXXXX   went wrong: no network", "1 Awaiting",
		"01XXXXXXXXXX   Enrolled", "All devices that can be are Enrolled.", "1 Enrolled",
	}, said)
}

func TestTableFitsTheTerminal(t *testing.T) {
	var devices []client.Device
	failed := map[string]error{}
	for i := range 24 {
		d := awaitingBoth(fmt.Sprintf("%02dXXXXXXXXXX", i))
		devices = append(devices, d)
		if i < 5 {
			failed[d.Serial] = errors.New(strings.Repeat("long ", 40) + "\nand of two lines")
		}
	}
	for _, size := range [][2]int{{80, 24}, {200, 60}, {132, 24}, {40, 10}, {10, 3}, {1, 1}} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			out := &logtest.Log{}
			v := newTestView(out, &table{out: out, size: func() (int, int) { return size[0], size[1] }, footer: "http://127.0.0.1:8080 · Ctrl-C stops everything"})
			v.render(devices, failed, false)
			lines := screen(out)
			require.LessOrEqual(t, len(lines), max(size[1]-1, 1))
			for _, line := range lines {
				require.Less(t, utf8.RuneCountInString(line), size[0], line)
			}
		})
	}
}

func TestTableOnASmallTerminalShowsWhatChangedLast(t *testing.T) {
	out := &logtest.Log{}
	v := newTestView(out, &table{out: out, size: func() (int, int) { return 80, 12 }, footer: "footer"})
	var devices []client.Device
	for i := range 24 {
		devices = append(devices, awaitingBoth(fmt.Sprintf("%02dXXXXXXXXXX", i)))
	}
	v.render(devices, nil, false)
	devices[20] = deviceNamed(devices[20].Serial, client.StatusEnrolled, "Enrolled")
	v.render(devices, nil, false)
	lines := screen(out)
	require.Len(t, lines, 11)
	require.Equal(t, "SERIAL       NAME       STATUS", strings.TrimSpace(lines[0]))
	require.Equal(t, "20XXXXXXXXXX iPad 20    Enrolled", lines[1])
	require.Equal(t, "00XXXXXXXXXX iPad 00    Awaiting Device Activation, Awaiting User Assignment", lines[2])
	require.Equal(t, "… and 18 more devices; those that changed last are shown", lines[7])
	require.Contains(t, lines[9], "23 Awaiting · 1 Enrolled")
	require.Equal(t, "footer", lines[10])
}

func TestWideTableShowsEverything(t *testing.T) {
	out := &logtest.Log{}
	v := newTestView(out, &table{out: out, size: func() (int, int) { return 140, 40 }, footer: "footer"})
	v.render([]client.Device{awaitingBoth("01XXXXXXXXXX")}, nil, false)
	require.Contains(t, screen(out)[1], "ANDREW     zylker_drivers, zylker_office Awaiting Device Activation, Awaiting User Assignment")
}

func TestTableIsDrawnAnewWhenTheTerminalChanges(t *testing.T) {
	out, width := &logtest.Log{}, 100
	v := newTestView(out, &table{out: out, size: func() (int, int) { return width, 24 }, footer: "footer"})
	devices := []client.Device{deviceNamed("01XXXXXXXXXX", client.StatusEnrolled, "Enrolled")}
	v.render(devices, nil, true)
	before := out.String()
	v.render(devices, nil, true)
	require.Equal(t, before, out.String(), "nothing is new, so nothing is drawn")
	width = 80
	v.render(devices, nil, true)
	require.Contains(t, strings.TrimPrefix(out.String(), before), "\x1b[2J\x1b[H")
}

// screen is what the last drawing shows, without colours.
func screen(out *logtest.Log) []string {
	drawings := strings.Split(strings.TrimSuffix(out.String(), "\x1b[J"), "\x1b[J")
	last := drawings[len(drawings)-1]
	if _, rest, ok := strings.Cut(last, "A\r"); ok && strings.HasPrefix(last, "\x1b[") {
		last = rest
	}
	var lines []string
	for line := range strings.Lines(strings.NewReplacer(green, "", yellow, "", plain, "", "\x1b[K", "").Replace(last)) {
		lines = append(lines, strings.TrimSuffix(line, "\n"))
	}
	return lines
}
