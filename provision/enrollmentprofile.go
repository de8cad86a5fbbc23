package provision

import (
	"encoding/json"
	"fmt"
)

// EnrollmentAddresses are where devices that are switched on find Muster.
type EnrollmentAddresses struct {
	// Enroll takes what a device tells of itself and answers with its enrollment profile.
	Enroll string
	// SignIn is the page on which the device's user signs in first; "" = there is none.
	SignIn string
}

// activateByUser is the activation mode in which the device's user signs in during setup (R68).
const activateByUser = "by_user"

// longestProfileName is Apple's limit.
const longestProfileName = 125

// ForApple makes of a device profile what Apple is to define (Apple: Profile): its fields, and what Muster fills in. The
// addresses are always Muster's own, and a profile without a name at Apple gets the one that it has here. It fails with
// [Invalid] when an address that the activation mode needs isn't set: without a sign-in page anybody could enroll the
// device.
func (a EnrollmentAddresses) ForApple(name, activationMode string, fields json.RawMessage) (json.RawMessage, error) {
	all := map[string]json.RawMessage{}
	if err := json.Unmarshal(fields, &all); err != nil {
		return nil, fmt.Errorf("reading the fields of device profile %q: %w", name, err)
	}
	switch {
	case a.Enroll == "":
		return nil, Errorf(Invalid, "Device profile %q can't be defined at Apple: this service has no address at which devices enroll. Set MUSTER_PUBLIC_URL.", name)
	case activationMode == activateByUser && a.SignIn == "":
		return nil, Errorf(Invalid, "Device profile %q can't be defined at Apple: its users are to sign in during setup, and this service has no page for that.", name)
	}
	delete(all, "devices") // they are assigned by a request of their own, which answers for each
	delete(all, "configuration_web_url")
	filled := map[string]string{"url": a.Enroll}
	if activationMode == activateByUser {
		filled["configuration_web_url"] = a.SignIn
	}
	if all["profile_name"] == nil {
		runes := []rune(name)
		filled["profile_name"] = string(runes[:min(len(runes), longestProfileName)])
	}
	for field, value := range filled {
		raw, err := json.Marshal(value)
		if err != nil {
			return nil, fmt.Errorf("writing %s of device profile %q: %w", field, name, err)
		}
		all[field] = raw
	}
	whole, err := json.Marshal(all)
	if err != nil {
		return nil, fmt.Errorf("writing device profile %q: %w", name, err)
	}
	return whole, nil
}
