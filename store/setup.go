package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/muster-mdm/muster/provision"
)

// leaveSetup sends DeviceConfigured: for the first time, or once more because an operator asks for it.
func (c *Change) leaveSetup(ctx context.Context, step provision.Step) error {
	d := c.Device
	if !d.InSetup() && !d.SetupAskedFor() || step.Plan != 0 && (step.Plan != d.Plan.By || !d.PlanCurrent()) {
		return nil
	}
	_, err := c.Record(ctx, provision.Fact{Kind: provision.SetupReleased, Epoch: d.Activation.Epoch, Reason: step.Reason, Source: provision.FromWorkflow})
	if err != nil {
		return err
	}
	leave, err := c.configured(ctx)
	if err != nil {
		return err
	}
	if _, err := c.queueCommands(ctx, leave); err != nil {
		return err
	}
	c.pushIn(0)
	return nil
}

const newestConfigured = `
SELECT attempt, status IN ('', 'NotNow')
FROM device_commands
WHERE serial = $1 AND epoch = $2 AND request_type = 'DeviceConfigured' AND kind = 'builtin' AND name = 'setup_release'
    AND version = 0
ORDER BY attempt DESC
LIMIT 1`

// configured returns the next DeviceConfigured of this enrollment; none while one is outstanding, which the device will
// get all the same.
func (c *Change) configured(ctx context.Context) ([]provision.Command, error) {
	leave := provision.Command{Type: provision.DeviceConfigured, Item: provision.ItemKey{Kind: provision.BuiltinItem, Name: provision.SetupRelease}}
	var outstanding bool
	err := c.tx.QueryRow(ctx, newestConfigured, c.Device.Serial, c.Device.Activation.Epoch).Scan(&leave.Attempt, &outstanding)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return nil, fmt.Errorf("reading what was sent to leave Setup Assistant: %w", err)
	}
	if outstanding {
		return nil, nil
	}
	leave.Attempt++
	return []provision.Command{leave}, nil
}

// leaveAgain returns the DeviceConfigured that is due because the device refused the last one, or when it will be.
func (c *Change) leaveAgain(ctx context.Context) ([]provision.Command, time.Time, error) {
	at := c.Device.SetupRetryAt(c.db.timing.Repush)
	if at.IsZero() || at.After(c.now) {
		return nil, at, nil
	}
	leave, err := c.configured(ctx)
	return leave, time.Time{}, err
}

// setupAnswered records what an answer to DeviceConfigured amounts to.
func (c *Change) setupAnswered(ctx context.Context, answer provision.Answer) error {
	fact, news := c.Device.SetupAnswer(answer)
	if !news {
		return nil
	}
	_, err := c.Record(ctx, fact)
	return err
}

// leftSetup records that a device has left Setup Assistant without an answer to DeviceConfigured, after it was sent.
func (db *DB) leftSetup(ctx context.Context, serial string) error {
	_, err := db.Update(ctx, serial, func(ctx context.Context, c *Change) error {
		if !c.Device.SetupLeft() || c.Device.InSetup() {
			return nil
		}
		_, err := c.Record(ctx, provision.Fact{Kind: provision.SetupFinished, Epoch: c.Device.Activation.Epoch, Source: provision.FromDevice})
		if err != nil {
			return err
		}
		p, err := c.loadPlan(ctx)
		if err != nil {
			return err
		}
		return c.settle(ctx, p)
	})
	return err
}
