package store_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/micromdm/nanomdm/mdm"
	"github.com/micromdm/nanomdm/storage/pgsql"
	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/devstack/stacktest"
	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/store"
	"github.com/muster-mdm/muster/store/keyring"
)

const mdmProfile = "com.example.mdm"

// clock moves only when told, and a little whenever it is read.
type clock struct{ since atomic.Int64 }

func (c *clock) now() time.Time {
	return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC).Add(time.Duration(c.since.Add(int64(time.Microsecond))))
}

func (c *clock) pass(d time.Duration) { c.since.Add(int64(d)) }

// fleet is a store with a catalog, and NanoMDM's own storage on the same database.
type fleet struct {
	*store.DB
	t     testing.TB
	clock *clock
	ring  *keyring.Keyring
	pages int // that were taken from ABM
	sql   *pgx.Conn
	mdm   *pgsql.PgSQLStorage
}

var errUnwritable = errors.New("no such thing in a property list")

// encode stands for the writer of property lists.
func encode(o provision.Order) ([]byte, error) {
	if strings.Contains(string(o.Payload), "unwritable") {
		return nil, errUnwritable
	}
	return fmt.Appendf(nil, `<?xml version="1.0"?><!-- %s %s v%d %s %s %d %s -->`, o.Command.Type, o.Command.Item, o.Command.Version, o.Payload, o.ManifestURL, o.StoreID, o.Document.URL), nil
}

func newFleet(t testing.TB) *fleet {
	t.Helper()
	at := stacktest.Database(t, "muster", migrate)
	f := &fleet{t: t, clock: &clock{}}
	var err error
	f.ring, err = keyring.Parse(keyring.NewKey())
	require.NoError(t, err)
	f.DB, err = store.Open(t.Context(), store.Config{URL: at}, store.WithEncoder(encode), store.WithClock(f.clock.now), store.WithSealer(f.ring))
	require.NoError(t, err)
	t.Cleanup(f.Close)
	f.sql, err = pgx.Connect(t.Context(), at)
	require.NoError(t, err)
	t.Cleanup(func() { _ = f.sql.Close(context.Background()) })
	f.mdm, err = pgsql.New(pgsql.WithDB(f.NanoMDM()))
	require.NoError(t, err)
	f.exec(`INSERT INTO people (id, name, domain, email, technician) VALUES ('u1', 'ANDREW', 'MDM', 'a@z.com', false), ('u2', 'BEA', 'MDM', 'b@z.com', true)`)
	return f
}

func (f *fleet) exec(sql string, args ...any) {
	f.t.Helper()
	_, err := f.sql.Exec(f.t.Context(), sql, args...)
	require.NoError(f.t, err)
}

// configuration saves a content of a configuration; its identifier is its name.
func (f *fleet) configuration(name string, content int, payload string) {
	f.t.Helper()
	f.exec(`INSERT INTO configurations (name, content, identifier) VALUES ($1, $2, 'com.example.' || $1) ON CONFLICT (name) DO UPDATE SET content = EXCLUDED.content`, name, content)
	f.exec(`INSERT INTO configuration_contents (name, content, identifier, payload) VALUES ($1, $2, 'com.example.' || $1, $3)`, name, content, []byte(payload))
}

func (f *fleet) app(name string) {
	f.t.Helper()
	f.exec(`INSERT INTO apps (name, bundle_id, manifest_url) VALUES ($1, 'com.example.' || $1, 'https://apps.example.com/' || $1)`, name)
}

// group makes a group of items, named "wifi" or "app:mail", each with its stage after a blank if that is not required.
func (f *fleet) group(name string, items ...string) {
	f.t.Helper()
	f.exec(`INSERT INTO groups (name) VALUES ($1) ON CONFLICT DO NOTHING`, name)
	f.exec(`DELETE FROM group_items WHERE group_name = $1`, name)
	for i, it := range items {
		it, stage, given := strings.Cut(it, " ")
		if !given {
			stage = "required"
		}
		kind, column := "configuration", "configuration_name"
		if app, is := strings.CutPrefix(it, "app:"); is {
			it, kind, column = app, "app", "app_name"
		}
		if document, is := strings.CutPrefix(it, "doc:"); is {
			it, kind, column = document, "document", "document_name"
		}
		f.exec(`INSERT INTO group_items (group_name, position, kind, `+column+`, stage) VALUES ($1, $2, $3, $4, $5)`, name, i, kind, it, stage)
	}
}

