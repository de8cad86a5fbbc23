package store

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/muster-mdm/muster/provision"
)

const planItems = `
SELECT kind, name, stage, version, identifier, depends_on, group_names, position, state, attempt, polls, detail, updated_at, retries, final
FROM plan_items
WHERE serial = $1 AND epoch = $2
ORDER BY position`

// PlanItems lists the items of a device in its current epoch, in their order.
func (db *DB) PlanItems(ctx context.Context, serial string) ([]provision.PlanItem, error) {
	d, err := db.Device(ctx, serial)
	if err != nil {
		return nil, err
	}
	rows, err := db.pool.Query(ctx, planItems, serial, d.Activation.Epoch)
	if err != nil {
		return nil, translate(err, "reading the plan")
	}
	items, err := collectItems(rows)
	return items, translate(err, "reading the plan")
}

func collectItems(rows pgx.Rows) ([]provision.PlanItem, error) {
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (provision.PlanItem, error) {
		var it provision.PlanItem
		err := row.Scan(&it.Key.Kind, &it.Key.Name, &it.Stage, &it.Version, &it.Identifier, &it.DependsOn, &it.Groups,
			&it.Position, &it.State, &it.Attempt, &it.Polls, &it.Detail, &it.UpdatedAt, &it.Retries, &it.Final)
		return it, err
	})
}

// The newest of each query is found by the unique index, because a device may have answered thousands.
const askedQueries = `
SELECT q.request_type, newest.status IN ('', 'NotNow'), newest.attempt
FROM (VALUES ('ProfileList', 'management_profile'), ('ManagedApplicationList', 'ManagedApplicationList'),
        ('ManagedMediaList', 'ManagedMediaList')) AS q (request_type, name)
    CROSS JOIN LATERAL (
        SELECT c.attempt, c.status
        FROM device_commands c
        WHERE c.serial = $1 AND c.epoch = $2 AND c.request_type = q.request_type
            AND c.kind = 'builtin' AND c.name = q.name AND c.version = 0
        ORDER BY c.attempt DESC
        LIMIT 1
    ) AS newest`

// plan is a device's items as they were read and as they become.
type plan struct {
	before, items []provision.PlanItem
	queries       provision.Queries
}

func (c *Change) loadPlan(ctx context.Context) (*plan, error) {
	p := &plan{}
	batch := &pgx.Batch{}
	batch.Queue(planItems, c.Device.Serial, c.Device.Activation.Epoch).Query(p.collect)
	batch.Queue(askedQueries, c.Device.Serial, c.Device.Activation.Epoch).Query(p.collectQueries)
	if err := c.tx.SendBatch(ctx, batch).Close(); err != nil {
		return nil, fmt.Errorf("reading the plan: %w", err)
	}
	return p, nil
}

func (p *plan) collect(rows pgx.Rows) (err error) {
	p.items, err = collectItems(rows)
	p.before = slices.Clone(p.items)
	return err
}

func (p *plan) collectQueries(rows pgx.Rows) error {
	var kind provision.RequestType
	var asked provision.Asked
	_, err := pgx.ForEachRow(rows, []any{&kind, &asked.Outstanding, &asked.Count}, func() error {
		switch kind {
		case provision.ProfileList:
			p.queries.Profiles = asked
		case provision.ManagedApplicationList:
			p.queries.Apps = asked
		case provision.ManagedMediaList:
			p.queries.Documents = asked
		default:
		}
		return nil
	})
	return err
}

const savePlanItem = `
INSERT INTO plan_items (serial, epoch, kind, name, stage, version, identifier, depends_on, group_names, position, state,
    attempt, polls, detail, updated_at, retries, final)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)
ON CONFLICT (serial, epoch, kind, name) DO UPDATE
SET stage = EXCLUDED.stage,
    version = EXCLUDED.version,
    identifier = EXCLUDED.identifier,
    depends_on = EXCLUDED.depends_on,
    group_names = EXCLUDED.group_names,
    position = EXCLUDED.position,
    state = EXCLUDED.state,
    attempt = EXCLUDED.attempt,
    polls = EXCLUDED.polls,
    detail = EXCLUDED.detail,
    updated_at = EXCLUDED.updated_at,
    retries = EXCLUDED.retries,
    final = EXCLUDED.final`

const dropPlanItem = `
DELETE FROM plan_items
WHERE serial = $1 AND epoch = $2 AND kind = $3 AND name = $4`

// queueItems has written with the device what changed since the plan was read.
func (c *Change) queueItems(p *plan) error {
	was := map[provision.ItemKey]provision.PlanItem{}
	for _, it := range p.before {
		was[it.Key] = it
	}
	for _, it := range p.items {
		old, known := was[it.Key]
		delete(was, it.Key)
		if known && reflect.DeepEqual(old, it) {
			continue
		}
		depends, err := json.Marshal(it.DependsOn)
		if err != nil {
			return fmt.Errorf("writing dependencies: %w", err)
		}
		if it.DependsOn == nil {
			depends = []byte("[]")
		}
		if it.UpdatedAt.IsZero() {
			it.UpdatedAt = c.now
		}
		c.later.Queue(savePlanItem, c.Device.Serial, c.Device.Activation.Epoch, it.Key.Kind, it.Key.Name, it.Stage, it.Version,
			it.Identifier, depends, notNil(it.Groups), it.Position, it.State, it.Attempt, it.Polls, it.Detail, it.UpdatedAt, it.Retries, it.Final)
	}
	for _, gone := range was {
		c.later.Queue(dropPlanItem, c.Device.Serial, c.Device.Activation.Epoch, gone.Key.Kind, gone.Key.Name)
	}
	return nil
}

// advance sends what is due of a plan, has its items and commands written with the device, and records a Settled fact if
// the verdict matters. A device that nothing may be sent to goes on when that has changed: see [Change.record].
func (c *Change) advance(ctx context.Context, p *plan) (sent int, err error) {
	commands, poll, err := c.due(ctx, p)
	if err != nil {
		return 0, err
	}
	c.pollAt(poll)
	left, err := c.queueCommands(ctx, commands)
	if err != nil {
		return 0, err
	}
	for i := range p.items {
		if why, ok := left[p.items[i].Key]; ok {
			p.items[i].State, p.items[i].Detail, p.items[i].Final = provision.Failed, why, true
		}
	}
	if err := c.queueItems(p); err != nil {
		return 0, err
	}
	return len(commands) - len(left), c.settle(ctx, p)
}

// due returns the commands to send now, and when to look again; zero when there is no need.
func (c *Change) due(ctx context.Context, p *plan) ([]provision.Command, time.Time, error) {
	if !c.Device.MayLeaveSetup() {
		return nil, time.Time{}, nil
	}
	leave, again, err := c.leaveAgain(ctx)
	if !c.Device.MayAct() {
		return leave, again, err
	}
	provision.SpareDocuments(p.items, c.product, c.now)
	commands, poll := provision.Advance(p.items, p.queries, c.db.timing.pace(), c.now)
	return append(commands, leave...), provision.Sooner(poll, again), err
}

// settle records a Settled fact if the plan's verdict matters.
func (c *Change) settle(ctx context.Context, p *plan) error {
	verdict := c.Device.Judge(p.items)
	if !c.Device.PlanCurrent() || !c.Device.Matters(verdict) {
		return nil
	}
	_, err := c.Record(ctx, provision.Fact{
		Kind: provision.Settled, Epoch: c.Device.Activation.Epoch, Plan: c.Device.Plan.By, Verdict: &verdict,
		Source: provision.FromDevice,
	})
	return err
}
