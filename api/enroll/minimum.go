package enroll

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/muster-mdm/muster/apple/identity"
)

// MinimumOS is the oldest version of each operating system that may enroll; none is as good as any.
type MinimumOS map[string]string

// systems tell the operating system by how a device's product begins (iPhone15,2). A product that isn't listed, such as one of
// tomorrow, has no minimum.
var systems = []struct{ product, system string }{
	{"iPhone", "ios"},
	{"iPod", "ios"},
	{"iPad", "ipados"},
	{"Mac", "macos"},
	{"iMac", "macos"},
	{"VirtualMac", "macos"},
	{"AppleTV", "tvos"},
	{"Watch", "watchos"},
	{"RealityDevice", "visionos"},
}

var version = regexp.MustCompile(`^\d{1,4}(\.\d{1,4}){0,3}$`)

// ParseMinimumOS reads settings such as ios=17.4. An iPad goes by ios when nothing is said of ipados, whose versions have the
// same numbers.
func ParseMinimumOS(settings []string) (MinimumOS, error) {
	m := MinimumOS{}
	for _, s := range settings {
		name, oldest, _ := strings.Cut(strings.TrimSpace(s), "=")
		name, oldest = strings.ToLower(strings.TrimSpace(name)), strings.TrimSpace(oldest)
		_, twice := m[name]
		switch {
		case !slices.Contains(known(), name):
			return nil, fmt.Errorf("%q is no operating system; take %s", name, strings.Join(known(), ", "))
		case twice:
			return nil, fmt.Errorf("%s is given twice", name)
		case !version.MatchString(oldest):
			return nil, fmt.Errorf("%s=%s has no version such as 17.4", name, oldest)
		}
		m[name] = oldest
	}
	return m, nil
}

func known() []string {
	names := map[string]bool{}
	for _, s := range systems {
		names[s.system] = true
	}
	return slices.Sorted(maps.Keys(names))
}

// require returns the version that a device must have to enroll, if it has an older one. A device that says no version is
// older than any that does: see [identity.MachineInfo].
func (m MinimumOS) require(info identity.MachineInfo) (oldest string, older bool) {
	for _, s := range systems {
		if !strings.HasPrefix(info.Product, s.product) {
			continue
		}
		oldest = m[s.system]
		if oldest == "" && s.system == "ipados" {
			oldest = m["ios"]
		}
		return oldest, oldest != "" && slices.Compare(numbers(info.OSVersion), numbers(oldest)) < 0
	}
	return "", false
}

// numbers of a version; what follows them, as in 16.1 (a), isn't compared. 17 is 17.0.
func numbers(version string) []int {
	version, _, _ = strings.Cut(version, " ")
	parts := make([]int, 4)
	for i, part := range strings.SplitN(version, ".", len(parts)) {
		parts[i], _ = strconv.Atoi(part) // what is no number is the oldest
	}
	return parts
}
