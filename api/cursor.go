package api

import (
	"encoding/base64"
	"encoding/json"
	"strings"
)

// maxCursor bounds what is decoded; ours are a fraction of it.
const maxCursor = 1000

const defaultLimit = 100

// cursor is the key of the last entry of a page, and of which list; callers see it as opaque text.
type cursor struct {
	List string   `json:"l"`
	Key  []string `json:"k"`
}

func (c cursor) text() string {
	raw, _ := json.Marshal(c) // strings always marshal
	return base64.RawURLEncoding.EncodeToString(raw)
}

// parseCursor returns the key; n empty texts when there is no cursor.
func parseCursor(text *string, list string, n int) ([]string, error) {
	if text == nil {
		return make([]string, n), nil
	}
	bad := faultf(codeCursorInvalid, "The cursor is not one that this list gave; begin without one.").at("cursor")
	if len(*text) > maxCursor {
		return nil, bad
	}
	raw, err := base64.RawURLEncoding.DecodeString(*text)
	if err != nil {
		return nil, bad
	}
	var c cursor
	if err := json.Unmarshal(raw, &c); err != nil || c.List != list || len(c.Key) != n || strings.ContainsRune(strings.Join(c.Key, ""), 0) {
		return nil, bad
	}
	return c.Key, nil
}

func limitOf(limit *int) int {
	if limit == nil {
		return defaultLimit
	}
	return *limit
}

// page cuts a list, which was read with one entry more than the limit, and says where the next page begins.
func page[T any](entries []T, limit int, list string, key func(T) []string) ([]T, *string) {
	if len(entries) <= limit {
		return entries, nil
	}
	entries = entries[:limit]
	next := cursor{list, key(entries[limit-1])}.text()
	return entries, &next
}

// each renders a list; an empty one is [] in JSON, not null.
func each[T, R any](entries []T, render func(T) R) []R {
	out := make([]R, len(entries))
	for i, e := range entries {
		out[i] = render(e)
	}
	return out
}
