package appleschema

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Violation is one place where a message breaks the schema.
type Violation struct {
	Message string // what was checked, such as "command InstallProfile"
	Path    string // where in it, such as Command.Payload
	Problem string
}

// String reads as one line: message, path, problem.
func (v Violation) String() string {
	return fmt.Sprintf("%s: %s: %s", v.Message, v.Path, v.Problem)
}

type checker struct {
	platform Platform
	message  string
	lenient  bool // required keys may be missing, as in an answer that reports an error
	found    []Violation
}

func (c *checker) report(path, format string, args ...any) {
	c.found = append(c.found, Violation{Message: c.message, Path: path, Problem: fmt.Sprintf(format, args...)})
}

func (c *checker) dictionary(path string, have map[string]any, keys []*key) {
	for _, k := range keys {
		if k.Presence != "required" || isWildcard(k) || c.lenient || c.platform.unavailable(k.SupportedOS) != "" {
			continue
		}
		if _, ok := have[k.Key]; !ok {
			c.report(join(path, k.Key), "required key is missing")
		}
	}
	for _, name := range sortedKeys(have) {
		c.member(join(path, name), have[name], candidates(keys, name))
	}
}

// member checks a value against the keys that its name allows; several are alternatives.
func (c *checker) member(path string, value any, keys []*key) {
	if len(keys) == 0 {
		c.report(path, "unknown key")
		return
	}
	c.closest(keys, func(try *checker, k *key) {
		if reason := c.platform.unavailable(k.SupportedOS); reason != "" {
			try.report(path, "key is %s", reason)
			return
		}
		try.value(path, value, k)
	})
}

// closest adopts the findings of the alternative that fits best.
func (c *checker) closest(keys []*key, check func(*checker, *key)) {
	var best []Violation
	for i, k := range keys {
		try := &checker{platform: c.platform, message: c.message, lenient: c.lenient}
		check(try, k)
		if i == 0 || len(try.found) < len(best) {
			best = try.found
		}
		if len(best) == 0 {
			return
		}
	}
	c.found = append(c.found, best...)
}

func (c *checker) value(path string, value any, k *key) {
	if !hasType(value, k.Type) {
		c.report(path, "is %s instead of %s", typeName(value), strings.Trim(k.Type, "<>"))
		return
	}
	switch v := value.(type) {
	case map[string]any:
		if len(k.Subkeys) > 0 {
			c.dictionary(path, v, k.Subkeys)
		}
	case []any:
		c.array(path, v, k)
	case string:
		c.text(path, v, k)
	}
	c.limits(path, value, k)
}

func (c *checker) array(path string, have []any, k *key) {
	if k.Repetition != nil {
		c.within(path, "number of elements", float64(len(have)), *k.Repetition)
	}
	if len(k.Subkeys) == 0 {
		return
	}
	for i, value := range have {
		at := fmt.Sprintf("%s[%d]", path, i)
		c.member(at, value, discriminated(k.Subkeys, value))
	}
}

// discriminated narrows the alternatives of an array to the one that the element names by its Item,
// so that a violation is reported against what the sender meant.
func discriminated(keys []*key, value any) []*key {
	dict, ok := value.(map[string]any)
	if !ok {
		return keys
	}
	item, ok := dict["Item"].(string)
	if !ok {
		return keys
	}
	for _, k := range keys {
		if k.Key == item {
			return []*key{k}
		}
	}
	return keys
}

func (c *checker) text(path, have string, k *key) {
	if k.Format != "" {
		if ok, err := regexp.MatchString(k.Format, have); err == nil && !ok {
			c.report(path, "%q does not match %s", have, k.Format)
		}
	}
	if len(k.Subkeys) == 0 {
		return
	}
	// A string with subkeys is a choice among their names.
	for _, sub := range k.Subkeys {
		if sub.Key != have {
			continue
		}
		if reason := c.platform.unavailable(sub.SupportedOS); reason != "" {
			c.report(path, "%q is %s", have, reason)
		}
		return
	}
	c.report(path, "%q is not one of the values allowed", have)
}

func (c *checker) limits(path string, value any, k *key) {
	if len(k.RangeList) > 0 && !slices.ContainsFunc(k.RangeList, func(allowed any) bool { return same(allowed, value) }) {
		c.report(path, "%v is not one of %v", value, k.RangeList)
	}
	if n, ok := number(value); ok && k.Range != nil {
		c.within(path, "value", n, *k.Range)
	}
}

func (c *checker) within(path, what string, n float64, b bounds) {
	if b.Min != nil && n < *b.Min || b.Max != nil && n > *b.Max {
		c.report(path, "%s %v is out of range", what, n)
	}
}

func isWildcard(k *key) bool { return k.Key == "ANY" || strings.HasPrefix(k.Key, "ANY ") }

func candidates(keys []*key, name string) []*key {
	var named, wild []*key
	for _, k := range keys {
		if k.Key == name {
			named = append(named, k)
		}
		if isWildcard(k) {
			wild = append(wild, k)
		}
	}
	if len(named) > 0 {
		return named
	}
	return wild
}

func hasType(value any, want string) bool {
	have := typeName(value)
	switch want = strings.Trim(want, "<>"); want {
	case "any", "":
		return true
	case "real": // a whole number may be written as an integer
		return have == "real" || have == "integer"
	}
	return have == want
}

func typeName(value any) string {
	switch value.(type) {
	case map[string]any:
		return "dictionary"
	case []any:
		return "array"
	case string:
		return "string"
	case bool:
		return "boolean"
	case []byte:
		return "data"
	case time.Time:
		return "date"
	case float32, float64:
		return "real"
	case int, int64, uint64:
		return "integer"
	}
	return fmt.Sprintf("%T", value)
}
