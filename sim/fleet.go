package sim

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"
)

const defaultExchanges = 64

// FleetConfig describes many devices of one kind.
type FleetConfig struct {
	Size    int
	Seed    uint64   // of the serial numbers, and of each device's luck
	Serials []string // instead of Size and generated ones
	Device  Config   // what all devices have in common; Serial, UDID, Seed, Client and Slots are the fleet's
	// Exchanges bounds how many devices exchange a message at the same time; 0: 64.
	Exchanges int
	// Vary, when set, changes the configuration of the i-th device.
	Vary func(i int, c *Config)
}

// Fleet is many devices that share connections and keys. While idle a device costs one parked goroutine, in Run,
// and a few kilobytes.
type Fleet struct {
	devices   []*Device
	bySerial  map[string]*Device
	transport *http.Transport
}

// NewFleet makes the devices; none is enrolled.
func NewFleet(cfg FleetConfig) (*Fleet, error) {
	if len(cfg.Serials) == 0 {
		cfg.Serials = Serials(cfg.Seed, cfg.Size)
	}
	if cfg.Exchanges <= 0 {
		cfg.Exchanges = defaultExchanges
	}
	f := &Fleet{bySerial: map[string]*Device{}, transport: &http.Transport{
		MaxIdleConns:        cfg.Exchanges,
		MaxIdleConnsPerHost: cfg.Exchanges,
		IdleConnTimeout:     30 * time.Second,
	}}
	shared := cfg.Device
	shared.Seed = cfg.Seed
	shared.Client = &http.Client{Transport: f.transport}
	shared.Slots = make(chan struct{}, cfg.Exchanges)
	for i, serial := range cfg.Serials {
		c := shared
		c.Serial, c.UDID = serial, ""
		if cfg.Vary != nil {
			cfg.Vary(i, &c)
		}
		d, err := NewDevice(c)
		if err != nil {
			return nil, fmt.Errorf("making device %s: %w", serial, err)
		}
		f.devices = append(f.devices, d)
		f.bySerial[d.Serial()] = d
	}
	return f, nil
}

// Devices returns all devices in the order of their serial numbers' generation.
func (f *Fleet) Devices() []*Device { return f.devices }

// Device returns a device by its serial number in upper case, or nil.
func (f *Fleet) Device(serial string) *Device { return f.bySerial[serial] }

// Run runs the connect loops of all devices until ctx ends.
func (f *Fleet) Run(ctx context.Context) {
	var running sync.WaitGroup
	for _, d := range f.devices {
		running.Go(func() { _ = d.Run(ctx) }) // ends with ctx only, without an error
	}
	running.Wait()
}

// Close gives back the connections of all devices.
func (f *Fleet) Close() {
	for _, d := range f.devices {
		d.Close()
	}
	f.transport.CloseIdleConnections()
}
