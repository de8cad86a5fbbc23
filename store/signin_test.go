package store_test

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/store"
)

const pad = "C07Q853LG9RM"

func known(t *testing.T, db *store.DB, facts ...provision.Fact) {
	t.Helper()
	_, err := db.UpdateOrCreate(t.Context(), pad, func(ctx context.Context, c *store.Change) error {
		for _, f := range append([]provision.Fact{{Kind: provision.Registered}}, facts...) {
			if _, err := c.Record(ctx, f); err != nil {
				return err
			}
		}
		return nil
	})
	require.NoError(t, err)
}

func TestSignInSessionEndsByItsTimeAndByTheNextEnrollment(t *testing.T) {
	c := &clock{}
	db := open(t, store.WithClock(c.now))
	known(t, db)
	one, other := sha256.Sum256([]byte("one")), sha256.Sum256([]byte("other"))
	s := store.SignInSession{Serial: pad, Machine: json.RawMessage(`{"Serial": "C07Q853LG9RM"}`)}
	require.NoError(t, db.BeginSignIn(t.Context(), one, s, time.Hour))
	got, err := db.SignInSession(t.Context(), one)
	require.NoError(t, err)
	require.Equal(t, s, got)
	_, err = db.SignInSession(t.Context(), other)
	require.Equal(t, provision.SignInExpired, provision.CodeOf(err))

	known(t, db, provision.Fact{Kind: provision.Authenticated, Epoch: 1})
	_, err = db.SignInSession(t.Context(), one)
	require.Equal(t, provision.SignInExpired, provision.CodeOf(err), "the device enrolled")

	s.Epoch = 1
	require.NoError(t, db.BeginSignIn(t.Context(), other, s, time.Hour))
	c.pass(time.Hour - time.Second)
	_, err = db.SignInSession(t.Context(), other)
	require.NoError(t, err)
	c.pass(time.Second)
	_, err = db.SignInSession(t.Context(), other)
	require.Equal(t, provision.SignInExpired, provision.CodeOf(err))
	c.pass(time.Second)
	gone, err := db.Purge(t.Context(), c.now())
	require.NoError(t, err)
	require.EqualValues(t, 2, gone.SignIns)
}

func TestSignInFlowIsTakenOnce(t *testing.T) {
	db := open(t)
	known(t, db)
	secret := sha256.Sum256([]byte("one"))
	require.NoError(t, db.BeginSignIn(t.Context(), secret, store.SignInSession{Serial: pad, Machine: json.RawMessage(`{}`)}, time.Hour))
	_, _, err := db.TakeSignInFlow(t.Context(), secret)
	require.Equal(t, provision.SignInExpired, provision.CodeOf(err))
	require.NoError(t, db.KeepSignInFlow(t.Context(), secret, "entra", json.RawMessage(`{"state": "s"}`)))
	var taken atomic.Int32
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			if directory, flow, err := db.TakeSignInFlow(t.Context(), secret); err == nil && directory == "entra" && string(flow) == `{"state": "s"}` {
				taken.Add(1)
			}
		})
	}
	all.Wait()
	require.EqualValues(t, 1, taken.Load())
}

func TestTriesAreCountedAndLockForAWholeWindow(t *testing.T) {
	c := &clock{}
	db := open(t, store.WithClock(c.now))
	try := func() error {
		return db.CountTry(t.Context(), 15*time.Minute, store.TryLimit{Subject: "device/A", Tries: 2}, store.TryLimit{Subject: "address/x", Tries: 3})
	}
	require.NoError(t, try())
	c.pass(14 * time.Minute)
	require.NoError(t, try())
	for range 3 {
		require.EqualError(t, try(), "Too many tries to sign in. Wait 15 minutes, then try again.")
	}
	c.pass(14*time.Minute + time.Second)
	require.EqualError(t, try(), "Too many tries to sign in. Wait a minute, then try again.")
	require.Equal(t, provision.SignInLocked, provision.CodeOf(try()))
	c.pass(59 * time.Second)
	require.NoError(t, try(), "the window is over, and what was refused meanwhile counted for nobody")

	require.NoError(t, db.ReturnTry(t.Context(), "device/A", "address/x"))
	require.NoError(t, try())
	require.NoError(t, try())
	require.Error(t, try())
	require.NoError(t, db.ForgetTries(t.Context(), "device/A"))
	require.NoError(t, try())
	require.Error(t, try(), "the address has used up its own")
}

func TestTriesAtOnceDontPassTheLimit(t *testing.T) {
	db := open(t)
	var passed atomic.Int32
	var all sync.WaitGroup
	for i := range 24 {
		all.Go(func() {
			a, b := store.TryLimit{Subject: "account/a", Tries: 5}, store.TryLimit{Subject: fmt.Sprint("device/", i%3), Tries: 50}
			if i%2 == 0 {
				a, b = b, a
			}
			err := db.CountTry(t.Context(), time.Hour, a, b)
			if err == nil {
				passed.Add(1)
				return
			}
			if provision.CodeOf(err) != provision.SignInLocked {
				t.Error(err)
			}
		})
	}
	all.Wait()
	require.EqualValues(t, 5, passed.Load())
}

func TestSpellingsOfANameAreOne(t *testing.T) {
	db := open(t)
	for _, spelling := range []string{`ZYLKER\José Muñoz`, "zylker\\jose\u0301  mun\u0303oz", ` Zylker\ＪＯＳＥ MUNOZ `, "ZYLKER\\jose\ufe0f munoz"} {
		name, err := db.FoldName(t.Context(), spelling)
		require.NoError(t, err)
		require.Equal(t, `zylker\jose munoz`, name, "%q", spelling)
	}
	name, err := db.FoldName(t.Context(), `ZYLKER\josef`)
	require.NoError(t, err)
	require.Equal(t, `zylker\josef`, name)
}
