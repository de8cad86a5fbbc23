package provision

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
)

// Activation modes: who gives a device to its user (R67–R69).
const (
	// ByAdmin: the device enrolls without asking anybody.
	ByAdmin = "by_admin"
	// ByUser: somebody signs in during setup.
	ByUser = "by_user"
)

// ownFields are fields of Apple's that Muster fills in itself, and why they can't be given.
var ownFields = map[string]string{
	"url":                   "Muster fills in its own address, at which devices enroll",
	"configuration_web_url": "Muster fills in its sign-in page where activation_mode is by_user",
	"devices":               "devices get their profile by their server's default, by a group or by themselves",
	"profile_uuid":          "Apple gives it when Muster defines the profile there",
}

// CheckDeviceProfile returns the fields of a device profile (Apple: Profile, of the device assignment API) in the form in
// which they are kept: known ones, without nulls, in the order of their names. Impossible combinations are refused before
// Apple refuses them. It fails with [DeviceProfileBad], the field at fault as a path, and all further problems.
func CheckDeviceProfile(fields json.RawMessage, mode string) (json.RawMessage, error) {
	c := profileCheck{kept: map[string]any{}}
	if mode != ByAdmin && mode != ByUser {
		c.wrong("activation_mode", "%.40q is no activation mode; take %s or %s.", mode, ByAdmin, ByUser)
	}
	if err := json.Unmarshal(fields, &c.given); err != nil || c.given == nil {
		c.wrong("fields", "The fields of a device profile must be a JSON object.")
	}
	for _, name := range slices.Sorted(maps.Keys(c.given)) {
		c.field(name, c.given[name])
	}
	c.combinations(mode)
	if len(c.problems) > 0 {
		first := *c.problems[0]
		first.Others = c.problems[1:]
		return nil, &first
	}
	return json.Marshal(c.kept)
}

// profileCheck is a device profile on its way through the rules.
type profileCheck struct {
	given, kept map[string]any
	problems    []*Error
}

func (c *profileCheck) wrong(field, format string, args ...any) {
	c.problems = append(c.problems, Errorf(DeviceProfileBad, format, args...).At(field))
}

func (c *profileCheck) field(name string, value any) {
	at := "fields." + clip(name)
	if value == nil {
		return
	}
	if list, isList := value.([]any); name == "devices" && isList && len(list) == 0 {
		return
	}
	if reason, own := ownFields[name]; own {
		c.wrong(at, "%q can't be given: %s.", name, reason)
		return
	}
	check, known := profileFields[name]
	if !known {
		c.wrong(at, "%q is no field of a device profile%s", clip(name), meant(nearest(name, slices.Sorted(maps.Keys(profileFields)))))
		return
	}
	check(c, name, value)
}

// meant ends a sentence about an unknown word.
func meant(word string) string {
	if word == "" {
		return "."
	}
	return fmt.Sprintf("; did you mean %q?", word)
}
