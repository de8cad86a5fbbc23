package store_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/store"
)

// Whatever is done to devices in whatever order, each row is what its own events fold to, its columns follow from that,
// and no command was queued twice.
func TestRowsAreWhatTheirEventsFoldTo(t *testing.T) {
	for _, seed := range []uint64{1, 2, 3, 4} {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			c := newChaos(t, seed)
			for range 120 {
				c.step()
			}
			c.check()
		})
	}
}

// chaos does random things to two devices whose boards are sometimes exchanged.
type chaos struct {
	*fleet
	*rand.Rand
	phones  map[string]*phone
	content map[string]int
	open    []string // UUIDs of commands that were seen, answered or not
}

func newChaos(t *testing.T, seed uint64) *chaos {
	c := &chaos{fleet: newLibrary(t), Rand: rand.New(rand.NewPCG(seed, 7)), phones: map[string]*phone{}, content: map[string]int{"book": 1}}
	for _, name := range []string{"a", "b", "c"} {
		c.content[name] = 1
		c.configuration(name, 1, name)
	}
	c.app("mail")
	c.document("book", "1")
	c.group("g", "a before_release", "b", "app:mail", "doc:book")
	c.group("h", "b best_effort", "c")
	return c
}

func (c *chaos) step() {
	serial := []string{serial, "DNPXK0ZXYZ12"}[c.IntN(2)]
	c.clock.pass(time.Duration(c.IntN(30)) * time.Minute)
	switch c.IntN(12) {
	case 0:
		udid := fmt.Sprint("U", c.IntN(3))
		c.phones[serial] = c.boot(serial, udid, c.IntN(2) == 0)
	case 1:
		c.assign(serial, []string{"g", "h"}[c.IntN(2):]...)
	case 2:
		c.fact(serial)
	case 3:
		c.edit(serial)
	case 4, 5, 6:
		c.work(serial)
	default:
		c.answer(serial)
	}
}

func (c *chaos) fact(serial string) {
	until := c.Now().Add(time.Hour)
	facts := []provision.Fact{
		{Kind: provision.Registered},
		{Kind: provision.Unassigned},
		{Kind: provision.CatalogChanged},
		{Kind: provision.RetryItem},
		{Kind: provision.HoldRequest},
		{Kind: provision.ResumeRequest},
		{Kind: provision.ResumeRequest},
		{Kind: provision.CheckedOut},
		{Kind: provision.ExtendHold, Until: &until},
		{Kind: provision.ReleaseFromSetup},
		{Kind: provision.ABMSeen, ABM: &provision.ABMFact{Server: "main", State: provision.ABMPresent}},
		{Kind: provision.ABMGone, ABM: &provision.ABMFact{Server: "main", State: provision.ABMUnassigned}},
	}
	c.record(serial, facts[c.IntN(len(facts))])
}

func (c *chaos) edit(serial string) {
	name := []string{"a", "b", "c", "book"}[c.IntN(4)]
	c.content[name]++
	if name == "book" {
		c.document(name, fmt.Sprint(c.content[name])) // which tells the devices
		return
	}
	c.configuration(name, c.content[name], fmt.Sprint(name, c.content[name]))
	c.record(serial, provision.Fact{Kind: provision.CatalogChanged})
}

// work does what the workflow would, sometimes twice.
func (c *chaos) work(serial string) {
	d, err := c.Device(c.t.Context(), serial)
	if provision.CodeOf(err) == provision.DeviceNotFound {
		return
	}
	require.NoError(c.t, err)
	step := provision.Next(d, policy(), c.Now())
	for range 1 + c.IntN(2) {
		switch step.Do {
		case provision.WaitForFacts:
			require.NoError(c.t, c.Poll(c.t.Context(), serial))
		case provision.Apply:
			c.apply(serial, d.Plan.By, step.Round)
		default:
			c.carry(serial, step)
		}
	}
}

// answer answers a command of the queue, or one from long ago.
func (c *chaos) answer(serial string) {
	p := c.phones[serial]
	if p == nil {
		return
	}
	uuid, _ := p.next(c.IntN(2) == 0)
	if len(c.open) > 0 && (uuid == "" || c.IntN(5) == 0) {
		uuid = c.open[c.IntN(len(c.open))]
	}
	if uuid == "" {
		return
	}
	c.open = append(c.open, uuid)
	a := provision.Answer{
		Status:   []provision.AnswerStatus{provision.AnswerAcknowledged, provision.AnswerAcknowledged, provision.AnswerAcknowledged, provision.AnswerNotNow, provision.AnswerError}[c.IntN(5)],
		Profiles: []string{mdmProfile, "com.example.a", "com.example.b", "com.example.c"}[:1+c.IntN(4)],
		Apps:     map[string]string{"com.example.mail": []string{"Installing", "Managed", "Failed"}[c.IntN(3)]},
		Books:    map[string]provision.Book{},
	}
	if c.IntN(2) == 0 {
		a.Books[store.DocumentIdentifier("book")] = provision.Book{
			State: []string{"Installing", "Managed", "Failed", "Uninstalled"}[c.IntN(4)], Version: fmt.Sprint(1 + c.IntN(1+c.content["book"])),
		}
	}
	_, err := c.Answer(c.t.Context(), uuid, a, &store.Information{Name: uuid})
	require.NoError(c.t, err)
}