// needs makes an item of a group depend on a configuration.
func (f *fleet) needs(group, item, configuration string) {
	f.t.Helper()
	f.exec(`UPDATE group_items SET depends_on = $3 WHERE group_name = $1 AND name = $2`, group, item,
		fmt.Sprintf(`[{"kind": "configuration", "name": %q}]`, configuration))
}

func (f *fleet) record(serial string, facts ...provision.Fact) provision.Device {
	f.t.Helper()
	d, err := f.UpdateOrCreate(f.t.Context(), serial, func(ctx context.Context, c *store.Change) error {
		for _, fact := range facts {
			if _, err := c.Record(ctx, fact); err != nil {
				return err
			}
		}
		return nil
	})
	require.NoError(f.t, err)
	return d
}

func (f *fleet) assign(serial string, groups ...string) provision.Device {
	f.t.Helper()
	return f.record(serial, provision.Fact{Kind: provision.Assigned, Assignment: &provision.Assignment{UserID: "u1", Groups: groups}})
}

// boot enrolls a device as its check-ins do and returns it as a phone.
func (f *fleet) boot(serial, udid string, awaiting bool) *phone {
	f.t.Helper()
	p := &phone{fleet: f, serial: serial, udid: udid, list: []string{mdmProfile}, books: map[string]provision.Book{}}
	r := p.request()
	require.NoError(f.t, f.mdm.StoreAuthenticate(r, &mdm.Authenticate{SerialNumber: serial, Raw: []byte("<?xml")}))
	require.NoError(f.t, f.mdm.ClearQueue(r))
	_, err := f.UpdateOrCreate(f.t.Context(), serial, func(ctx context.Context, c *store.Change) error {
		if err := c.SetUDID(ctx, udid); err != nil {
			return err
		}
		_, err := c.Record(ctx, provision.Fact{Kind: provision.Authenticated, Epoch: c.Device.NextEpoch()})
		return err
	})
	require.NoError(f.t, err)
	update := &mdm.TokenUpdate{Enrollment: mdm.Enrollment{UDID: udid}, Raw: []byte("<?xml")}
	update.Topic, update.PushMagic, update.Token = "com.apple.mgmt.x", "magic", []byte{1}
	require.NoError(f.t, f.mdm.StoreTokenUpdate(r, update))
	_, err = f.Update(f.t.Context(), serial, func(ctx context.Context, c *store.Change) error {
		_, err := c.Record(ctx, provision.Fact{Kind: provision.Activated, Epoch: c.Device.Activation.Epoch, AwaitingConfiguration: awaiting})
		return err
	})
	require.NoError(f.t, err)
	return p
}

func (f *fleet) apply(serial string, after int64, round int) provision.Device {
	f.t.Helper()
	d, err := f.Apply(f.t.Context(), serial, after, round, mdmProfile)
	require.NoError(f.t, err)
	return d
}

func (f *fleet) carry(serial string, step provision.Step) provision.Device {
	f.t.Helper()
	d, err := f.Carry(f.t.Context(), serial, step)
	require.NoError(f.t, err)
	return d
}

// items says of each item of the plan in which state it is.
func (f *fleet) items(serial string) []string {
	f.t.Helper()
	items, err := f.PlanItems(f.t.Context(), serial)
	require.NoError(f.t, err)
	var list []string
	for _, it := range items {
		list = append(list, it.Key.Name+" "+string(it.State))
	}
	return list
}

// kinds lists the kinds of a device's events in their order.
func (f *fleet) kinds(serial string) []string {
	f.t.Helper()
	rows, err := f.sql.Query(f.t.Context(), `SELECT kind FROM device_events WHERE serial = $1 ORDER BY id`, serial)
	require.NoError(f.t, err)
	kinds, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(f.t, err)
	return kinds
}

