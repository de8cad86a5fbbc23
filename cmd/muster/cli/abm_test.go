package cli_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/muster-mdm/muster/api"
	"github.com/muster-mdm/muster/api/client"
	"github.com/muster-mdm/muster/api/intake"
	"github.com/muster-mdm/muster/devstack/stacktest"
	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/sim/abm"
	"github.com/muster-mdm/muster/store"
	"github.com/muster-mdm/muster/store/keyring"
)

// remote is a Muster with a real API, which the environment names to the commands.
type remote struct {
	t  *testing.T
	db *store.DB
	// linked does what a worker would do once a token was uploaded.
	linked func()
}

func newRemote(t *testing.T) *remote {
	t.Helper()
	keys, err := keyring.Parse(keyring.NewKey())
	require.NoError(t, err)
	db, err := store.Open(t.Context(), store.Config{URL: stacktest.Database(t, "muster", migrate), MaxConns: 4}, store.WithSealer(keys))
	require.NoError(t, err)
	t.Cleanup(db.Close)
	use, err := intake.New(db, intake.Settings{})
	require.NoError(t, err)
	e, err := api.New(api.Config{DB: db, Intake: use, Log: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	r := &remote{t, db, func() {}}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		e.ServeHTTP(w, q)
		if strings.HasSuffix(q.URL.Path, "/token") {
			r.linked()
		}
	}))
	t.Cleanup(server.Close)
	_, secret, err := db.CreateToken(t.Context(), "cli", store.Admin, nil)
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "token")
	require.NoError(t, os.WriteFile(file, []byte(secret+"\n"), 0o600))
	t.Setenv("MUSTER_URL", server.URL+"/")
	t.Setenv("MUSTER_TOKEN_FILE", file)
	return r
}

// run runs a command that must succeed and returns what it printed.
func (r *remote) run(args ...string) string {
	r.t.Helper()
	code, out, errOut := muster(r.t, args...)
	require.Zero(r.t, code, errOut)
	require.NotContains(r.t, errOut, "\x1b", "no progress where nobody looks")
	return out
}

// fails runs a command that must not succeed and returns the sentence.
func (r *remote) fails(want int, args ...string) string {
	r.t.Helper()
	code, out, errOut := muster(r.t, args...)
	require.Equal(r.t, want, code, errOut)
	require.Empty(r.t, out)
	return errOut
}

func (r *remote) file(name, content string) string {
	r.t.Helper()
	path := filepath.Join(r.t.TempDir(), name)
	require.NoError(r.t, os.WriteFile(path, []byte(content), 0o600))
	return path
}

// take has the server schools list devices, as a sync does; the last page of a full list concludes it.
func (r *remote) take(more bool, serials ...string) {
	task, err := r.db.NextABMTask(context.Background(), "schools")
	require.NoError(r.t, err)
	page := store.ABMPage{Task: task, Next: rand.Text(), More: more}
	for _, serial := range serials {
		page.Records = append(page.Records, store.ABMRecord{Serial: serial, Model: "iPad", ProfileStatus: "empty"})
	}
	taken, err := r.db.TakeABMPage(context.Background(), page)
	require.NoError(r.t, err)
	if taken.Next.Phase == store.PhaseConclude {
		_, _, err = r.db.ConcludeABMFetch(context.Background(), taken.Next)
		require.NoError(r.t, err)
	}
}

// link makes the server schools and gets a token for it.
func (r *remote) link() (file string) {
	r.t.Helper()
	r.run("abm", "add", "schools")
	o := abm.New(abm.Config{})
	p7m, err := o.IssueToken(o.AddServer(abm.Server{}).ID, []byte(r.run("abm", "certificate", "schools")))
	require.NoError(r.t, err)
	return r.file("token.p7m", string(p7m))
}

