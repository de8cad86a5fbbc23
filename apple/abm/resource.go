package abm

import (
	"context"
	"encoding/json"
	"net/url"
	"strconv"
	"time"
)

// The documents of JSON:API, as far as Apple uses it.
type (
	document[A any] struct {
		Data *resource[A] `json:"data"`
	}
	list[A any] struct {
		Data []resource[A] `json:"data"`
		Meta struct {
			Paging struct {
				Next string `json:"nextCursor"`
			} `json:"paging"`
		} `json:"meta"`
		Links struct {
			Next string `json:"next"`
		} `json:"links"`
	}
	resource[A any] struct {
		ID         string `json:"id"`
		Attributes A      `json:"attributes"`
	}
	link struct {
		Type string `json:"type"`
		ID   string `json:"id"`
	}
)

// next is the cursor of the following page, "" when there is none.
func (l list[A]) next() string {
	if l.Meta.Paging.Next != "" {
		return l.Meta.Paging.Next
	}
	address, err := url.Parse(l.Links.Next)
	if err != nil {
		return ""
	}
	return address.Query().Get("cursor")
}

// pageOf asks for a page of a list; limit 0 leaves its size to Apple.
func pageOf[A any](ctx context.Context, c *Client, path, cursor string, limit int) (page list[A], err error) {
	query := url.Values{}
	if cursor != "" {
		query.Set("cursor", cursor)
	}
	if limit > 0 {
		query.Set("limit", strconv.Itoa(limit))
	}
	if err := c.get(ctx, path, query, &page); err != nil {
		return page, err
	}
	if page.Data == nil {
		return page, incomplete("the list")
	}
	return page, nil
}

// moment is a time that may be null or empty.
type moment struct{ time.Time }

// UnmarshalJSON reads the time.
func (m *moment) UnmarshalJSON(b []byte) error {
	if s := string(b); s == "null" || s == `""` {
		return nil
	}
	return json.Unmarshal(b, &m.Time)
}
