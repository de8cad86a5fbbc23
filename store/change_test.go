package store_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/store"
)

var errChanged = errors.New("changed my mind")

func TestUpdateNeedsAKnownDevice(t *testing.T) {
	f := newFleet(t)
	_, err := f.Update(t.Context(), serial, func(context.Context, *store.Change) error { return nil })
	require.Equal(t, provision.DeviceNotFound, provision.CodeOf(err))
	require.ErrorContains(t, err, serial)
	_, err = f.Device(t.Context(), serial)
	require.Equal(t, provision.DeviceNotFound, provision.CodeOf(err))
	_, err = f.PlanItems(t.Context(), serial)
	require.Equal(t, provision.DeviceNotFound, provision.CodeOf(err))
	_, err = f.SerialOf(t.Context(), "U")
	require.Equal(t, provision.DeviceNotFound, provision.CodeOf(err))
}

func TestAChangeIsOneTransaction(t *testing.T) {
	f := newFleet(t)
	for name, fail := range map[string]func(context.Context, *store.Change) error{
		"its own error": func(context.Context, *store.Change) error { return errChanged },
		"a rule's": func(ctx context.Context, c *store.Change) error {
			_, err := c.Record(ctx, provision.Fact{Kind: provision.Assigned, Assignment: &provision.Assignment{UserID: "nobody"}})
			return err
		},
	} {
		_, err := f.UpdateOrCreate(t.Context(), serial, func(ctx context.Context, c *store.Change) error {
			_, err := c.Record(ctx, provision.Fact{Kind: provision.Registered})
			require.NoError(t, err)
			require.NoError(t, c.SetUDID(ctx, "U1"))
			require.NoError(t, c.SaveInformation(ctx, store.Information{Name: "iPad"}))
			return fail(ctx, c)
		})
		require.Error(t, err, name)
		require.Zero(t, f.count("devices"), name)
		require.Zero(t, f.count("device_events"), name)
	}
}

func TestRulesOfTheDatabaseSpeakToPeople(t *testing.T) {
	f := newFleet(t)
	_, err := f.UpdateOrCreate(t.Context(), "no serial", func(context.Context, *store.Change) error { return nil })
	require.Equal(t, provision.SerialInvalid, provision.CodeOf(err))
	for code, a := range map[provision.Code]provision.Assignment{
		provision.NotFound:           {UserID: "nobody"},
		provision.TechnicianNotFound: {TechnicianID: "nobody"},
	} {
		_, err := f.UpdateOrCreate(t.Context(), serial, func(ctx context.Context, c *store.Change) error {
			_, err := c.Record(ctx, provision.Fact{Kind: provision.Assigned, Assignment: &a})
			return err
		})
		require.Equal(t, code, provision.CodeOf(err))
		require.NotContains(t, err.Error(), "constraint", "the driver's words don't reach people")
	}
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = f.Device(canceled, serial)
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, provision.Internal, provision.CodeOf(err))
}

