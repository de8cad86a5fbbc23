package appleschema

import (
	"fmt"
	"maps"
	"slices"

	"github.com/micromdm/plist"
)

// decode reads a property list whose root must be a dictionary.
func decode(body []byte) (map[string]any, error) {
	var root any
	if err := plist.Unmarshal(body, &root); err != nil {
		return nil, fmt.Errorf("reading property list: %w", err)
	}
	dict, ok := root.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("the property list's root is %s instead of dictionary", typeName(root))
	}
	return dict, nil
}

func same(allowed, have any) bool {
	a, aIsNumber := number(allowed)
	b, bIsNumber := number(have)
	if aIsNumber && bIsNumber {
		return a == b
	}
	return allowed == have
}

func number(value any) (float64, bool) {
	switch n := value.(type) {
	case int:
		return float64(n), true
	case int64:
		return float64(n), true
	case uint64:
		return float64(n), true
	case float32:
		return float64(n), true
	case float64:
		return n, true
	}
	return 0, false
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

func sortedKeys(m map[string]any) []string {
	return slices.Sorted(maps.Keys(m))
}