func (c *chaos) check() {
	for _, s := range []string{serial, "DNPXK0ZXYZ12"} {
		d, err := c.Device(c.t.Context(), s)
		require.NoError(c.t, err)
		require.Equal(c.t, c.refolded(s), d)
		var status, blocked, management string
		var awaiting, groups []string
		var epoch int
		require.NoError(c.t, c.sql.QueryRow(c.t.Context(), `SELECT status, blocked_by, management, awaiting, group_names, epoch FROM devices WHERE serial = $1`, s).
			Scan(&status, &blocked, &management, &awaiting, &groups, &epoch))
		require.Equal(c.t, []any{string(d.Status()), d.BlockedBy(), string(d.Management()), d.Activation.Epoch}, []any{status, blocked, management, epoch})
		require.ElementsMatch(c.t, d.Awaiting(), awaiting)
		if d.Status() != provision.StatusEnrolled {
			require.NotEmpty(c.t, d.Explain(policy(), c.Now()), "it is %s and can't say why", d.Status())
		}
	}
	require.NotZero(c.t, c.count("device_commands"))
	require.Equal(c.t, c.count("device_commands WHERE status IN ('', 'NotNow', 'Superseded')"), c.count("nanomdm.enrollment_queue"), "each command was queued once, until it was answered")
	require.Zero(c.t, c.count(`(SELECT FROM plan_items p JOIN devices d USING (serial, epoch)
		WHERE d.management = 'managed' AND p.state IN ('sent', 'removing') AND p.detail = '' AND p.kind <> 'builtin'
			AND NOT (p.kind = 'document' AND p.state = 'removing' AND p.polls > 0) AND NOT EXISTS (
			SELECT FROM device_commands c WHERE c.serial = p.serial AND c.epoch = p.epoch AND c.kind = p.kind AND c.name = p.name
				AND c.attempt = p.attempt AND c.status IN ('', 'NotNow'))) AS lost`), "what is sent has a command that is outstanding")
	require.Zero(c.t, c.count(`(SELECT FROM plan_items p JOIN devices d USING (serial, epoch)
		WHERE d.management = 'managed' AND NOT (d.state ? 'on_hold') AND p.kind = 'document' AND p.state = 'removing' AND p.polls > 0 AND d.poll_at IS NULL
			AND NOT EXISTS (
				SELECT FROM device_commands c WHERE c.serial = p.serial AND c.epoch = p.epoch AND c.request_type = 'ManagedMediaList'
					AND c.status IN ('', 'NotNow'))) AS forgotten`), "a removal that was acknowledged is asked after")
	require.Zero(c.t, c.count(`device_events a JOIN device_events b USING (serial) WHERE a.id < b.id AND a.created_at > b.created_at`))
}

// Devices that answer at the same time as they are reassigned and planned leave rows that fold.
func TestAnswersAndAssignmentsAtTheSameTime(t *testing.T) {
	f := newFleet(t)
	for _, name := range []string{"a", "b"} {
		f.configuration(name, 1, name)
	}
	f.group("g", "a", "b")
	f.group("h", "b")
	f.assign(serial, "g")
	p := f.boot(serial, "U1", false)
	f.apply(serial, 0, 1)
	done := make(chan error, 3)
	ctx := context.Background()
	go func() {
		var err error
		for i := 0; i < 20 && err == nil; i++ {
			group := []string{"g", "h"}[i%2]
			_, err = f.UpdateOrCreate(ctx, serial, func(ctx context.Context, c *store.Change) error {
				_, err := c.Record(ctx, provision.Fact{Kind: provision.Assigned, Assignment: &provision.Assignment{UserID: "u1", Groups: []string{group}}})
				return err
			})
		}
		done <- err
	}()
	for range 2 {
		go func() {
			var err error
			for i := 0; i < 20 && err == nil; i++ {
				var d provision.Device
				if d, err = f.Device(ctx, serial); err == nil {
					_, err = f.Apply(ctx, serial, d.Plan.By, 1, mdmProfile)
				}
			}
			done <- err
		}()
	}
	for range 30 {
		p.obey()
	}
	for range 3 {
		require.NoError(t, <-done)
	}
	d, err := f.Device(t.Context(), serial)
	require.NoError(t, err)
	f.apply(serial, d.Plan.By, 1)
	p.obeyAll()
	require.Equal(t, f.count("device_commands WHERE status = 'Superseded'"), f.count("nanomdm.enrollment_queue"))
	d, err = f.Device(t.Context(), serial)
	require.NoError(t, err)
	require.Equal(t, f.refolded(serial), d)
	require.Equal(t, provision.ConcludeEnrolled, provision.Next(d, policy(), f.Now()).Do)
}
