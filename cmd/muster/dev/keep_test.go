package dev

import (
	"encoding/json"
	"fmt"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/sim"
)

const serial = "C07Q853LG9RM"

func newDevice(t *testing.T) *sim.Device {
	t.Helper()
	dev, err := sim.NewDevice(sim.Config{Serial: serial, DeviceName: "iPad 01"})
	require.NoError(t, err)
	t.Cleanup(dev.Close)
	return dev
}

// loaded is a keeper with one fresh device loaded, and what it said.
func loaded(t *testing.T, dir, database string) (*keeper, *sim.Device, []string) {
	t.Helper()
	k, err := newKeeper(dir, "http://127.0.0.1:8080", database)
	require.NoError(t, err)
	dev := newDevice(t)
	var said []string
	k.loadAll([]*sim.Device{dev}, func(format string, args ...any) { said = append(said, fmt.Sprintf(format, args...)) })
	return k, dev, said
}

func TestKeeperGoesOn(t *testing.T) {
	dir := t.TempDir()
	k, dev, said := loaded(t, dir, "A")
	require.Empty(t, said)
	require.NoError(t, k.done(dev, func(r *record) { r.Registered, r.Assigned = true, true }))
	info, err := os.Stat(k.file(serial))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode())

	k, _, said = loaded(t, dir, "A")
	require.Empty(t, said)
	r := k.record(serial)
	require.True(t, r.Registered && r.Assigned)
	require.False(t, r.Enrolled)

	k, _, said = loaded(t, dir, "B")
	require.Empty(t, said)
	require.Equal(t, record{Server: "http://127.0.0.1:8080", Database: "B"}, k.record(serial), "another database knows no device")
}

func TestKeeperWritesOnlyWhatChanged(t *testing.T) {
	k, dev, _ := loaded(t, t.TempDir(), "A")
	devices := []*sim.Device{dev}
	require.NoError(t, k.saveAll(devices))
	require.NoError(t, os.Remove(k.file(serial)))
	require.NoError(t, k.saveAll(devices))
	require.NoFileExists(t, k.file(serial))
	dev.Reset()
	require.NoError(t, k.saveAll(devices))
	require.FileExists(t, k.file(serial))
	require.NoFileExists(t, k.file(serial)+".new")
}

func TestKeeperTellsWhatItCannotWrite(t *testing.T) {
	k, dev, _ := loaded(t, t.TempDir(), "A")
	require.NoError(t, os.RemoveAll(k.dir))
	require.ErrorContains(t, k.saveAll([]*sim.Device{dev}), "keeping what device "+serial+" remembers")
}

func TestDamagedMemories(t *testing.T) {
	whole := func(device string) []byte {
		raw, err := json.Marshal(record{Database: "A", Registered: true, Assigned: true, Enrolled: true, Device: json.RawMessage(device)})
		require.NoError(t, err)
		return raw
	}
	cases := []struct {
		name    string
		content []byte
		kept    record
	}{
		{"empty", nil, record{}},
		{"cut off", whole("{}")[:20], record{}},
		{"device of a later version", whole(`{"Version": 99}`), record{Registered: true, Assigned: true}},
		{"no device", whole("null"), record{Registered: true, Assigned: true}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			require.NoError(t, os.WriteFile((&keeper{dir: dir}).file(serial), c.content, 0o600))
			k, dev, said := loaded(t, dir, "A")
			require.Len(t, said, 1)
			require.Contains(t, said[0], serial+" comes out of its box again: ")
			require.NotContains(t, said[0], "\n")
			r := k.record(serial)
			require.Equal(t, c.kept.Registered, r.Registered)
			require.Equal(t, c.kept.Assigned, r.Assigned)
			require.False(t, r.Enrolled, "it has to enroll again")
			require.Equal(t, "iPad 01", dev.Snapshot().Name)
			require.NoError(t, k.saveAll([]*sim.Device{dev}))
			_, _, said = loaded(t, dir, "A")
			require.Empty(t, said, "it was mended")
		})
	}
}
