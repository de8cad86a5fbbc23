package rehearse

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// Latency is how long one device took from its second fact (activated and assigned, whichever came later) to the first
// command that was queued for it, and to Enrolled.
type Latency struct {
	Serial                   string
	ToFirstCommand, Enrolled time.Duration
}

// Of each device's first Enrolled only. A command queued before the second fact, such as one out of Setup Assistant, is
// no answer to it.
const latencies = `
WITH enrolled AS (
    SELECT DISTINCT ON (serial) serial, id, epoch, created_at
    FROM device_events
    WHERE kind = 'enrolled'
    ORDER BY serial, id
), second AS (
    SELECT n.serial, n.epoch, n.created_at AS enrolled_at, greatest(
        (SELECT min(a.created_at) FROM device_events a WHERE a.serial = n.serial AND a.kind = 'activated' AND a.epoch = n.epoch),
        (SELECT min(a.created_at) FROM device_events a WHERE a.serial = n.serial AND a.kind = 'assigned' AND a.id < n.id
            AND (a.payload->'assignment' ? 'user_id' OR a.payload->'assignment' ? 'technician_id'))) AS at
    FROM enrolled n
)
SELECT s.serial, s.at, s.enrolled_at,
    (SELECT min(coalesce(q.created_at AT TIME ZONE 'UTC', c.created_at))
     FROM device_commands c
         LEFT JOIN nanomdm.enrollment_queue q ON q.command_uuid = c.command_uuid
     WHERE c.serial = s.serial AND c.epoch = s.epoch AND c.created_at >= s.at)
FROM second s
ORDER BY s.serial`

// Latencies reads from muster's database how fast devices became Enrolled.
func Latencies(ctx context.Context, databaseURL string) ([]Latency, error) {
	return query(ctx, databaseURL, latencies, func(row pgx.CollectableRow) (Latency, error) {
		var l Latency
		var second, enrolled time.Time
		var first *time.Time
		if err := row.Scan(&l.Serial, &second, &enrolled, &first); err != nil {
			return l, err
		}
		if first == nil {
			return l, fmt.Errorf("device %s is Enrolled but got no command after its second fact", l.Serial)
		}
		l.ToFirstCommand, l.Enrolled = first.Sub(second), enrolled.Sub(second)
		return l, nil
	})
}

// commandCount counts all commands that were ever queued.
func commandCount(ctx context.Context, databaseURL string) (int, error) {
	counts, err := query(ctx, databaseURL, `SELECT count(*) FROM device_commands`, pgx.RowTo[int])
	if err != nil {
		return 0, err
	}
	return counts[0], nil
}

func query[T any](ctx context.Context, databaseURL, sql string, read pgx.RowToFunc[T]) ([]T, error) {
	conn, err := pgx.Connect(ctx, databaseURL)
	if err != nil {
		return nil, fmt.Errorf("measuring: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	rows, err := conn.Query(ctx, sql)
	if err != nil {
		return nil, fmt.Errorf("measuring: %w", err)
	}
	all, err := pgx.CollectRows(rows, read)
	if err != nil {
		return nil, fmt.Errorf("measuring: %w", err)
	}
	return all, nil
}
