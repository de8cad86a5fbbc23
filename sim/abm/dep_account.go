package abm

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/url"
)

// accountDetail is the answer of GET /account; the fields behind OrgID need protocol version 3.
type accountDetail struct {
	ServerName    string       `json:"server_name"`
	ServerUUID    string       `json:"server_uuid"`
	AdminID       string       `json:"admin_id"`
	FacilitatorID string       `json:"facilitator_id"`
	OrgName       string       `json:"org_name"`
	OrgEmail      string       `json:"org_email"`
	OrgPhone      string       `json:"org_phone"`
	OrgAddress    string       `json:"org_address"`
	OrgID         string       `json:"org_id,omitempty"`
	OrgIDHash     string       `json:"org_id_hash,omitempty"`
	OrgType       string       `json:"org_type,omitempty"`
	OrgVersion    string       `json:"org_version,omitempty"`
	URLs          []accountURL `json:"urls,omitempty"`
}

type accountURL struct {
	URI    string        `json:"uri"`
	Method []string      `json:"http_method"`
	Limit  *accountLimit `json:"limit,omitempty"`
}

type accountLimit struct {
	Default int `json:"default"`
	Maximum int `json:"maximum"`
}

func (c *call) account() (any, *refusal) {
	a := accountDetail{
		ServerName: c.server.Name, ServerUUID: c.server.ID, AdminID: c.cfg.AdminID, FacilitatorID: c.cfg.AdminID,
		OrgName: c.cfg.Name, OrgEmail: "it@" + c.cfg.Domain, OrgPhone: "+1 555 0100", OrgAddress: "1 Example Way, Springfield",
	}
	if c.protocol < 3 {
		return a, nil
	}
	a.OrgID = c.chance.hex("org")[:10]
	hash := sha256.Sum256([]byte(a.OrgID))
	a.OrgIDHash = hex.EncodeToString(hash[:])
	a.OrgType, a.OrgVersion = "org", "v2"
	if c.cfg.School {
		a.OrgType = "edu"
	}
	pages := &accountLimit{Default: defaultPage, Maximum: maxPage}
	list := &accountLimit{Maximum: maxPage}
	a.URLs = []accountURL{
		{URI: "/account", Method: []string{"GET"}},
		{URI: "/server/devices", Method: []string{"POST"}, Limit: pages},
		{URI: "/devices/sync", Method: []string{"POST"}, Limit: pages},
		{URI: "/devices", Method: []string{"POST"}, Limit: list},
		{URI: "/devices/disown", Method: []string{"POST"}, Limit: list},
		{URI: "/device/activationlock", Method: []string{"POST"}},
		{URI: "/profile", Method: []string{"GET", "POST"}},
		{URI: "/profile/devices", Method: []string{"DELETE", "POST", "PUT"}, Limit: list},
	}
	return a, nil
}

type discovery struct {
	URL string `json:"mdm_service_discovery_url"`
}

func (c *call) setDiscovery() (any, *refusal) {
	var d discovery
	if no := c.read(&d); no != nil {
		return nil, no
	}
	if d.URL == "" {
		return nil, badRequest("MDM_SERVICE_DISCOVERY_URL_REQUIRED")
	}
	if u, err := url.Parse(d.URL); err != nil || u.Scheme != "https" || u.Host == "" {
		return nil, badRequest("MDM_SERVICE_DISCOVERY_URL_NOT_VALID")
	}
	c.server.Discovery = d.URL
	return struct{}{}, nil
}

func (c *call) getDiscovery() (any, *refusal) {
	if c.server.Discovery == "" {
		return nil, &refusal{status: http.StatusNotFound, code: "NOT_FOUND"}
	}
	return discovery{URL: c.server.Discovery}, nil
}

func (c *call) betaTokens() (any, *refusal) {
	return nil, &refusal{status: http.StatusForbidden, code: "APPLE_SEED_FOR_IT_TURNED_OFF"}
}
