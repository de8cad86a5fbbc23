package abm_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/sim/abm"
)

// Whatever stands in a header, a body or an address: an answer that refuses it, and nothing breaks.
func FuzzRequests(f *testing.F) {
	o := abm.New(abm.Config{})
	s := o.AddServer(abm.Server{})
	_, err := o.IssueToken(s.ID, oneKeyPair().pem)
	require.NoError(f, err)
	handler := o.Handler()
	f.Add("GET", "/session", `OAuth oauth_consumer_key="x", oauth_nonce="%"`, "")
	f.Add("GET", "/session", `OAuth realm="ADM",oauth_consumer_key="",=`, "")
	f.Add("POST", "/devices/sync", "00", `{"cursor":"00"}`)
	f.Add("POST", "/auth/oauth2/token", "", "client_assertion=..&client_id=%zz")
	f.Add("GET", "/v1/orgDevices?cursor=00", "Bearer QQ.00", "")
	f.Add("POST", "/v1/orgDeviceActivities", "Bearer .", `{"data":{}}`)
	f.Fuzz(func(t *testing.T, method, target, header, body string) {
		if strings.HasPrefix(target, "/admin") {
			return
		}
		r, err := http.NewRequest(method, target, strings.NewReader(body))
		if err != nil || !strings.HasPrefix(target, "/") {
			return
		}
		r.Host = "127.0.0.1"
		r.Header.Set("User-Agent", "fuzz")
		r.Header.Set("Authorization", header)
		r.Header.Set("X-Adm-Auth-Session", header)
		if method == http.MethodPost {
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		}
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		if w.Code < 300 || w.Code >= 500 {
			t.Fatalf("%s %s: %d %s", method, target, w.Code, w.Body)
		}
	})
}