// refolded is a device as its own events say, folded from nothing.
func (f *fleet) refolded(serial string) provision.Device {
	f.t.Helper()
	rows, err := f.sql.Query(f.t.Context(), `SELECT id, payload FROM device_events WHERE serial = $1 ORDER BY id`, serial)
	require.NoError(f.t, err)
	d := provision.Device{Serial: serial}
	var id int64
	var payload []byte
	_, err = pgx.ForEachRow(rows, []any{&id, &payload}, func() error {
		var fact provision.Fact
		if err := json.Unmarshal(payload, &fact); err != nil {
			return err
		}
		fact.ID = id
		d = provision.Fold(d, fact)
		return nil
	})
	require.NoError(f.t, err)
	return d
}

// count counts rows.
func (f *fleet) count(from string, args ...any) int {
	f.t.Helper()
	var n int
	require.NoError(f.t, f.sql.QueryRow(f.t.Context(), `SELECT count(*) FROM `+from, args...).Scan(&n))
	return n
}

// phone is a device that talks to NanoMDM's own storage, as its check-ins do.
type phone struct {
	*fleet
	serial, udid string
	list         []string // identifiers of its profiles and apps
	books        map[string]provision.Book
}

func (p *phone) request() *mdm.Request {
	r := mdm.NewRequestWithContext(p.t.Context(), nil)
	r.EnrollID = &mdm.EnrollID{Type: mdm.Device, ID: p.udid}
	return r
}

// next fetches the next command of the queue; "" when there is none. After a NotNow a device gets the others first.
func (p *phone) next(skipNotNow bool) (uuid, what string) {
	p.t.Helper()
	cmd, err := p.mdm.RetrieveNextCommand(p.request(), skipNotNow)
	require.NoError(p.t, err)
	if cmd == nil {
		return "", ""
	}
	sent, err := p.SentCommand(p.t.Context(), cmd.CommandUUID)
	require.NoError(p.t, err)
	return cmd.CommandUUID, string(sent.Command.Type) + " " + sent.Command.Item.Name
}

// report stores an answer as check-ins do: NanoMDM is told only of what the device puts off.
func (p *phone) report(uuid string, a provision.Answer) store.Outcome {
	p.t.Helper()
	out, err := p.Answer(p.t.Context(), uuid, a, nil)
	require.NoError(p.t, err)
	if !a.Status.Final() && !out.Ignored {
		result := &mdm.CommandResults{CommandUUID: uuid, Status: string(a.Status), Raw: []byte("<?xml")}
		require.NoError(p.t, p.mdm.StoreCommandReport(p.request(), result))
	}
	return out
}

var acknowledged = provision.Answer{Status: provision.AnswerAcknowledged}

func refused(detail string) provision.Answer {
	return provision.Answer{Status: provision.AnswerError, Detail: detail}
}

// obey does the next command well and says what it was.
func (p *phone) obey() string {
	p.t.Helper()
	uuid, what := p.next(false)
	if uuid == "" {
		return ""
	}
	sent, err := p.SentCommand(p.t.Context(), uuid)
	require.NoError(p.t, err)
	a := acknowledged
	switch sent.Command.Type {
	case provision.InstallProfile, provision.InstallApplication:
		p.list = append(p.list, "com.example."+sent.Command.Item.Name)
	case provision.ProfileList:
		a.Profiles = p.list
	case provision.ManagedApplicationList:
		a.Apps = map[string]string{}
		for _, id := range p.list {
			a.Apps[id] = "Managed"
		}
	case provision.InstallMedia:
		p.books[store.DocumentIdentifier(sent.Command.Item.Name)] = provision.Book{State: "Managed", Version: strconv.Itoa(sent.Command.Version)}
	case provision.RemoveMedia:
		delete(p.books, store.DocumentIdentifier(sent.Command.Item.Name))
	case provision.ManagedMediaList:
		a.Books = p.books
	case provision.RemoveProfile, provision.RemoveApplication, provision.DeviceInformationQuery, provision.DeviceConfigured:
	}
	p.report(uuid, a)
	return what
}

// obeyAll does commands until the queue is empty and lists them.
func (p *phone) obeyAll() []string {
	p.t.Helper()
	var done []string
	for {
		what := p.obey()
		if what == "" {
			return done
		}
		done = append(done, what)
		require.Less(p.t, len(done), 200, "the queue never ends: %v", done)
	}
}
