package abm_test

import (
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/micromdm/nanodep/tokenpki"
	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/sim/abm"
)

// order sends an order to the admin endpoint and reads its answer.
func (p *portal) order(verb string, body, into any) int {
	p.t.Helper()
	content, err := json.Marshal(body)
	require.NoError(p.t, err)
	status, answer := p.raw("POST", "/admin/"+verb, nil, string(content))
	if into != nil {
		require.NoError(p.t, json.Unmarshal([]byte(answer), into), answer)
	}
	return status
}

type orders map[string]any

func TestThePortalByHTTP(t *testing.T) {
	p := open(t, abm.Config{})
	d := p.link(p.server.ID, 10)
	_, cursor := d.all(10)
	var server abm.Server
	require.Equal(t, 200, p.order("servers", orders{"name": "Second"}, &server))
	var added struct {
		Serials []string `json:"serials"`
	}
	request := orders{"server": p.server.ID, "count": 2, "devices": []abm.Spec{{Serial: "vip1", Family: "Mac"}}}
	require.Equal(t, 200, p.order("add", request, &added))
	require.Len(t, added.Serials, 3)
	require.Contains(t, added.Serials, "VIP1")
	first, second := added.Serials[0], added.Serials[1]
	require.Equal(t, 200, p.order("move", orders{"server": server.ID, "serials": []string{first}}, nil))
	require.Equal(t, 200, p.order("remove", orders{"serials": []string{second}}, nil))
	require.Equal(t, 200, p.order("release", orders{"serials": []string{"VIP1"}}, nil))
	require.Equal(t, 200, p.order("release", orders{"serials": []string{second}, "silent": true}, nil))
	news, _ := d.news(cursor)
	require.Equal(t, []string{
		"added VIP1", "added " + first, "added " + second, "deleted " + first, "deleted " + second, "deleted VIP1",
	}, news)

	var state abm.State
	_, body := p.raw("GET", "/admin/state", nil, "")
	require.NoError(t, json.Unmarshal([]byte(body), &state))
	require.Equal(t, 1, state.Devices)
	require.Equal(t, []int{0, 1}, []int{state.Servers[0].Devices, state.Servers[1].Devices})
	require.True(t, state.TermsSigned)
	var listed map[string][]abm.Device
	_, body = p.raw("GET", "/admin/devices?limit=2", nil, "")
	require.NoError(t, json.Unmarshal([]byte(body), &listed))
	require.Len(t, listed["devices"], 2)
	_, body = p.raw("GET", "/admin/devices?server="+server.ID, nil, "")
	require.NoError(t, json.Unmarshal([]byte(body), &listed))
	require.Equal(t, first, listed["devices"][0].Serial)
}

func TestTokensTermsAndClockByHTTP(t *testing.T) {
	p := open(t, abm.Config{})
	pair := oneKeyPair()
	status, file := p.raw("POST", "/admin/servers/"+p.server.ID+"/token", nil, string(pair.pem))
	require.Equal(t, 200, status)
	opened, err := tokenpki.DecryptTokenJSON([]byte(file), pair.cert, pair.key)
	require.NoError(t, err)
	d := p.link(p.server.ID, 10)
	token := d.tokens.get()
	require.NoError(t, json.Unmarshal(opened, &token))

	serials := p.addNew(p.server.ID, 1)
	status, _ = p.raw("GET", "/admin/devices/"+serials[0]+"/profile", nil, "")
	require.Equal(t, 404, status)
	d.define(serials...)
	status, body := p.raw("GET", "/admin/devices/"+serials[0]+"/profile", nil, "")
	require.Equal(t, 200, status)
	require.Contains(t, body, "https://mdm.example/enroll")
	require.Equal(t, 200, p.order("activate", orders{"serials": serials}, nil))
	_, body = p.raw("GET", "/admin/devices/"+serials[0], nil, "")
	require.Contains(t, body, `"profile_status":"pushed"`)

	refused := func(verb string, body orders, status int, code string) {
		t.Helper()
		require.Equal(t, 200, p.order(verb, body, nil))
		_, err := d.AccountDetail(t.Context(), name)
		requireRefused(t, err, status, code)
	}
	refused("terms", orders{"signed": false}, 403, "T_C_NOT_SIGNED")
	require.Equal(t, 200, p.order("terms", orders{"signed": true}, nil))
	refused("access", orders{"server": p.server.ID, "access": "ACCESS_DENIED"}, 403, "ACCESS_DENIED")
	require.Equal(t, 200, p.order("access", orders{"server": p.server.ID}, nil))
	refused("faults", orders{"faults": []abm.Fault{{Kind: abm.FaultError, Share: 1, Status: 502}}}, 502, "BAD_GATEWAY")
	require.Equal(t, 200, p.order("faults", orders{}, nil))
	require.Equal(t, 200, p.order("expire-sessions", orders{"server": p.server.ID}, nil))
	d.fetch()
	before := p.Now()
	require.Equal(t, 200, p.order("jump", orders{"seconds": 3600}, nil))
	require.WithinDuration(t, before.Add(time.Hour), p.Now(), time.Minute)
	require.Equal(t, 200, p.order("quirks", orders{"quirks": abm.Quirks{QuotedErrors: true}}, nil))
	refused("expire-token", orders{"server": p.server.ID}, 401, `"token_expired"`)
	d.tokens.set(p.download(p.server.ID))
	d.fetch()
	refused("revoke-token", orders{"server": p.server.ID}, 401, `"token_rejected"`)
	require.Equal(t, 200, p.order("renew-consumer", orders{"server": p.server.ID}, nil))

	var account abm.Account
	require.Equal(t, 200, p.order("accounts", orders{}, &account))
	a := p.apiWith(account)
	id, err := a.act(abm.ActivityUnassign, p.server.ID, serials...)
	require.NoError(t, err)
	require.Equal(t, 200, p.order("stop-activity", orders{"activity": id}, nil))
	require.Equal(t, "STOPPED", a.activity(id).Attributes.Status)
	require.Equal(t, 200, p.order("expire-access", orders{"client_id": account.ClientID, "revoked": true}, nil))
	require.ErrorContains(t, a.get("/v1/mdmServers", &many{}), "invalid_client")
}