func TestLinkingAServerByTheCommandLine(t *testing.T) {
	r := newRemote(t)
	out := r.run("abm", "add", "schools", "--description", "iPads", "--sync-every", "10m")
	require.Contains(t, out, "muster abm link schools FILE.p7m")
	require.Contains(t, r.fails(1, "abm", "add", "schools"), `there is a server "schools" already; change it with muster abm edit`)
	pem := filepath.Join(t.TempDir(), "schools.pem")
	r.run("abm", "certificate", "schools", "-o", pem)
	certificate, err := os.ReadFile(pem)
	require.NoError(t, err)
	require.Equal(t, string(certificate), r.run("abm", "certificate", "schools"))

	o := abm.New(abm.Config{})
	p7m, err := o.IssueToken(o.AddServer(abm.Server{}).ID, certificate)
	require.NoError(t, err)
	file := r.file("token.p7m", string(p7m))
	require.Contains(t, r.fails(1, "abm", "link", "schools", pem), "(abm_token_invalid)")
	require.Contains(t, r.fails(1, "abm", "link", "nowhere", file), "(not_found)")
	require.Contains(t, r.fails(1, "abm", "link", "schools", file+".gone"), "no such file")
	require.Contains(t, r.fails(1, "abm", "link", "schools", file, "--timeout", "1ms"), "was not done within 1ms; it goes on by itself")

	r.linked = func() {
		r.take(true, serial)
		r.take(false, "C07Q853LG9RN")
	}
	out = r.run("abm", "link", "schools", file)
	require.Regexp(t, `(?m)^Health: +ok$`, out)
	require.Regexp(t, `(?m)^Devices: +2$`, out)
	require.Regexp(t, `(?m)^Every: +10m, all devices every 24h$`, out)

	list := r.run("abm", "servers")
	require.Regexp(t, `(?m)^NAME +HEALTH +DEVICES`, list)
	require.Regexp(t, `(?m)^schools +ok +2 `, list)
	require.Regexp(t, `(?m)^Health: +ok, paused$`, r.run("abm", "pause", "schools"))
	require.Contains(t, r.fails(1, "abm", "sync", "schools"), "(abm_server_paused)")
	require.Regexp(t, `(?m)^Health: +ok$`, r.run("abm", "resume", "schools"))
	require.Contains(t, r.run("abm", "sync", "schools"), "a sync was asked for")
	require.Contains(t, r.run("abm", "sync", "schools", "--full"), "listing all devices")
	r.run("abm", "renew-keys", "schools")
	require.NotEqual(t, string(certificate), r.run("abm", "certificate", "schools"))
	require.Contains(t, r.fails(1, "abm", "delete", "schools"), "(in_use)")
}

func TestWaitingEndsWhenAPersonIsNeeded(t *testing.T) {
	r := newRemote(t)
	file := r.link()
	r.run("abm", "link", "schools", file, "--wait=false")
	server, err := r.db.ABMServer(t.Context(), "schools")
	require.NoError(t, err)
	_, err = r.db.ABMFailed(t.Context(), server, provision.BlockedTerms, "T_C_NOT_SIGNED")
	require.NoError(t, err)
	said := r.fails(1, "abm", "sync", "schools", "--wait")
	require.Contains(t, said, "terms and conditions")
	require.Contains(t, said, "Who can mend it: an administrator of Apple Business Manager")
	out := r.run("abm", "show", "schools")
	require.Regexp(t, `(?m)^Health: +abm_terms, since `, out)
	require.Regexp(t, `(?m)^Apple says: +T_C_NOT_SIGNED$`, out)
}

func TestServersAreEditedByTheCommandLine(t *testing.T) {
	r := newRemote(t)
	r.run("abm", "add", "schools", "--description", "iPads")
	r.run("abm", "profile", "put", "standard", r.file("standard.json", `{"is_supervised": true}`))
	out := r.run("abm", "edit", "schools", "--default-profile", "standard", "--full-every", "36h")
	require.Regexp(t, `(?m)^Description: +iPads$`, out, "what isn't given stays")
	require.Regexp(t, `(?m)^Default profile: +standard$`, out)
	require.Contains(t, r.fails(1, "abm", "edit", "schools", "--sync-every", "1s"), `"sync_every" must be between 1m and 24h. (invalid)`)
	require.Regexp(t, `(?m)^Default profile: +-$`, r.run("abm", "edit", "schools", "--default-profile", ""))

	account, err := abm.New(abm.Config{}).AddAccount(false)
	require.NoError(t, err)
	key := r.file("key.pem", string(account.PrivateKeyPEM))
	out = r.run("abm", "business", "schools", "--client-id", account.ClientID, "--key-id", account.KeyID, "--key-file", key)
	require.Contains(t, out, account.ClientID)
	require.Contains(t, r.fails(2, "abm", "business", "schools", "--client-id", "x"), "needs --client-id, --key-id and --key-file")
	require.Contains(t, r.fails(2, "abm", "business", "schools", "--client-id", "x", "--remove"), "goes with no other flag")
	require.Regexp(t, `(?m)^Business API: +no account$`, r.run("abm", "business", "schools", "--remove"))
	r.run("abm", "delete", "schools")
	require.Equal(t, "[]\n", r.run("abm", "servers", "-o", "json"))
}

func TestDeviceProfilesByTheCommandLine(t *testing.T) {
	r := newRemote(t)
	r.run("abm", "profile", "put", "kiosk", r.file("kiosk.json", `{"is_supervised": true}`), "--description", "Kiosks", "--activation-mode", "by_user")
	out := r.run("abm", "profile", "put", "kiosk", r.file("kiosk.json", `{"skip_setup_items": ["TOS"]}`))
	require.Regexp(t, `(?m)^Activation: +by_user$`, out, "what isn't given stays")
	require.Contains(t, out, `"TOS"`)
	said := r.fails(1, "abm", "profile", "put", "kiosk", r.file("bad.json", `{"is_mdm_removable": false, "nonsense": 1}`))
	require.Contains(t, said, "(device_profile_invalid)")
	require.Contains(t, said, "\n  fields.is_mdm_removable: ", "all problems are told")
	require.Contains(t, r.fails(1, "abm", "profile", "put", "kiosk", r.file("list.json", `[]`)), "is not a JSON object")
	require.Contains(t, r.run("abm", "profiles"), "kiosk")
	require.Contains(t, r.run("abm", "profile", "show", "kiosk"), "Kiosks")
	r.run("abm", "profile", "delete", "kiosk")
	require.Contains(t, r.fails(1, "abm", "profile", "show", "kiosk"), "(not_found)")
}

