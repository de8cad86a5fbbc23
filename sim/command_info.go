package sim

import (
	"fmt"
	"strings"
)

const (
	capacityGB  = 128.0
	availableGB = 96.5
)

// deviceInformation answers the queries that it knows; the others are left out, as real devices do.
func (d *Device) deviceInformation(c *command) result {
	known := d.information()
	answers := dict{}
	for _, query := range stringsAt(c.body, "Queries") {
		if value, ok := known[query]; ok {
			answers[query] = value
		}
	}
	return acknowledged(dict{"QueryResponses": answers})
}

func (d *Device) information() dict {
	info := d.hardware()
	for key, value := range d.connectivity() {
		info[key] = value
	}
	for key, value := range (dict{
		"AwaitingConfiguration":         d.state.awaiting,
		"DeviceName":                    d.state.name,
		"IsSupervised":                  d.state.setup.supervised,
		"IsMultiUser":                   false,
		"IsDeviceLocatorServiceEnabled": false,
		"IsActivationLockEnabled":       false,
		"IsDoNotDisturbInEffect":        false,
		"IsCloudBackupEnabled":          false,
		"IsMDMLostModeEnabled":          false,
		"iTunesStoreAccountIsActive":    false,
		"DiagnosticSubmissionEnabled":   false,
		"AppAnalyticsEnabled":           false,
		"TimeZone":                      d.state.timeZone,
		"PushToken":                     d.state.enrolment.token,
		"EASDeviceIdentifier":           strings.ReplaceAll(d.chance.uuid("eas", d.cfg.Serial), "-", ""),
		"AccessibilitySettings":         dict{"BoldTextEnabled": false, "ZoomEnabled": false, "VoiceOverEnabled": false, "TextSize": 4},
		"SoftwareUpdateSettings":        dict{"RecommendationsCadence": 0},
	}) {
		info[key] = value
	}
	if d.state.org != nil {
		info["OrganizationInfo"] = d.state.org
	}
	if d.state.options != nil {
		info["MDMOptions"] = d.state.options
	}
	return info
}

func (d *Device) hardware() dict {
	return dict{
		"UDID":                     d.cfg.UDID,
		"SerialNumber":             d.cfg.Serial,
		"ProductName":              d.cfg.ProductName,
		"Model":                    d.cfg.Model,
		"ModelName":                d.cfg.ModelName,
		"ModelNumber":              d.cfg.Model + "LL/A",
		"OSVersion":                d.state.system.version,
		"BuildVersion":             d.state.system.build,
		"SupplementalBuildVersion": d.state.system.build,
		"SoftwareUpdateDeviceID":   strings.ReplaceAll(d.cfg.ProductName, ",", "_"),
		"DeviceCapacity":           capacityGB,
		"AvailableDeviceCapacity":  availableGB,
		"BatteryLevel":             0.8,
	}
}

func (d *Device) connectivity() dict {
	info := dict{
		"WiFiMAC":           d.mac("wifi"),
		"BluetoothMAC":      d.mac("bluetooth"),
		"IsNetworkTethered": false,
		"IsRoaming":         false,
	}
	if !d.cellular() {
		info["CellularTechnology"] = 0
		return info
	}
	info["CellularTechnology"] = 1
	info["IMEI"], info["MEID"] = d.imei(), d.meid()
	info["ModemFirmwareVersion"] = "2.10.01"
	info["DataRoamingEnabled"], info["VoiceRoamingEnabled"], info["PersonalHotspotEnabled"] = d.state.roaming, false, false
	info["ServiceSubscriptions"] = []any{dict{
		"Slot": "CTSubscriptionSlotOne", "IMEI": d.imei(), "MEID": d.meid(),
		"IsDataPreferred": true, "IsVoicePreferred": true, "IsRoaming": false,
	}}
	return info
}

func (d *Device) securityInfo(*command) result {
	return acknowledged(dict{"SecurityInfo": dict{
		"HardwareEncryptionCaps":        3,
		"PasscodePresent":               false,
		"PasscodeCompliant":             true,
		"PasscodeCompliantWithProfiles": true,
		"ManagementStatus":              dict{"IsUserEnrollment": false},
	}})
}

func (d *Device) cellular() bool { return strings.HasPrefix(d.cfg.ProductName, "iPhone") }

func (d *Device) mac(which string) string {
	b := chance{}.bytes(which, d.cfg.Serial)
	return fmt.Sprintf("a4:%02x:%02x:%02x:%02x:%02x", b[0], b[1], b[2], b[3], b[4])
}

// imei makes fifteen digits of which the last is the check digit (Luhn).
func (d *Device) imei() string {
	b := chance{}.bytes("imei", d.cfg.Serial)
	digits, sum := "35", 3+1 // 3, and 5 doubled, digits added
	for i := 2; i < 14; i++ {
		n := int(b[i]) % 10
		digits += fmt.Sprint(n)
		if i%2 == 1 {
			n = n*2/10 + n*2%10
		}
		sum += n
	}
	return digits + fmt.Sprint((10-sum%10)%10)
}

func (d *Device) meid() string { return d.imei()[:14] }
