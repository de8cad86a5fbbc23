package sim

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/smallstep/pkcs7"
)

// MachineInfo is what the device sends to be given its enrollment profile: a property list, signed by the identity that it
// left the factory with.
func (d *Device) MachineInfo() ([]byte, error) {
	info := d.machineInfo()
	body, err := encode(info)
	if err != nil {
		return nil, err
	}
	return d.SignAsMade(body)
}

// SignAsMade signs anything by the identity that the device left the factory with.
func (d *Device) SignAsMade(body []byte) ([]byte, error) {
	id, err := d.builtin()
	if err != nil {
		return nil, err
	}
	signed, err := pkcs7.NewSignedData(body)
	if err != nil {
		return nil, fmt.Errorf("signing machine information: %w", err)
	}
	if err := signed.AddSigner(id.cert, id.key, pkcs7.SignerInfoConfig{}); err != nil {
		return nil, fmt.Errorf("signing machine information: %w", err)
	}
	for _, c := range id.ca { // which the library would refuse as a chain, for their SHA-1
		signed.AddCertificate(c)
	}
	return signed.Finish()
}

func (d *Device) builtin() (*identity, error) {
	if d.cfg.Factory == nil {
		return nil, errors.New("the device has no identity of its own: it was made by no factory")
	}
	d.made.Do(func() { d.origin, d.unmade = d.cfg.Factory.builtin(d.cfg.UDID) })
	return d.origin, d.unmade
}

// machineInfo has the keys that a device of its operating system and version has (Apple: MachineInfo).
func (d *Device) machineInfo() dict {
	d.mu.Lock()
	defer d.mu.Unlock()
	system := d.state.system
	info := dict{
		"UDID": d.cfg.UDID, "SERIAL": d.cfg.Serial, "PRODUCT": d.cfg.ProductName, "VERSION": system.build, "LANGUAGE": "en",
	}
	if d.cellular() {
		info["IMEI"], info["MEID"] = d.imei(), d.meid()
	}
	says, updates, named := "17.0", "17.0", "17.4" // since which version each is said
	if strings.Contains(d.cfg.ProductName, "Mac") {
		says, updates, named = "14.0", "14.0", "14.4"
	}
	if !older(system.version, says) {
		info["OS_VERSION"], info["SUPPLEMENTAL_BUILD_VERSION"] = system.version, system.build
	}
	if !older(system.version, updates) && d.canUpdate() {
		info["MDM_CAN_REQUEST_SOFTWARE_UPDATE"] = true
	}
	if !older(system.version, named) {
		info["SOFTWARE_UPDATE_DEVICE_ID"] = strings.ReplaceAll(d.cfg.ProductName, ",", "_")
	}
	return info
}

// canUpdate tells whether a server may have the device update itself while it is set up.
func (d *Device) canUpdate() bool {
	return !d.cfg.Faults.CannotUpdate && !strings.HasPrefix(d.cfg.ProductName, "AppleTV")
}

// older compares versions number by number.
func older(a, b string) bool {
	left, right := strings.Split(a, "."), strings.Split(b, ".")
	for i := range max(len(left), len(right)) {
		l, r := part(left, i), part(right, i)
		if l != r {
			return l < r
		}
	}
	return false
}

func part(version []string, i int) int {
	if i >= len(version) {
		return 0
	}
	n, _ := strconv.Atoi(version[i]) // what is no number comes first
	return n
}
