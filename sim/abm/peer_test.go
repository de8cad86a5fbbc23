package abm_test

import (
	"context"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"io"
	"iter"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	depclient "github.com/micromdm/nanodep/client"
	"github.com/micromdm/nanodep/godep"
	"github.com/micromdm/nanodep/tokenpki"
	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/sim/abm"
)

// portal is an organisation that listens, with one MDM server.
type portal struct {
	*abm.Organization
	t      *testing.T
	url    string
	server abm.Server
}

func open(t *testing.T, cfg abm.Config) *portal {
	t.Helper()
	return serve(t, abm.New(cfg))
}

func serve(t *testing.T, o *abm.Organization) *portal {
	t.Helper()
	l, err := o.Listen(t.Context(), "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, l.Close()) })
	p := &portal{Organization: o, t: t, url: l.URL}
	if servers := o.Servers(); len(servers) > 0 {
		p.server = servers[0]
	} else {
		p.server = o.AddServer(abm.Server{Name: "Muster", Disown: true})
	}
	return p
}

// wire carries requests to Apple's hosts to the portal instead, and notes the answers.
type wire struct {
	to      *url.URL
	base    *http.Transport
	version string // X-Server-Protocol-Version

	mu       sync.Mutex
	sessions []string
	retry    string
	noted    []string // method, path and status of each answer
}

func (p *portal) wire(version int) *wire {
	to, err := url.Parse(p.url)
	require.NoError(p.t, err)
	w := &wire{to: to, base: &http.Transport{}, version: strconv.Itoa(version)}
	p.t.Cleanup(w.base.CloseIdleConnections)
	return w
}

// RoundTrip keeps the Host header, as the client signs the address that it knows.
func (w *wire) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Host = r.URL.Host
	r.URL.Scheme, r.URL.Host = w.to.Scheme, w.to.Host
	if r.Header.Get(depclient.ServerProtocolVersion) != "" {
		r.Header.Set(depclient.ServerProtocolVersion, w.version)
	}
	response, err := w.base.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if session := response.Header.Get(depclient.ADMAuthSession); session != "" {
		w.sessions = append(w.sessions, session)
	}
	w.retry = response.Header.Get("Retry-After")
	w.noted = append(w.noted, r.Method+" "+r.URL.Path+" "+strconv.Itoa(response.StatusCode))
	return response, nil
}

func (w *wire) answers() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	noted := w.noted
	w.noted = nil
	return noted
}

// tokens are a client's tokens in memory; they may be exchanged.
type tokens struct {
	mu sync.Mutex
	t  depclient.OAuth1Tokens
}

func (s *tokens) set(t depclient.OAuth1Tokens) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.t = t
}

func (s *tokens) get() depclient.OAuth1Tokens {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.t
}

func (s *tokens) RetrieveAuthTokens(context.Context, string) (*depclient.OAuth1Tokens, error) {
	t := s.get()
	return &t, nil
}

func (s *tokens) RetrieveConfig(context.Context, string) (*depclient.Config, error) { return nil, nil }

type keyPair struct {
	key  *rsa.PrivateKey
	cert *x509.Certificate
	pem  []byte
}

var oneKeyPair = sync.OnceValue(func() keyPair {
	key, cert, err := tokenpki.SelfSignedRSAKeypair("muster", 1)
	if err != nil {
		panic(err)
	}
	return keyPair{key, cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})}
})

// download gets the server's token from the portal and opens it with nanodep's own code.
func (p *portal) download(serverID string) depclient.OAuth1Tokens {
	p.t.Helper()
	pair := oneKeyPair()
	file, err := p.IssueToken(serverID, pair.pem)
	require.NoError(p.t, err)
	opened, err := tokenpki.DecryptTokenJSON(file, pair.cert, pair.key)
	require.NoError(p.t, err)
	var token depclient.OAuth1Tokens
	require.NoError(p.t, json.Unmarshal(opened, &token), "%s", opened)
	require.True(p.t, token.Valid())
	return token
}

