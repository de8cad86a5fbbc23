package sim

import "context"

func (d *Device) deviceConfigured(*command) result {
	if !d.state.setup.automated {
		return failed(mdmError(mdmMalformedRequest, "The device is not in automated enrollment."))
	}
	d.state.awaiting = false
	if d.state.putOff { // it can be done now, so the device asks again by itself
		d.state.putOff = false
		d.poke()
	}
	return acknowledged(nil)
}

func (d *Device) lock(c *command) result {
	if text(c.body, "Message") == "" && text(c.body, "PhoneNumber") == "" {
		return acknowledged(nil)
	}
	return acknowledged(dict{"MessageResult": "NoPasscodeSet"})
}

func (d *Device) restart(*command) result {
	if !d.state.setup.supervised {
		return failed(mdmError(mdmMalformedRequest, "The device is not supervised."))
	}
	res := acknowledged(nil)
	res.after = func(context.Context) bool {
		d.Reboot()
		return true
	}
	return res
}

func (d *Device) eraseDevice(*command) result {
	res := acknowledged(nil)
	res.after = func(context.Context) bool {
		d.Reset()
		return true
	}
	return res
}
