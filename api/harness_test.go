package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"
	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/api"
	"github.com/muster-mdm/muster/api/intake"
	"github.com/muster-mdm/muster/devstack/directorytest"
	"github.com/muster-mdm/muster/devstack/logtest"
	"github.com/muster-mdm/muster/devstack/stacktest"
	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/store"
	"github.com/muster-mdm/muster/store/keyring"
)

func TestMain(m *testing.M) {
	for _, media := range []string{aspenConfig, pemFile, serverToken, octets} {
		openapi3filter.RegisterBodyDecoder(media, openapi3filter.FileBodyDecoder)
	}
	os.Exit(stacktest.Runner{M: directorytest.Runner{M: m}}.Run())
}

const (
	aspenConfig = "application/x-apple-aspen-config"
	pemFile     = "application/x-pem-file"
	serverToken = "application/pkcs7-mime"
	serial      = "C07Q853LG9RM"
	wifi        = `<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0"><dict>
<key>PayloadType</key><string>Configuration</string>
<key>PayloadVersion</key><integer>1</integer>
<key>PayloadIdentifier</key><string>com.zylker.wifi</string>
<key>PayloadUUID</key><string>5F1B6C0E-7A0F-4C0B-8E55-0C1F0E7B9A11</string>
<key>PayloadContent</key><array><dict>
<key>PayloadType</key><string>com.apple.wifi.managed</string>
<key>PayloadVersion</key><integer>1</integer>
<key>PayloadIdentifier</key><string>com.zylker.wifi.1</string>
<key>PayloadUUID</key><string>0A5C0D0E-0000-4C0B-8E55-0C1F0E7B9A12</string>
<key>SSID_STR</key><string>depot</string>
</dict></array>
</dict></plist>`
)

// profile is a configuration profile with this identifier.
func profile(identifier string) string {
	return strings.ReplaceAll(wifi, "com.zylker.wifi", identifier)
}

func migrate(ctx context.Context, url string) error {
	_, err := store.Migrate(ctx, url)
	return err
}

// profiles stands in for the enrollment room.
type profiles struct{ err error }

func (p profiles) EnrollmentProfile(_ context.Context, serial string) ([]byte, error) {
	if serial == "PANIC00000" {
		panic("secret of the machine room")
	}
	return []byte("profile of " + serial), p.err
}

// server is the API on a database of its own; every answer is held against the contract.
type server struct {
	t      *testing.T
	db     *store.DB
	url    string
	intake *intake.Intake
	http   *httptest.Server
	log    *logtest.Log
	router routers.Router
	doc    *openapi3.T
	secret map[store.Role]string
}

func serve(t *testing.T, change ...func(*api.Config)) *server {
	t.Helper()
	url := stacktest.Database(t, "muster", migrate)
	keys, err := keyring.Parse(keyring.NewKey())
	require.NoError(t, err)
	db, err := store.Open(t.Context(), store.Config{URL: url}, store.WithSealer(keys),
		store.WithEncoder(func(o provision.Order) ([]byte, error) { return []byte("<?xml " + o.UUID), nil }))
	require.NoError(t, err)
	t.Cleanup(db.Close)
	use, err := intake.New(db, intake.Settings{SignInReturn: "https://muster.example.com/enroll/return"})
	require.NoError(t, err)
	s := &server{t: t, db: db, url: url, intake: use, log: &logtest.Log{}, secret: map[store.Role]string{}}
	c := api.Config{
		DB: db, Intake: use, EnrollmentProfiles: profiles{}, Log: slog.New(slog.NewJSONHandler(s.log, nil)),
		Policy:        provision.Policy{SetupHold: time.Hour, RetryAfter: []time.Duration{time.Minute}, NudgeAfter: []time.Duration{time.Hour}, ReleaseDelay: 15 * time.Minute},
		RatePerSecond: 10_000, Burst: 10_000,
	}
	for _, f := range change {
		f(&c)
	}
	e, err := api.New(c)
	require.NoError(t, err)
	s.http = httptest.NewServer(e)
	t.Cleanup(s.http.Close)
	for _, role := range []store.Role{store.Viewer, store.Technician, store.Admin} {
		_, s.secret[role], err = db.CreateToken(t.Context(), string(role), role, nil)
		require.NoError(t, err)
	}
	s.doc, err = openapi3.NewLoader().LoadFromFile("openapi.yaml")
	require.NoError(t, err)
	require.NoError(t, s.doc.Validate(t.Context()))
	s.router, err = gorillamux.NewRouter(s.doc)
	require.NoError(t, err)
	return s
}

// request is one to be sent; the zero Role is admin, nobody sends no token.
type request struct {
	method, path string
	body         any // string and []byte as they are, else JSON
	media        string
	role         store.Role
	header       map[string]string
}

const nobody store.Role = "nobody"

type answer struct {
	t      *testing.T
	status int
	header http.Header
	body   []byte
}

