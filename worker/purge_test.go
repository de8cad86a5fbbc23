package worker

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/store"
)

// attic is a store in which something is over now and then.
type attic struct {
	before []time.Time
	err    error
}

func (*attic) Now() time.Time { return time.Now() }

func (a *attic) Purge(_ context.Context, before time.Time) (store.Purged, error) {
	a.before = append(a.before, before)
	if len(a.before) == 2 {
		return store.Purged{}, a.err
	}
	return store.Purged{Queries: 3}, nil
}

func TestPurgesEveryDay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		a := &attic{err: errors.New("the database is gone")}
		var out bytes.Buffer
		began := time.Now()
		go keepPurging(ctx, a, slog.New(slog.NewTextHandler(&out, nil)))
		<-time.After(10 * 24 * time.Hour)
		cancel()
		synctest.Wait()
		require.InDelta(t, 10, len(a.before), 6)
		require.WithinDuration(t, began.Add(-30*24*time.Hour), a.before[0], time.Hour)
		require.Contains(t, out.String(), "msg=purged queries=3")
		require.Contains(t, out.String(), "the database is gone")
	})
}