func TestADeviceByTheCommandLine(t *testing.T) {
	r := newRemote(t)
	r.run("abm", "link", "schools", r.link(), "--wait=false")
	r.run("abm", "profile", "put", "standard", r.file("standard.json", `{}`))
	r.run("abm", "edit", "schools", "--default-profile", "standard")
	r.take(true, serial)
	duties, err := r.db.ClaimABMDuties(t.Context(), "schools", 1)
	require.NoError(t, err)
	require.NoError(t, r.db.AnswerABMDuties(t.Context(), []store.ABMAnswer{{Duty: duties[0], Outcome: provision.ABMRetrying, Result: "NOT_\x1b[31mACCESSIBLE", Again: time.Hour}}))
	out := r.run("abm", "device", serial)
	require.Regexp(t, `(?m)^Should have: +standard, by server schools$`, out)
	require.Regexp(t, `(?m)^Server schools: +lists it$`, out)
	require.Regexp(t, `(?m)^assign_profile +schools +standard +1 `, out)
	require.NotContains(t, out, "\x1b", "nobody else writes to the terminal")
	require.Contains(t, r.fails(1, "abm", "device", "C07Q853LG9RX"), "(device_not_found)")
}

func TestOutputForPrograms(t *testing.T) {
	r := newRemote(t)
	r.run("abm", "add", "schools", "--description", "yes")
	var inJSON, inYAML map[string]any
	text := r.run("abm", "show", "schools", "-o", "json")
	require.NoError(t, json.Unmarshal([]byte(text), &inJSON))
	other := r.run("abm", "show", "schools", "-o", "yaml")
	require.NoError(t, yaml.Unmarshal([]byte(other), &inYAML))
	require.Equal(t, "yes", inYAML["description"], "text stays text")
	require.IsType(t, "", inYAML["created_at"])
	require.Equal(t, 1, inYAML["version"])
	require.NotContains(t, other, "{")
	again, err := json.Marshal(inYAML)
	require.NoError(t, err)
	require.JSONEq(t, text, string(again), "both say the same")
	require.Contains(t, r.fails(2, "abm", "show", "schools", "-o", "xml"), "take table, json or yaml")
}

func TestClientsCallsThatCannotWork(t *testing.T) {
	loggedOut(t)
	for _, c := range []struct{ args, says string }{
		{"abm servers", "no API token is set: log in by muster login, or give --token, MUSTER_TOKEN or MUSTER_TOKEN_FILE"},
		{"abm servers --token x --url ftp://h", `MUSTER_URL is "ftp://h"`},
		{"abm show", `"muster abm show" needs the NAME of a server`},
		{"abm show a b", `"b" is one too many`},
		{"abm link schools", "needs the FILE that Apple gave"},
		{"abm serverz", `"serverz" is no command of "muster abm"`},
		{"abm profile", ""},
	} {
		code, _, errOut := muster(t, strings.Fields(c.args)...)
		if c.says == "" {
			require.Zero(t, code, "it helps")
			continue
		}
		require.Equal(t, 2, code, c.args)
		require.Contains(t, errOut, c.says, c.args)
	}
}

func TestWhatIsNotMusterIsSaid(t *testing.T) {
	t.Setenv("MUSTER_TOKEN", "mst_x")
	body, status := "<html>", http.StatusBadGateway
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	}))
	defer server.Close()
	t.Setenv("MUSTER_URL", server.URL)
	code, _, errOut := muster(t, "abm", "servers")
	require.Equal(t, 1, code)
	require.Contains(t, errOut, "answers 502 Bad Gateway, which isn't Muster's API")
	status = http.StatusOK
	_, _, errOut = muster(t, "abm", "servers")
	require.Contains(t, errOut, "does not answer like Muster's API")
	t.Setenv("MUSTER_URL", "http://127.0.0.1:1")
	code, _, errOut = muster(t, "abm", "servers")
	require.Equal(t, 1, code)
	require.Contains(t, errOut, "muster does not answer at 127.0.0.1:1")
	require.NotContains(t, errOut, "mst_x")
}

// The list is fetched to its end, however many pages it has.
func TestListsAreEntire(t *testing.T) {
	r := newRemote(t)
	for i := range 101 {
		_, _, err := r.db.PutDeviceProfile(t.Context(), store.DeviceProfile{Name: "p" + string(rune('a'+i/26)) + string(rune('a'+i%26)), ActivationMode: "by_admin", Fields: []byte(`{}`)}, store.Edit{})
		require.NoError(t, err)
	}
	var list []client.DeviceProfile
	require.NoError(t, json.NewDecoder(bytes.NewBufferString(r.run("abm", "profiles", "-o", "json"))).Decode(&list))
	require.Len(t, list, 101)
}
