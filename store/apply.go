package store

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/muster-mdm/muster/provision"
)

// Apply makes the plan that the device's groups want and queues its commands: installs what is missing, removes what no
// longer belongs. It records Provisioning, or Stuck with the reason when the groups contradict each other. after is the
// plan that the caller knows of: when another was made since and is current, nothing is done, so Apply may be repeated.
func (db *DB) Apply(ctx context.Context, serial string, after int64, round int, managementIdentifier string) (provision.Device, error) {
	return db.Update(ctx, serial, func(ctx context.Context, c *Change) error {
		d := c.Device
		if !d.MayAct() || d.PlanCurrent() && d.Plan.By != after {
			return nil
		}
		if !d.PlanCurrent() {
			round = 1 // what is wanted changed since the caller decided, so nothing of it was tried before
		}
		want, err := c.wanted(ctx, managementIdentifier)
		var rule *provision.Error
		if errors.As(err, &rule) {
			return c.stuck(ctx, 0, rule.Message)
		}
		if err != nil {
			return err
		}
		return c.apply(ctx, want, round)
	})
}

func (c *Change) apply(ctx context.Context, want []provision.Item, round int) error {
	p, err := c.loadPlan(ctx)
	if err != nil {
		return err
	}
	p.items = provision.Reconcile(want, p.items)
	d := c.Device
	verdict := d.Judge(p.items)
	_, err = c.Record(ctx, provision.Fact{
		Kind: provision.Provisioning, Epoch: d.Activation.Epoch, For: d.Wanted(), Round: round, Verdict: &verdict,
		Source: provision.FromWorkflow,
	})
	if err != nil {
		return err
	}
	sent, err := c.advance(ctx, p)
	if err != nil {
		return err
	}
	if len(p.before) > 0 {
		c.later.Queue(supersede, d.Serial, d.Activation.Epoch, c.udid, c.now)
	}
	if sent > 0 {
		c.pushIn(0)
	}
	return nil
}

const groupItemsOf = `
SELECT g.group_name, g.kind, g.name, g.stage, g.depends_on,
    coalesce(c.content, a.content, d.content), coalesce(c.identifier, a.bundle_id, d.identifier)
FROM group_items g
    LEFT JOIN configurations c ON c.name = g.configuration_name
    LEFT JOIN apps a ON a.name = g.app_name
    LEFT JOIN documents d ON d.name = g.document_name
WHERE g.group_name = ANY ($1)
ORDER BY array_position($1, g.group_name), g.position`

// wanted composes what the assignment's groups bring; nothing without a complete assignment.
func (c *Change) wanted(ctx context.Context, managementIdentifier string) ([]provision.Item, error) {
	if !c.Device.Assignment.Complete() {
		return nil, nil
	}
	rows, err := c.tx.Query(ctx, groupItemsOf, notNil(c.Device.Assignment.Groups))
	if err != nil {
		return nil, fmt.Errorf("reading the groups: %w", err)
	}
	var groups []provision.Group
	var name string
	var it provision.Item
	_, err = pgx.ForEachRow(rows, []any{&name, &it.Key.Kind, &it.Key.Name, &it.Stage, &it.DependsOn, &it.Version, &it.Identifier}, func() error {
		if len(groups) == 0 || groups[len(groups)-1].Name != name {
			groups = append(groups, provision.Group{Name: name})
		}
		g := &groups[len(groups)-1]
		g.Items = append(g.Items, it)
		it.DependsOn = nil
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading the groups: %w", err)
	}
	return provision.Want(groups, managementIdentifier)
}
