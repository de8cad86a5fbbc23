package sim

import "fmt"

// applySettings applies each setting by itself; one that fails doesn't keep the others from being applied.
func (d *Device) applySettings(c *command) result {
	settings, ok := c.body["Settings"].([]any)
	if !ok {
		return failed(mdmError(mdmMalformedRequest, "The required key “Settings” is missing."))
	}
	var report dict
	for _, item := range settings {
		setting, _ := item.(dict)
		problem := d.applySetting(setting)
		if problem == nil || report != nil {
			continue
		}
		// The schema has room for one report; silence means that a setting was applied.
		report = dict{"Status": statusError, "ErrorChain": errorChain(problem)}
		copyTexts(report, setting, "Identifier")
	}
	if report == nil {
		return acknowledged(nil)
	}
	return acknowledged(dict{"Settings": report})
}

func (d *Device) applySetting(s dict) *deviceError {
	switch item := text(s, "Item"); item {
	case "DeviceName":
		if text(s, "DeviceName") == "" || !d.state.setup.supervised {
			return mdmError(mdmMalformedRequest, "The device name can't be set.")
		}
		d.state.name = text(s, "DeviceName")
	case "OrganizationInfo":
		d.state.org = organization(child(s, "OrganizationInfo"))
	case "MDMOptions":
		d.state.options = dict{"ActivationLockAllowedWhileSupervised": flag(child(s, "MDMOptions"), "ActivationLockAllowedWhileSupervised")}
	case "TimeZone":
		d.state.timeZone = text(s, "TimeZone")
	case "DataRoaming":
		d.state.roaming = flag(s, "Enabled")
	case "ApplicationConfiguration":
		a := d.state.apps[text(s, "Identifier")]
		if a == nil {
			return mdmError(mdmMalformedRequest, fmt.Sprintf("The app “%s” is not managed.", text(s, "Identifier")))
		}
		a.config = child(s, "Configuration") != nil
	case "ApplicationAttributes":
		if d.state.apps[text(s, "Identifier")] == nil {
			return mdmError(mdmMalformedRequest, fmt.Sprintf("The app “%s” is not managed.", text(s, "Identifier")))
		}
	case "Wallpaper", "VoiceRoaming", "PersonalHotspot", "Bluetooth", "SoftwareUpdateSettings", "AccessibilitySettings":
		// Nothing that the server could ask for follows from these.
	default:
		return mdmError(mdmMalformedRequest, fmt.Sprintf("The setting “%s” is not supported.", item))
	}
	return nil
}

// organization keeps what DeviceInformation gives back.
func organization(info dict) dict {
	if info == nil {
		return nil
	}
	kept := dict{}
	copyTexts(kept, info, "OrganizationName", "OrganizationAddress", "OrganizationPhone", "OrganizationEmail", "OrganizationMagic")
	return kept
}
