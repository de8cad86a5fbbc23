package sim

import (
	"errors"
	"fmt"

	"github.com/micromdm/plist"
)

type dict = map[string]any

func encode(d dict) ([]byte, error) {
	body, err := plist.Marshal(d)
	if err != nil {
		return nil, fmt.Errorf("writing property list: %w", err)
	}
	return body, nil
}

func decode(body []byte) (dict, error) {
	var root any
	if err := plist.Unmarshal(body, &root); err != nil {
		return nil, fmt.Errorf("reading property list: %w", err)
	}
	d, ok := root.(dict)
	if !ok {
		return nil, errors.New("the property list's root is not a dictionary")
	}
	return d, nil
}

func text(d dict, key string) string {
	s, _ := d[key].(string)
	return s
}

func flag(d dict, key string) bool {
	b, _ := d[key].(bool)
	return b
}

func data(d dict, key string) []byte {
	b, _ := d[key].([]byte)
	return b
}

func child(d dict, key string) dict {
	c, _ := d[key].(dict)
	return c
}

// integer returns a whole number, and false when the key is missing or something else.
func integer(d dict, key string) (int64, bool) {
	switch n := d[key].(type) {
	case uint64:
		return int64(n), true
	case int64:
		return n, true
	}
	return 0, false
}

func list(d dict, key string) []any {
	l, _ := d[key].([]any)
	return l
}

func stringsAt(d dict, key string) []string {
	var out []string
	for _, v := range list(d, key) {
		if s, ok := v.(string); ok {
			out = append(out, s)
		}
	}
	return out
}