// dep is nanodep's client, linked to a server of the portal.
type dep struct {
	*godep.Client
	*wire
	tokens *tokens
	t      *testing.T
}

const name = "muster" // of the server, for nanodep

func (p *portal) link(serverID string, version int) *dep {
	p.t.Helper()
	store := &tokens{t: p.download(serverID)}
	w := p.wire(version)
	return &dep{Client: godep.NewClient(store, godep.WithClient(&http.Client{Transport: w})), wire: w, tokens: store, t: p.t}
}

func (d *dep) fetch(opts ...godep.DeviceRequestOption) *godep.FetchDeviceResponseJson {
	d.t.Helper()
	page, err := d.FetchDevices(d.t.Context(), name, opts...)
	require.NoError(d.t, err)
	return page
}

// all fetches everything and returns the serials in order, and the cursor to sync from.
func (d *dep) all(limit int) (serials []string, cursor string) {
	d.t.Helper()
	for {
		opts := []godep.DeviceRequestOption{godep.WithLimit(limit)}
		if cursor != "" {
			opts = append(opts, godep.WithCursor(cursor))
		}
		page := d.fetch(opts...)
		require.LessOrEqual(d.t, len(page.Devices), limit)
		for _, one := range page.Devices {
			serials = append(serials, one.SerialNumber)
		}
		cursor = page.Cursor
		if !page.MoreToFollow {
			return serials, cursor
		}
	}
}

// news syncs once and returns "op serial" of each record.
func (d *dep) news(cursor string) (ops []string, next string) {
	d.t.Helper()
	page, err := d.SyncDevices(d.t.Context(), name, godep.WithCursor(cursor), godep.WithLimit(1000))
	require.NoError(d.t, err)
	require.False(d.t, page.MoreToFollow)
	for _, one := range page.Devices {
		require.NotNil(d.t, one.OpType, "%+v", one)
		require.NotNil(d.t, one.OpDate)
		ops = append(ops, string(*one.OpType)+" "+one.SerialNumber)
	}
	return ops, page.Cursor
}

func (p *portal) addNew(serverID string, n int) []string {
	p.t.Helper()
	serials, err := p.AddNew(serverID, n)
	require.NoError(p.t, err)
	return serials
}

// requireRefused wants an answer of the status with the code as its body, from the API or from its /session.
func requireRefused(t *testing.T, err error, status int, code string) {
	t.Helper()
	require.Error(t, err)
	var api *godep.HTTPError
	var auth *depclient.AuthError
	body, got := "", 0
	switch {
	case errorAs(err, &api):
		body, got = string(api.Body), api.StatusCode
	case errorAs(err, &auth):
		body, got = string(auth.Body), auth.StatusCode
	default:
		t.Fatalf("not an answer of Apple's: %v", err)
	}
	require.Equal(t, code, body)
	require.Equal(t, status, got)
}

// raw sends a request of the test's own making and returns status and body.
func (p *portal) raw(method, path string, headers map[string]string, body string) (int, string) {
	p.t.Helper()
	r, err := http.NewRequestWithContext(p.t.Context(), method, p.url+path, strings.NewReader(body))
	require.NoError(p.t, err)
	for key, value := range headers {
		r.Header.Set(key, value)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: time.Minute}
	response, err := client.Do(r)
	require.NoError(p.t, err)
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	require.NoError(p.t, err)
	return response.StatusCode, string(content)
}

// sessionOf opens a session with the tokens and returns it, for raw requests.
func (p *portal) sessionOf(t depclient.OAuth1Tokens) string {
	p.t.Helper()
	r, err := http.NewRequestWithContext(p.t.Context(), http.MethodGet, "https://mdmenrollment.apple.com/session", http.NoBody)
	require.NoError(p.t, err)
	session, err := depclient.DoAuth(&http.Client{Transport: p.wire(10)}, r, &t)
	require.NoError(p.t, err)
	return session
}

func keys(m map[string]int) iter.Seq[string] { return maps.Keys(m) }