func (s *server) send(r request) answer {
	s.t.Helper()
	var body io.Reader
	switch b := r.body.(type) {
	case nil:
	case string:
		body = strings.NewReader(b)
	case []byte:
		body = bytes.NewReader(b)
	default:
		raw, err := json.Marshal(b)
		require.NoError(s.t, err)
		body = bytes.NewReader(raw)
	}
	req, err := http.NewRequestWithContext(s.t.Context(), r.method, s.http.URL+r.path, body)
	require.NoError(s.t, err)
	if r.body != nil {
		if r.media == "" {
			r.media = "application/json"
		}
		req.Header.Set("Content-Type", r.media)
	}
	if r.role == "" {
		r.role = store.Admin
	}
	if r.role != nobody {
		req.Header.Set("Authorization", "Bearer "+s.secret[r.role])
	}
	for name, value := range r.header {
		req.Header.Set(name, value)
	}
	res, err := http.DefaultClient.Do(req)
	require.NoError(s.t, err)
	defer func() { _ = res.Body.Close() }()
	raw, err := io.ReadAll(res.Body)
	require.NoError(s.t, err)
	a := answer{s.t, res.StatusCode, res.Header, raw}
	s.hold(req, a)
	return a
}

// hold holds an answer against the contract; those to addresses that it doesn't have must be problems.
func (s *server) hold(req *http.Request, a answer) {
	s.t.Helper()
	require.NotEmpty(s.t, a.header.Get("X-Request-Id"))
	require.Equal(s.t, "nosniff", a.header.Get("X-Content-Type-Options"))
	if a.status >= 400 && !strings.HasSuffix(req.URL.Path, "z") {
		p := a.problem()
		require.Contains(s.t, api.Meanings, provision.Code(p.Code))
		require.Equal(s.t, a.status, p.Status)
		require.Equal(s.t, a.header.Get("X-Request-Id"), p.RequestId)
		require.True(s.t, strings.HasSuffix(p.Type, "#"+p.Code))
		var value any
		require.NoError(s.t, json.Unmarshal(a.body, &value))
		require.NoError(s.t, s.doc.Components.Schemas["Problem"].Value.VisitJSON(value))
	}
	route, params, err := s.router.FindRoute(req)
	if err != nil {
		require.GreaterOrEqual(s.t, a.status, 400, "an address that the contract doesn't have answers %d", a.status)
		return
	}
	err = openapi3filter.ValidateResponse(s.t.Context(), &openapi3filter.ResponseValidationInput{
		RequestValidationInput: &openapi3filter.RequestValidationInput{Request: req, PathParams: params, Route: route},
		Status:                 a.status, Header: a.header, Body: io.NopCloser(bytes.NewReader(a.body)),
		Options: &openapi3filter.Options{IncludeResponseStatus: true, MultiError: true},
	})
	require.NoError(s.t, err, "%s %s: %s", req.Method, req.URL, a.body)
}

func (a answer) problem() api.Problem {
	a.t.Helper()
	require.Equal(a.t, "application/problem+json", a.header.Get("Content-Type"), "%s", a.body)
	return read[api.Problem](a)
}

// ok requires a status and returns the answer.
func (a answer) ok(status int) answer {
	a.t.Helper()
	require.Equal(a.t, status, a.status, "%s", a.body)
	return a
}

// fails requires a status and a code.
func (a answer) fails(status int, code provision.Code) api.Problem {
	a.t.Helper()
	require.Equal(a.t, status, a.status, "%s", a.body)
	p := a.problem()
	require.Equal(a.t, string(code), p.Code, "%s", a.body)
	return p
}

func read[T any](a answer) T {
	a.t.Helper()
	var v T
	require.NoError(a.t, json.Unmarshal(a.body, &v), "%s", a.body)
	return v
}

// fields are the inputs that a problem names.
func fields(p api.Problem) []string {
	var names []string
	if p.Errors != nil {
		for _, e := range *p.Errors {
			names = append(names, e.Field)
		}
	}
	return names
}

func (s *server) get(path string) answer {
	s.t.Helper()
	return s.send(request{method: "GET", path: path})
}

func (s *server) put(path string, body any) answer {
	s.t.Helper()
	return s.send(request{method: "PUT", path: path, body: body})
}

func (s *server) post(path string, body any) answer {
	s.t.Helper()
	return s.send(request{method: "POST", path: path, body: body})
}

func (s *server) delete(path string) answer {
	s.t.Helper()
	return s.send(request{method: "DELETE", path: path})
}

func (s *server) upload(path, profile string) answer {
	s.t.Helper()
	return s.send(request{method: "PUT", path: path, body: profile, media: aspenConfig})
}

// record makes facts about a device, as other rooms do.
func (s *server) record(serial string, facts ...provision.Fact) provision.Device {
	s.t.Helper()
	d, err := s.db.UpdateOrCreate(s.t.Context(), serial, func(ctx context.Context, c *store.Change) error {
		for _, f := range facts {
			if _, err := c.Record(ctx, f); err != nil {
				return err
			}
		}
		return nil
	})
	require.NoError(s.t, err)
	return d
}

// activate enrolls a device; awaiting holds it in Setup Assistant.
func (s *server) activate(serial string, awaiting bool) {
	s.t.Helper()
	s.record(serial, provision.Fact{Kind: provision.Authenticated, Epoch: 1, Source: provision.FromDevice},
		provision.Fact{Kind: provision.Activated, Epoch: 1, AwaitingConfiguration: awaiting, Source: provision.FromDevice})
}

// kinds are the kinds of a device's facts, the oldest first.
func (s *server) kinds(serial string) []string {
	s.t.Helper()
	facts := read[api.Timeline](s.get("/v1/devices/" + serial + "/timeline").ok(200)).Facts
	kinds := make([]string, len(facts))
	for i, f := range facts {
		kinds[len(facts)-1-i] = f.Kind
	}
	return kinds
}

// body is JSON in few words.
type body = map[string]any