func TestAStoppedDatabaseIsUnavailable(t *testing.T) {
	f := newFleet(t)
	f.record(serial, provision.Fact{Kind: provision.Registered})
	_, err := f.Update(t.Context(), serial, func(ctx context.Context, c *store.Change) error {
		f.exec(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()`)
		_, err := c.Record(ctx, provision.Fact{Kind: provision.Registered})
		return err
	})
	require.Equal(t, provision.StorageUnavailable, provision.CodeOf(err), "%v", err)
	require.Len(t, f.kinds(serial), 1)
}

func TestRecord(t *testing.T) {
	f := newFleet(t)
	p := f.boot(serial, "U1", true)
	_, err := f.Update(t.Context(), serial, func(ctx context.Context, c *store.Change) error {
		c.Priority(provision.Bulk)
		fact, err := c.Record(ctx, provision.Fact{ID: 99, Kind: provision.ReleaseFromSetup, Actor: "ops", Source: provision.FromAPI})
		require.NoError(t, err)
		require.NotEqual(t, int64(99), fact.ID, "ids are the store's")
		require.Equal(t, c.Now(), fact.At)
		require.Equal(t, 1, fact.Epoch, "it is about the enrollment that is")
		require.True(t, c.Device.SetupAskedFor(), "folded at once")
		require.Equal(t, "U1", c.UDID())
		_, err = c.RecordDelivered(ctx, provision.Fact{Kind: provision.HoldRequest})
		return err
	})
	require.NoError(t, err)
	type event struct {
		Kind     string
		Epoch    int
		Actor    string
		Source   string
		Priority int
		Deliver  bool
	}
	rows, err := f.sql.Query(t.Context(), `SELECT kind, epoch, actor, source, priority, deliver FROM device_events WHERE serial = $1 ORDER BY id`, p.serial)
	require.NoError(t, err)
	events, err := pgx.CollectRows(rows, pgx.RowToStructByPos[event])
	require.NoError(t, err)
	require.Equal(t, []event{
		{"authenticated", 1, "", "", 0, false},
		{"activated", 1, "", "", 0, true},
		{"release_from_setup", 1, "ops", "api", 2, true},
		{"hold", 0, "", "", 2, false},
	}, events)
	require.Zero(t, f.count(`device_events WHERE payload ->> 'id' <> '0'`), "the id is the row's")
}

// Facts of one device are dated and numbered in the order in which their transactions end, however many write at once, and
// the row is what they fold to.
func TestConcurrentWritersKeepOneOrder(t *testing.T) {
	f := newFleet(t)
	const writers, each = 8, 12
	var wg sync.WaitGroup
	errs := make(chan error, writers*each)
	for w := range writers {
		wg.Go(func() {
			for n := range each {
				_, err := f.UpdateOrCreate(context.Background(), serial, func(ctx context.Context, c *store.Change) error {
					_, err := c.Record(ctx, provision.Fact{Kind: provision.Assigned, Reason: fmt.Sprint(w, "/", n), Assignment: &provision.Assignment{Groups: []string{fmt.Sprint(w, "/", n)}}})
					return err
				})
				errs <- err
			}
		})
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		require.NoError(t, err)
	}
	require.Equal(t, writers*each, f.count("device_events"))
	require.Equal(t, 1, f.count("devices"))
	rows, err := f.sql.Query(t.Context(), `SELECT created_at FROM device_events ORDER BY id`)
	require.NoError(t, err)
	times, err := pgx.CollectRows(rows, pgx.RowTo[time.Time])
	require.NoError(t, err)
	require.True(t, slices.IsSortedFunc(times, time.Time.Compare), "times rise with ids")
	d, err := f.Device(t.Context(), serial)
	require.NoError(t, err)
	require.Equal(t, f.refolded(serial), d)
	var version int64
	require.NoError(t, f.sql.QueryRow(t.Context(), `SELECT version FROM devices`).Scan(&version))
	require.Equal(t, int64(writers*each+1), version, "each change is one version")
}

func TestColumnsFollowTheState(t *testing.T) {
	f := newFleet(t)
	p := f.boot(serial, "U1", false)
	f.group("g")
	f.assign(serial, "g")
	f.record(serial, provision.Fact{Kind: provision.ABMSeen, ABM: &provision.ABMFact{Server: "main", State: provision.ABMPresent}}, provision.Fact{Kind: provision.HoldRequest})
	var status, management, blocked, server, udid string
	var user *string
	var groups, awaiting []string
	var epoch int
	require.NoError(t, f.sql.QueryRow(t.Context(), `SELECT status, management, blocked_by, server, udid, user_id, group_names, awaiting, epoch FROM devices WHERE serial = $1`, serial).
		Scan(&status, &management, &blocked, &server, &udid, &user, &groups, &awaiting, &epoch))
	require.Equal(t, []string{"Provisioning", "managed", "on_hold", "main", "U1", "u1"}, []string{status, management, blocked, server, udid, *user})
	require.Equal(t, []string{"g"}, groups)
	require.Empty(t, awaiting)
	require.Equal(t, 1, epoch)
	got, err := f.SerialOf(t.Context(), p.udid)
	require.NoError(t, err)
	require.Equal(t, serial, got)

	f.record(serial, provision.Fact{Kind: provision.Unassigned})
	require.Equal(t, 1, f.count(`devices WHERE user_id IS NULL AND group_names = '{}' AND awaiting = '{Awaiting User Assignment}' AND status = 'Awaiting'`))
	_, err = f.Update(t.Context(), serial, func(ctx context.Context, c *store.Change) error {
		return c.SaveInformation(ctx, store.Information{Name: "Andrew's iPad", OSVersion: "18.1"})
	})
	require.NoError(t, err)
	_, err = f.Update(t.Context(), serial, func(ctx context.Context, c *store.Change) error {
		return c.SaveInformation(ctx, store.Information{Model: "iPad13,1"})
	})
	require.NoError(t, err)
	require.Equal(t, 1, f.count(`devices WHERE name = 'Andrew''s iPad' AND os_version = '18.1' AND model = 'iPad13,1' AND product_name = ''`), "what isn't said stays")
}

// Two main boards change cases at the same time: each device wants the UDID that the other has.
func TestDevicesExchangeTheirUDIDs(t *testing.T) {
	f := newFleet(t)
	const other = "DNPXK0ZXYZ12"
	for round := range 5 {
		f.boot(serial, "U1", false)
		f.boot(other, "U2", false)
		var wg sync.WaitGroup
		errs := make([]error, 2)
		for i, swap := range [][2]string{{serial, "U2"}, {other, "U1"}} {
			wg.Go(func() {
				_, errs[i] = f.Update(context.Background(), swap[0], func(ctx context.Context, c *store.Change) error {
					if err := c.SetUDID(ctx, swap[1]); err != nil {
						return err
					}
					_, err := c.Record(ctx, provision.Fact{Kind: provision.Authenticated, Epoch: c.Device.NextEpoch()})
					return err
				})
			})
		}
		wg.Wait()
		require.NoError(t, errors.Join(errs...), "round %d", round)
		for udid, want := range map[string]string{"U2": serial, "U1": other} {
			got, err := f.SerialOf(t.Context(), udid)
			require.NoError(t, err)
			require.Equal(t, want, got)
		}
		for _, s := range []string{serial, other} {
			d, err := f.Device(t.Context(), s)
			require.NoError(t, err)
			require.Equal(t, provision.Opened, d.Activation.State, "a new enrollment began")
			require.Equal(t, f.refolded(s), d)
		}
	}
}

func TestADeviceWhoseUDIDIsTakenHasLeft(t *testing.T) {
	f := newFleet(t)
	f.boot(serial, "U1", false)
	f.boot("DNPXK0ZXYZ12", "U1", false)
	d, err := f.Device(t.Context(), serial)
	require.NoError(t, err)
	require.Equal(t, provision.StatusUnmanaged, d.Status())
	require.Equal(t, []string{"authenticated", "activated", "checked_out"}, f.kinds(serial))
	require.Equal(t, 1, f.count(`device_events WHERE kind = 'checked_out' AND deliver AND payload ->> 'reason' LIKE '%DNPXK0ZXYZ12%'`))
	require.Equal(t, f.refolded(serial), d)
	require.Zero(t, f.count(`devices WHERE serial = $1 AND udid IS NOT NULL`, serial))
}
