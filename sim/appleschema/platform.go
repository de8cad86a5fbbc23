package appleschema

import (
	"fmt"
	"strconv"
	"strings"
)

// unavailable says why a platform doesn't have what is supported as listed, or "" when it has it.
func (p Platform) unavailable(supported map[string]support) string {
	s, listed := supported[p.OS]
	if !listed {
		return ""
	}
	for _, reason := range []string{p.versionReason(s), p.channelReason(s), p.enrollmentReason(s)} {
		if reason != "" {
			return reason
		}
	}
	return ""
}

func (p Platform) versionReason(s support) string {
	switch {
	case s.Introduced == "n/a":
		return "not available on " + p.OS
	case s.Removed == "0":
		return "removed from " + p.OS
	case p.Version == "":
		return ""
	case s.Introduced != "" && compareVersions(p.Version, s.Introduced) < 0:
		return fmt.Sprintf("introduced in %s %s", p.OS, s.Introduced)
	case s.Removed != "" && compareVersions(p.Version, s.Removed) >= 0:
		return fmt.Sprintf("removed in %s %s", p.OS, s.Removed)
	}
	return ""
}

func (p Platform) channelReason(s support) string {
	device, user := s.DeviceChannel, s.UserChannel
	if p.SharedIPad {
		device, user = either(s.SharedIPad.DeviceChannel, device), either(s.SharedIPad.UserChannel, user)
	}
	switch {
	case !p.UserChannel && denied(device):
		return "only for the user channel"
	case p.UserChannel && denied(user):
		return "only for the device channel"
	}
	return ""
}

func (p Platform) enrollmentReason(s support) string {
	switch {
	case s.UserEnrollment.Mode == "required" && !p.UserEnrollment:
		return "only for user enrollment"
	case s.UserEnrollment.Mode == "forbidden" && p.UserEnrollment:
		return "forbidden in user enrollment"
	case s.SharedIPad.Mode == "required" && !p.SharedIPad:
		return "only for Shared iPad"
	case s.SharedIPad.Mode == "forbidden" && p.SharedIPad:
		return "forbidden on Shared iPad"
	}
	return ""
}

func either(first, second *bool) *bool {
	if first != nil {
		return first
	}
	return second
}

func denied(b *bool) bool { return b != nil && !*b }

// compareVersions compares dotted versions number by number; what isn't a number counts as 0.
func compareVersions(a, b string) int {
	as, bs := strings.Split(a, "."), strings.Split(b, ".")
	for i := range max(len(as), len(bs)) {
		if d := part(as, i) - part(bs, i); d != 0 {
			return d
		}
	}
	return 0
}

func part(parts []string, i int) int {
	if i >= len(parts) {
		return 0
	}
	n, err := strconv.Atoi(parts[i])
	if err != nil {
		return 0
	}
	return n
}
