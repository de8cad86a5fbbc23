package abm

import (
	"context"
	"time"
)

// Server is a device management service of the organisation, as Apple calls MDM servers now.
type Server struct {
	ID        string
	Name      string
	Type      string // MDM, APPLE_CONFIGURATOR or APPLE_MDM
	CreatedAt time.Time
	UpdatedAt time.Time
}

type server struct {
	Name    string `json:"serverName"`
	Type    string `json:"serverType"`
	Created moment `json:"createdDateTime"`
	Updated moment `json:"updatedDateTime"`
}

// maxPages bounds what an Apple that hands out the same page for ever can do; no organisation has so many servers.
const maxPages = 20

// Servers lists the organisation's servers.
func (c *Client) Servers(ctx context.Context) ([]Server, error) {
	var all []Server
	cursor := ""
	for range maxPages {
		page, err := pageOf[server](ctx, c, "/v1/mdmServers", cursor, MaxDevices)
		if err != nil {
			return nil, err
		}
		for _, r := range page.Data {
			a := r.Attributes
			all = append(all, Server{ID: r.ID, Name: a.Name, Type: a.Type, CreatedAt: a.Created.Time, UpdatedAt: a.Updated.Time})
		}
		next := page.next()
		if next == "" {
			return all, nil
		}
		if next == cursor {
			break
		}
		cursor = next
	}
	return nil, incomplete("the end of the list of servers")
}
