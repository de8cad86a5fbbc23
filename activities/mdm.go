// Package activities does what workflows decide: each struct stands for one outside thing, over small interfaces that the
// store implements. Every activity may be repeated and returns the device as the store sees it afterwards.
package activities

import (
	"context"

	"github.com/muster-mdm/muster/provision"
)

// Planner makes a device's plan and queues its commands.
type Planner interface {
	// Apply does nothing when a plan newer than after is current already.
	Apply(ctx context.Context, serial string, after int64, round int, managementIdentifier string) (provision.Device, error)
}

// MDM is the devices' management: what is sent to them.
type MDM struct {
	Planner Planner
	// ManagementIdentifier is the payload identifier of the enrollment profile, by which devices list it.
	ManagementIdentifier string
}

// ApplyInput names the device and what the workflow knows of its plan.
type ApplyInput struct {
	Serial string `json:"serial"`
	// After is the plan that the workflow knows of; 0 = none.
	After int64 `json:"after,omitempty"`
	// Round is the try that begins, from 1.
	Round int `json:"round,omitempty"`
}

// ApplyGroups reconciles what is on the device with what its groups want: one transaction plans the items and queues the
// commands. A retry does no harm: the plan that a former attempt made is newer than After, and CommandUUIDs follow from
// what the commands are.
func (m *MDM) ApplyGroups(ctx context.Context, in ApplyInput) (provision.Device, error) {
	d, err := m.Planner.Apply(ctx, in.Serial, in.After, max(in.Round, 1), m.ManagementIdentifier)
	return d, told(ctx, err)
}
