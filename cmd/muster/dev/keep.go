package dev

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/muster-mdm/muster/sim"
)

// keepEvery is how often the virtual devices' memories are written down; a crash loses no more than that.
const keepEvery = 3 * time.Second

// record is a virtual device on disk, with what the demonstration has done for it: done once, so that what people change
// by hand stays as they left it.
type record struct {
	Server     string // where its enrollment profile leads
	Database   string // in which Muster knows it
	Registered bool
	Assigned   bool
	Enrolled   bool
	SignsIn    bool // its user sets it up
	Device     json.RawMessage
}

// keeper keeps the virtual devices' memories in a folder, one file for each. It is safe for concurrent use.
type keeper struct {
	dir      string
	server   string
	database string

	mu      sync.Mutex
	records map[string]*record
	written map[string][]byte
}

func newKeeper(dir, server, database string) (*keeper, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the folder for the virtual devices: %w", err)
	}
	return &keeper{dir: dir, server: server, database: database, records: map[string]*record{}, written: map[string][]byte{}}, nil
}

func (k *keeper) file(serial string) string { return filepath.Join(k.dir, serial+".json") }

// loadAll gives the devices their memories. Those that can't go on from there come out of their boxes again, and say says so.
func (k *keeper) loadAll(devices []*sim.Device, say func(string, ...any)) {
	moved, from := 0, ""
	for _, dev := range devices {
		r, err := k.load(dev)
		if err != nil {
			say("· %s comes out of its box again: %v.", dev.Serial(), err)
		}
		if r.Server != "" && r.Server != k.server && dev.Snapshot().Enrolled {
			moved, from = moved+1, r.Server
			dev.Reset()
			r.Enrolled = false
		}
		r.Server, r.Database = k.server, k.database
		k.records[dev.Serial()] = r
	}
	if moved > 0 {
		say("· The last run was at %s, where %d devices would look for it: they come out of their boxes again.", from, moved)
	}
}

// load reads a device's record. One of another database is of no use: nobody there knows the device.
func (k *keeper) load(dev *sim.Device) (*record, error) {
	raw, err := os.ReadFile(k.file(dev.Serial()))
	if errors.Is(err, fs.ErrNotExist) {
		return &record{}, nil
	}
	if err != nil {
		return &record{}, fmt.Errorf("reading what it remembered: %w", err)
	}
	var r record
	if err := json.Unmarshal(raw, &r); err != nil {
		return &record{}, fmt.Errorf("reading what it remembered: %w", err)
	}
	if r.Database != k.database {
		return &record{}, nil
	}
	if err := dev.Restore(r.Device); err != nil {
		r.Enrolled = false
		return &r, err
	}
	return &r, nil
}

// record is what was done for a device so far.
func (k *keeper) record(serial string) record {
	k.mu.Lock()
	defer k.mu.Unlock()
	return *k.records[serial]
}

// done notes what was done for a device, and writes it down with the device's memory.
func (k *keeper) done(dev *sim.Device, note func(*record)) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	note(k.records[dev.Serial()])
	return k.save(dev)
}

// saveAll writes down what has changed.
func (k *keeper) saveAll(devices []*sim.Device) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	var errs []error
	for _, dev := range devices {
		errs = append(errs, k.save(dev))
	}
	return errors.Join(errs...)
}

// nowAndThen keeps something until the context ends or the disk refuses.
func nowAndThen(ctx context.Context, keep func() error) error {
	tick := time.NewTicker(keepEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			if err := keep(); err != nil {
				return err
			}
		}
	}
}

// save writes a device's record if it has changed. The caller holds mu.
func (k *keeper) save(dev *sim.Device) error {
	r := *k.records[dev.Serial()]
	var err error
	if r.Device, err = dev.Save(); err != nil {
		return err
	}
	raw, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("writing down what device %s remembers: %w", dev.Serial(), err)
	}
	if bytes.Equal(raw, k.written[dev.Serial()]) {
		return nil
	}
	if err := writeWhole(k.file(dev.Serial()), raw); err != nil {
		return fmt.Errorf("keeping what device %s remembers: %w", dev.Serial(), err)
	}
	k.written[dev.Serial()] = raw
	return nil
}

// writeWhole replaces a file by a rename, so that whoever reads it finds the old content or the new one, whenever we are
// killed. Only its owner can read it: it holds a private key.
func writeWhole(file string, content []byte) error {
	temp := file + ".new"
	if err := os.WriteFile(temp, content, 0o600); err != nil {
		return err
	}
	return os.Rename(temp, file)
}
