package bench

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/muster-mdm/muster/apple/identity"
	"github.com/muster-mdm/muster/cmd/muster/rehearse"
)

// conversation is row b: devices of which some have commands to answer and some ask in vain.
type conversation struct {
	stage        *stage
	muster, bare *server
	nanomdm      *bareServer
	silent       []*talker
	talking      [][]*talker // by run
}

// measureCheckins is row b. The worker is stopped meanwhile: what follows from an answer is part of row a.
func measureCheckins(ctx context.Context, s *stage, row *Row) (err error) {
	c := &conversation{stage: s, muster: newServer(s.env.URL() + "/mdm")}
	all, err := c.prepare(ctx)
	if c.nanomdm != nil {
		defer c.nanomdm.stop(s)
	}
	if err != nil {
		return err
	}
	if err := s.env.Worker().Stop(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.resume(ctx)) }()
	if err := c.moveToBare(ctx, all); err != nil {
		return err
	}
	for _, to := range []*server{c.muster, c.bare} { // warms up, too
		if err := forEach(ctx, len(c.silent), hands, func(ctx context.Context, i int) error { return c.silent[i].talk(ctx, to) }); err != nil {
			return err
		}
	}
	for _, t := range c.silent {
		t.orders = nil
	}
	ours, theirs, err := s.takeTurns(ctx,
		func(ctx context.Context, n int) (run, error) { return c.talk(ctx, c.talking[n], c.muster) },
		func(ctx context.Context, n int) (run, error) { return c.talk(ctx, c.talking[n], c.bare) })
	if err != nil {
		return err
	}
	row.pair(ours, theirs)
	return nil
}

// prepare enrolls all devices at muster, and waits until their commands are queued.
func (c *conversation) prepare(ctx context.Context) ([]*talker, error) {
	s := c.stage
	db, err := s.openStore(ctx, s.env.DatabaseURL())
	if err != nil {
		return nil, err
	}
	defer db.Close()
	authority, err := identity.LoadAuthority(ctx, db, identity.AuthorityConfig{})
	if err != nil {
		return nil, err
	}
	if c.nanomdm, err = s.startBareNanoMDM(ctx, authority.Certificate()); err != nil {
		return nil, err
	}
	c.bare = newServer(c.nanomdm.url)
	serials := s.newSerials(s.silent + s.repeats*s.talking)
	all := make([]*talker, len(serials))
	err = forEach(ctx, len(all), preparing(), func(ctx context.Context, i int) error {
		t, err := s.newTalker(ctx, db, authority, serials[i])
		if err != nil {
			return err
		}
		all[i] = t
		if err := s.customer.Assign(ctx, t.serial, rehearse.Assignment{User: "ANDREW", Groups: []string{largeGroup}}); err != nil {
			return err
		}
		return errors.Join(t.enroll(ctx, c.muster), t.enroll(ctx, c.bare))
	})
	if err != nil {
		return nil, err
	}
	c.silent = all[:s.silent]
	for n := range s.repeats {
		from := s.silent + n*s.talking
		c.talking = append(c.talking, all[from:from+s.talking])
	}
	return all, await(ctx, "devices have their commands", len(all), func(ctx context.Context) (n int, err error) {
		err = s.pool.QueryRow(ctx, `SELECT count(DISTINCT serial) FROM device_commands WHERE serial = ANY ($1)`, serials).Scan(&n)
		return n, err
	})
}

const queuedCommands = `
SELECT q.id, q.command_uuid, c.request_type, c.command, q.created_at
FROM nanomdm.enrollment_queue q
    JOIN nanomdm.commands c USING (command_uuid)
WHERE q.id = ANY ($1) AND q.active
ORDER BY q.id, q.created_at`

// moveToBare queues the same commands at bare NanoMDM, and has the devices sign their answers.
func (c *conversation) moveToBare(ctx context.Context, all []*talker) error {
	byUDID, udids := map[string]*talker{}, make([]string, len(all))
	for i, t := range all {
		byUDID[t.udid], udids[i] = t, t.udid
	}
	var udid, uuid, requestType, command string
	var at time.Time
	var commands, queue [][]any
	rows, err := c.stage.pool.Query(ctx, queuedCommands, udids)
	if err == nil {
		_, err = pgx.ForEachRow(rows, []any{&udid, &uuid, &requestType, &command, &at}, func() error {
			commands = append(commands, []any{uuid, requestType, command})
			queue = append(queue, []any{udid, uuid, at})
			return byUDID[udid].prepare(uuid, requestType)
		})
	}
	if err != nil {
		return fmt.Errorf("reading the queue: %w", err)
	}
	_, err = c.nanomdm.pool.CopyFrom(ctx, pgx.Identifier{"commands"}, []string{"command_uuid", "request_type", "command"}, pgx.CopyFromRows(commands))
	if err == nil {
		_, err = c.nanomdm.pool.CopyFrom(ctx, pgx.Identifier{"enrollment_queue"}, []string{"id", "command_uuid", "created_at"}, pgx.CopyFromRows(queue))
	}
	if err != nil {
		return fmt.Errorf("copying the queue: %w", err)
	}
	return nil
}

// talk has all talking devices answer their commands, and for each of their messages a silent device report that it is
// idle.
func (c *conversation) talk(ctx context.Context, talking []*talker, to *server) (run, error) {
	clock, err := c.stage.startClock()
	if err != nil {
		return run{}, err
	}
	each := 1 + len(talking[0].orders)
	err = forEach(ctx, len(talking), hands, func(ctx context.Context, i int) error {
		if err := talking[i].talk(ctx, to); err != nil {
			return err
		}
		for n := range each {
			if err := c.silent[(i*each+n)%len(c.silent)].talk(ctx, to); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return run{}, err
	}
	return clock.stop(2*each*len(talking), time.Now())
}

// resume starts the worker again, and returns when it has caught up.
func (c *conversation) resume(ctx context.Context) error {
	if err := c.stage.env.StartWorker(ctx); err != nil {
		return err
	}
	return await(ctx, "facts delivered to the last one", 1, func(ctx context.Context) (int, error) {
		var waiting int
		err := c.stage.pool.QueryRow(ctx, `SELECT count(*) FROM device_events WHERE deliver AND delivered_at IS NULL`).Scan(&waiting)
		return 1 - min(waiting, 1), err
	})
}
