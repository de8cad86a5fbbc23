package api_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/api"
	"github.com/muster-mdm/muster/api/client"
	"github.com/muster-mdm/muster/store"
)

func TestProcess(t *testing.T) {
	down := errors.New("connection refused at 10.0.0.7")
	s := serve(t, func(c *api.Config) {
		c.Temporal = func(context.Context) error { return down }
		c.Build = api.Build{Version: "1.2.3", Commit: "abc"}
	})
	ready := s.get("/readyz").ok(200)
	h := read[api.Health](ready)
	require.Equal(t, map[string]api.HealthChecks{"postgres": "ok", "temporal": "unavailable"}, *h.Checks)
	require.NotContains(t, string(ready.body), "10.0.0.7")
	require.Equal(t, "1.2.3", read[api.Version](s.get("/version").ok(200)).Version)
	s.post("/v1/devices", body{"serial": serial}).ok(201) // accepted while Temporal is down
	s.get("/v1/devices/" + serial + "?colour=red")
	metrics := string(s.get("/metrics").ok(200).body)
	require.Contains(t, metrics, `muster_http_requests_total{method="POST",route="registerDevice",status="201"} 1`)
	require.Contains(t, metrics, `route="getDevice",status="400"`)
	require.Contains(t, string(s.get("/openapi.json").ok(200).body), `"operationId":"assignDevice"`)
	for _, want := range []string{`"route":"registerDevice"`, `"token_id":"tok_`, `"code":"invalid_parameter"`} {
		require.Contains(t, s.log.String(), want)
	}
	require.NotContains(t, s.log.String(), "colour", "a query in the log")
}

func TestRequestIDs(t *testing.T) {
	s := serve(t)
	for given, kept := range map[string]bool{"order-4711": true, "short": false, "with blank 123": false, strings.Repeat("x", 65): false} {
		a := s.send(request{method: "GET", path: "/livez", header: map[string]string{"X-Request-Id": given}})
		require.Equal(t, kept, a.header.Get("X-Request-Id") == given, given)
	}
}

func TestOtherProtocolsAreMounted(t *testing.T) {
	echo := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.Method+" "+r.URL.Path)
	})
	s := serve(t, func(c *api.Config) { c.MDM, c.SCEP, c.Intake = echo, echo, nil })
	for _, r := range []struct{ method, path string }{{"PUT", "/mdm"}, {"GET", "/scep"}, {"POST", "/scep/pkiclient"}} {
		req, err := http.NewRequestWithContext(t.Context(), r.method, s.http.URL+r.path, nil)
		require.NoError(t, err)
		res, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		raw, err := io.ReadAll(res.Body)
		require.NoError(t, err)
		require.NoError(t, res.Body.Close())
		require.Equal(t, r.method+" "+r.path, string(raw))
	}
	s.get("/checkin").fails(404, "route_not_found")
	s.get("/v1/devices").fails(404, "route_not_found") // a server of MDM alone
}

func TestGeneratedClient(t *testing.T) {
	s := serve(t)
	c, err := client.NewClientWithResponses(s.http.URL, client.WithToken(s.secret[store.Admin]))
	require.NoError(t, err)
	made, err := c.RegisterDeviceWithResponse(t.Context(), nil, client.NewDevice{Serial: serial})
	require.NoError(t, err)
	require.Equal(t, serial, made.JSON201.Serial)
	held, err := c.HoldDeviceWithResponse(t.Context(), serial, nil, client.HoldInput{Reason: "repair"})
	require.NoError(t, err)
	require.Equal(t, client.OnHold, *held.JSON200.BlockedBy)
	put, err := c.PutConfigurationWithBodyWithResponse(t.Context(), "wifi & co", nil, aspenConfig, strings.NewReader(wifi))
	require.NoError(t, err)
	require.Equal(t, "wifi & co", put.JSON201.Name)
	none, err := c.GetDeviceWithResponse(t.Context(), "AAAAAAAA01")
	require.NoError(t, err)
	require.Equal(t, "device_not_found", none.ApplicationproblemJSONDefault.Code)
}
