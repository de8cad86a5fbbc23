package sim_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/sim"
)

const loginPage = `<!doctype html><html><head><title>Sign in</title><style>p{}</style></head><body>
<h1>Zylker</h1><p>%s</p><a href="help">Help</a>
<form method="post" action="/session"><input type="hidden" name="csrf" value="%s">
<label>Account <input name="account" autocomplete="username"></label><input type=password name=secret>
<input type="checkbox" name="terms" checked><input type="checkbox" name="news">
<select name="language"><option value="en">English<option value="de" selected>Deutsch</select>
<textarea name="note">none</textarea><button name="go" value="in">Sign in</button><button name="go" value="out">Leave</button></form>
<script>document.write("never")</script></body></html>`

// signIn is a server with a page, written as web servers are: a cookie from the first request on, a token in the form.
type signIn struct {
	p       *peer
	server  *httptest.Server
	mu      sync.Mutex
	devices map[string]string // by cookie
	sent    []map[string][]string
	broken  int
}

func (p *peer) signIn() *signIn {
	s := &signIn{p: p, devices: map[string]string{}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /start", s.start)
	mux.HandleFunc("GET /page", s.page)
	mux.HandleFunc("POST /session", s.session)
	mux.HandleFunc("GET /profile", func(w http.ResponseWriter, _ *http.Request) { give(w, p.profile()) })
	s.server = httptest.NewServer(mux)
	p.t.Cleanup(s.server.Close)
	return s
}

func (s *signIn) start(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken > 0 {
		s.broken--
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	raw, err := base64.StdEncoding.DecodeString(r.Header.Get("x-apple-aspen-deviceinfo"))
	if err != nil {
		s.p.t.Error(err)
	}
	info, err := open(s.p.t, raw)
	if err != nil {
		s.p.t.Error(err)
	}
	cookie := fmt.Sprint("c", len(s.devices))
	s.devices[cookie] = fmt.Sprint(info["SERIAL"])
	http.SetCookie(w, &http.Cookie{Name: "session", Value: cookie, Path: "/"})
	http.Redirect(w, r, "/page", http.StatusSeeOther)
}

func (s *signIn) known(r *http.Request) string {
	cookie, err := r.Cookie("session")
	if err != nil || r.Header.Get("x-apple-aspen-deviceinfo") != "" {
		return ""
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.devices[cookie.Value]
}

func (s *signIn) page(w http.ResponseWriter, r *http.Request) {
	s.show(w, "Welcome, "+s.known(r))
}

func (s *signIn) show(w http.ResponseWriter, message string) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = fmt.Fprintf(w, loginPage, message, "token")
}

func (s *signIn) session(w http.ResponseWriter, r *http.Request) {
	if s.known(r) == "" || r.ParseForm() != nil {
		w.WriteHeader(http.StatusForbidden)
		return
	}
	s.mu.Lock()
	s.sent = append(s.sent, r.PostForm)
	s.mu.Unlock()
	if r.PostForm.Get("secret") != "right" {
		s.show(w, "Wrong account or password.")
		return
	}
	http.Redirect(w, r, "/profile", http.StatusSeeOther)
}

func (s *signIn) source() apple {
	return apple{sim.Activation{URL: s.server.URL + "/never", WebURL: s.server.URL + "/start"}}
}

func by(person sim.Person) func(*sim.Config) {
	return func(c *sim.Config) { made(c); c.Person = person }
}

func TestPersonSignsInOnTheDevice(t *testing.T) {
	p := newPeer(t)
	s := p.signIn()
	s.broken = 2
	d := p.device(by(&sim.Credentials{Account: `ZYLKER\andrew`, Password: "right"}))
	require.NoError(t, d.PowerOn(t.Context(), s.source()))
	require.True(t, d.Snapshot().Enrolled)
	require.Equal(t, map[string]string{"c0": d.Serial()}, s.devices)
	require.Equal(t, map[string][]string{
		"csrf": {"token"}, "account": {`ZYLKER\andrew`}, "secret": {"right"}, "terms": {"on"}, "language": {"de"}, "note": {"none"}, "go": {"in"},
	}, s.sent[0])
}

// A web view that is opened anew asks anew, and that is no refusal.
func TestPersonSignsInEachTimeThatTheWebViewOpens(t *testing.T) {
	p := newPeer(t)
	s := p.signIn()
	d := p.device(func(c *sim.Config) {
		by(&sim.Credentials{Account: `ZYLKER\andrew`, Password: "right"})(c)
		c.Faults = sim.Faults{LoseAnswer: 1, Limit: 1}
	})
	require.NoError(t, d.PowerOn(t.Context(), s.source()))
	d.Reset()
	require.NoError(t, d.PowerOn(t.Context(), s.source()))
	require.GreaterOrEqual(t, len(s.sent), 3, "the answer to the first was lost, then it was erased")
}

func TestPersonWithoutTheRightPassword(t *testing.T) {
	p := newPeer(t)
	s := p.signIn()
	d := p.device(by(&sim.Credentials{Account: "andrew", Password: "wrong"}))
	err := d.PowerOn(t.Context(), s.source())
	require.ErrorIs(t, err, sim.ErrSignIn)
	require.ErrorContains(t, err, "Wrong account or password.")
	require.NotContains(t, err.Error(), "never", "scripts don't run")
	require.Len(t, s.sent, 1)
	require.ErrorIs(t, p.device(made).PowerOn(t.Context(), s.source()), sim.ErrSignIn, "nobody is there")
}

// visitor does on each page what he is told.
type visitor []func(sim.Page) sim.Move

func (v *visitor) Use(_ context.Context, p sim.Page) (sim.Move, error) {
	move := (*v)[0](p)
	if len(*v) > 1 {
		*v = (*v)[1:]
	}
	return move, nil
}

func TestPersonFollowsLinks(t *testing.T) {
	p := newPeer(t)
	var pages []sim.Page
	mux := http.NewServeMux()
	mux.HandleFunc("GET /a/start", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = w.Write([]byte(`<title> Choose  one </title><base href="/b/"><a href="go?x=1">Sign in <b>with</b> Zylker</a>`))
	})
	mux.HandleFunc("GET /b/go", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = fmt.Fprintf(w, `<form action="done"><input name="q" value=%q></form>`, r.URL.Query().Get("x"))
	})
	mux.HandleFunc("GET /b/done", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("q") == "1" {
			give(w, p.profile())
		}
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	person := &visitor{
		func(page sim.Page) sim.Move { pages = append(pages, page); return sim.Move{Link: page.Links[0].URL} },
		func(page sim.Page) sim.Move { return sim.Move{Form: &page.Forms[0]} },
	}
	d := p.device(by(person))
	require.NoError(t, d.PowerOn(t.Context(), apple{sim.Activation{URL: server.URL, WebURL: server.URL + "/a/start"}}))
	require.Equal(t, "Choose one", pages[0].Title)
	require.Equal(t, []sim.Link{{Text: "Sign in with Zylker", URL: server.URL + "/b/go?x=1"}}, pages[0].Links)
}

func TestWebViewTakesAProfileFromItsHostOnly(t *testing.T) {
	p := newPeer(t)
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { give(w, p.profile()) }))
	t.Cleanup(elsewhere.Close)
	for name, tt := range map[string]struct {
		answer http.HandlerFunc
		says   string
	}{
		"profile of another host": {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, elsewhere.URL, http.StatusFound) }, "instead of the host"},
		"picture":                 {func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Content-Type", "image/png") }, "can't show"},
		"not found":               {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) }, "404"},
		"unrecognized": {func(w http.ResponseWriter, _ *http.Request) {
			forbid(w, dict{"code": "com.apple.unrecognized.device"})
		}, "doesn't recognize"},
		"no end": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			_, _ = w.Write([]byte(`<form></form>`))
		}, "within 20 pages"},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(tt.answer)
			t.Cleanup(server.Close)
			d := p.device(by(&visitor{func(page sim.Page) sim.Move { return sim.Move{Form: &page.Forms[0]} }}))
			err := d.PowerOn(t.Context(), apple{sim.Activation{URL: server.URL, WebURL: server.URL}})
			require.ErrorContains(t, err, tt.says)
			require.False(t, d.Snapshot().Enrolled)
		})
	}
}
