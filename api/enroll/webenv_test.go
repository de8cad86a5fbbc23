package enroll_test

import (
	"context"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/api/enroll"
	"github.com/muster-mdm/muster/api/intake"
	"github.com/muster-mdm/muster/devstack/directories"
	"github.com/muster-mdm/muster/devstack/directorytest"
	"github.com/muster-mdm/muster/directory"
	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/sim"
	"github.com/muster-mdm/muster/store"
)

const (
	andrewAccount = `ZYLKER\andrew`
	driversDN     = "cn=drivers," + directories.BaseDN
)

// school is a house whose devices their users activate, by a real directory.
type school struct {
	*house
	slapd *directories.Slapd
}

func buildSchool(t *testing.T, p provision.SignInPolicy, change ...func(*choices)) *school {
	t.Helper()
	s := &school{house: build(t, change...), slapd: directorytest.OpenLDAP(t)}
	s.exec(`INSERT INTO groups (name) VALUES ('zylker_drivers'), ('zylker_all'), ('kiosks')`)
	s.exec(`INSERT INTO device_profiles (name, activation_mode, fields, created_at, updated_at)
		VALUES ('by-user', 'by_user', '{"department": "Help desk", "support_phone_number": "555-0100"}', now(), now())`)
	s.putDirectory(s.ldap())
	in := store.ABMServerInput{Name: "school", DefaultProfile: "by-user", SignInPolicy: p}
	_, _, err := s.cases.PutABMServer(t.Context(), in, store.Condition{})
	require.NoError(t, err)
	return s
}

func (s *school) ldap() intake.DirectoryWish {
	return intake.DirectoryWish{
		Name: "zylker", Kind: directory.PlainLDAP, Domain: directories.Domain,
		Settings: intake.DirectorySettings{
			URLs: []string{s.slapd.URL}, CA: s.slapd.CA, BaseDN: directories.BaseDN, BindTemplate: "uid={user}," + directories.PeopleDN,
		},
		Groups: []store.DirectoryGroup{
			{DirectoryGroup: strings.ToUpper(driversDN), Group: "zylker_drivers"},
			{DirectoryGroup: "cn=others," + directories.BaseDN, Group: "kiosks"},
			{DirectoryGroup: driversDN, Group: "ZYLKER_ALL"},
		},
	}
}

func (s *school) putDirectory(w intake.DirectoryWish) {
	s.t.Helper()
	_, _, err := s.cases.PutDirectory(s.t.Context(), w, store.Edit{})
	require.NoError(s.t, err)
}

// listed makes a device one of the school's at Apple.
func (s *school) listed(serial string, facts ...provision.Fact) {
	s.t.Helper()
	s.register(serial, append([]provision.Fact{seen(provision.ABMPresent)}, facts...)...)
}

// Activate sends devices to the page.
func (s *school) Activate(string) (sim.Activation, bool) {
	return sim.Activation{URL: s.server.URL + "/enroll", WebURL: s.server.URL + enroll.SignInPath, Await: true, Supervised: true}, true
}

// used is a device that somebody uses.
func (s *school) used(serial string, person sim.Person) *sim.Device {
	s.t.Helper()
	return s.virtual(serial, func(c *sim.Config) { c.Person = person })
}

func (s *school) andrew() *sim.Credentials {
	return &sim.Credentials{Account: andrewAccount, Password: s.slapd.Password}
}

// reserve assigns a device to somebody.
func (s *school) reserve(serial string, who provision.Person, groups ...string) {
	s.t.Helper()
	_, err := s.cases.Assign(s.t.Context(), intake.Actor{ID: "tok", Source: provision.FromAPI}, serial,
		intake.AssignmentWish{User: &who, Groups: groups}, store.Condition{})
	require.NoError(s.t, err)
}

// userOf is domain, name and address of whom a device is assigned to.
func (s *school) userOf(serial string) string {
	s.t.Helper()
	return s.text(`SELECT coalesce((SELECT concat_ws(' ', p.domain, p.name, p.email) FROM people p WHERE p.id = d.user_id), '') FROM devices d WHERE serial = $1`, serial)
}

// untouched is all that a sign-in which is refused must not change; that a visit began and tries were counted is no matter.
func (s *school) untouched() string {
	s.t.Helper()
	return s.counted() + s.text(`SELECT concat_ws(' ', (SELECT count(*) FROM people), (SELECT string_agg(user_id, ',') FROM devices))`)
}

// view is a web view that a test holds in its hands.
type view struct {
	s      *school
	client *http.Client
	// token is that of the last form.
	token string
}

func (s *school) view() *view {
	s.t.Helper()
	jar, err := cookiejar.New(nil)
	require.NoError(s.t, err)
	return &view{s: s, client: &http.Client{
		Transport: s.server.Client().Transport, Jar: jar,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

var formToken = regexp.MustCompile(`name="token" value="([^"]+)"`)

// do sends a request and keeps the token of the form that comes back.
func (v *view) do(method, path, body string, header ...string) reply {
	v.s.t.Helper()
	r, err := http.NewRequestWithContext(v.s.t.Context(), method, v.s.server.URL+path, strings.NewReader(body))
	require.NoError(v.s.t, err)
	if body != "" {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	resp, err := v.client.Do(r)
	require.NoError(v.s.t, err)
	defer func() { _ = resp.Body.Close() }()
	raw, err := io.ReadAll(resp.Body)
	require.NoError(v.s.t, err)
	if m := formToken.FindSubmatch(raw); m != nil {
		v.token = string(m[1])
	}
	return reply{resp.StatusCode, resp.Header, raw}
}

// open begins a visit with what the device says of itself.
func (v *view) open(d *sim.Device) reply {
	v.s.t.Helper()
	info, err := d.MachineInfo()
	require.NoError(v.s.t, err)
	return v.do(http.MethodGet, enroll.SignInPath, "", "x-apple-aspen-deviceinfo", base64.StdEncoding.EncodeToString(info))
}

// submit sends the form.
func (v *view) submit(account, password string, header ...string) reply {
	v.s.t.Helper()
	body := url.Values{"token": {v.token}, "account": {account}, "password": {password}}.Encode()
	return v.do(http.MethodPost, enroll.SignInPath, body, header...)
}

const profileMedia = "application/x-apple-aspen-config"

func (r reply) isProfile() bool {
	return r.status == http.StatusOK && r.header.Get("Content-Type") == profileMedia
}

// says requires a page with a text on it.
func (r reply) says(t testing.TB, status int, text string) {
	t.Helper()
	require.Equal(t, status, r.status, "%s", r.body)
	require.Equal(t, "text/html; charset=utf-8", r.header.Get("Content-Type"))
	require.Equal(t, "no-store", r.header.Get("Cache-Control"))
	require.Contains(t, r.header.Get("Content-Security-Policy"), "default-src 'none'")
	require.Contains(t, string(r.body), text)
}

// patient types what it is given, one after the other, and keeps the last page.
type patient struct {
	passwords []string
	account   string
	between   func(try int)
	page      sim.Page
}

var errGaveUp = errors.New("the person gave up")

func (p *patient) Use(_ context.Context, page sim.Page) (sim.Move, error) {
	p.page = page
	if len(p.passwords) == 0 || len(page.Forms) == 0 {
		return sim.Move{}, errGaveUp
	}
	if p.between != nil {
		p.between(len(p.passwords))
	}
	f := page.Forms[0]
	f.Set("text", p.account)
	f.Set("password", p.passwords[0])
	p.passwords = p.passwords[1:]
	return sim.Move{Form: &f}, nil
}
