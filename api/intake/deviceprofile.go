package intake

import (
	"context"
	"strings"

	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/store"
)

// PutDeviceProfile creates a device profile or gives it new content, which [provision.CheckDeviceProfile] must accept.
func (i *Intake) PutDeviceProfile(ctx context.Context, p store.DeviceProfile, how store.Edit) (saved store.DeviceProfile, created bool, err error) {
	if p.Name, err = provision.CheckItemName(p.Name); err != nil {
		return p, false, err
	}
	p.Description = strings.TrimSpace(p.Description)
	if p.ActivationMode == "" {
		p.ActivationMode = provision.ByAdmin
	}
	if p.Fields, err = provision.CheckDeviceProfile(p.Fields, p.ActivationMode); err != nil {
		return p, false, err
	}
	return i.db.PutDeviceProfile(ctx, p, how)
}

// DeleteDeviceProfile deletes a device profile that no server, group or device has.
func (i *Intake) DeleteDeviceProfile(ctx context.Context, name string, condition store.Condition) error {
	return i.db.DeleteDeviceProfile(ctx, name, condition)
}

// SetDeviceProfile has one device set up by a device profile of its own; "" takes that back.
func (i *Intake) SetDeviceProfile(ctx context.Context, by Actor, serial, profile string) (string, error) {
	serial, err := provision.ParseSerial(serial)
	if err != nil {
		return "", err
	}
	return serial, i.db.SetDeviceProfile(ctx, serial, profile, by.fact(provision.DeviceProfileChosen))
}