func TestOrdersThatAreRefused(t *testing.T) {
	p := open(t, abm.Config{})
	require.NoError(t, p.Add("", abm.Spec{Serial: "HERE"}, abm.Spec{Serial: "GONE"}))
	require.NoError(t, p.Release("GONE"))
	for _, c := range []struct {
		verb   string
		body   orders
		status int
	}{
		{"add", orders{"server": "NONE", "count": 1}, 404},
		{"add", orders{"count": -1}, 400},
		{"add", orders{"devices": []abm.Spec{{Serial: "here"}}}, 409},
		{"add", orders{"devices": []abm.Spec{{Serial: ""}}}, 409},
		{"add", orders{"devices": []abm.Spec{{Serial: "TWICE"}, {Serial: "TWICE"}}}, 409},
		{"move", orders{"server": "NONE", "serials": []string{"HERE"}}, 404},
		{"move", orders{"server": p.server.ID, "serials": []string{"HERE", "NOBODY"}}, 404},
		{"release", orders{"serials": []string{"GONE"}}, 409},
		{"activate", orders{"serials": []string{"HERE"}}, 404},
		{"stop-activity", orders{"activity": "none"}, 404},
		{"expire-access", orders{"client_id": "none"}, 404},
		{"revoke-token", orders{"server": "NONE"}, 404},
		{"nothing", orders{}, 404},
	} {
		require.Equal(t, c.status, p.order(c.verb, c.body, nil), "%s %v", c.verb, c.body)
	}
	shown, _ := p.Device("HERE")
	require.Empty(t, shown.ServerID, "a refused order does nothing")
	require.Equal(t, 200, p.order("add", orders{"devices": []abm.Spec{{Serial: "GONE"}}}, nil), "a released device may come again")
	status, _ := p.raw("POST", "/admin/terms", nil, "{")
	require.Equal(t, http.StatusBadRequest, status)
	status, _ = p.raw("GET", "/admin/devices?limit=x", nil, "")
	require.Equal(t, http.StatusBadRequest, status)
	status, _ = p.raw("GET", "/admin/devices/NOBODY", nil, "")
	require.Equal(t, http.StatusNotFound, status)
	status, _ = p.raw("POST", "/admin/servers/NONE/token", nil, string(oneKeyPair().pem))
	require.Equal(t, http.StatusNotFound, status)
	status, _ = p.raw("POST", "/admin/servers/"+p.server.ID+"/token", nil, "x")
	require.Equal(t, http.StatusBadRequest, status)
	status, _ = p.raw("POST", "/admin/terms", map[string]string{"Sec-Fetch-Site": "cross-site"}, "{}")
	require.Equal(t, http.StatusForbidden, status, "no web page may give orders")
}
