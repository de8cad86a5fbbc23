package api_test

import (
	"bytes"
	"context"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/api"
	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/store"
)

func key(k string) map[string]string { return map[string]string{"Idempotency-Key": k} }

func TestRepeatedRequestGetsTheFirstAnswer(t *testing.T) {
	s := serve(t)
	r := request{method: "POST", path: "/v1/devices", body: body{"serial": serial}, header: key("one")}
	first := s.send(r).ok(201)
	second := s.send(r).ok(201)
	require.Equal(t, string(first.body), string(second.body))
	require.Equal(t, first.header.Get("Location"), second.header.Get("Location"))
	require.Equal(t, first.header.Get("Content-Type"), second.header.Get("Content-Type"))
	require.Empty(t, first.header.Get("Idempotency-Replayed"))
	require.Equal(t, "true", second.header.Get("Idempotency-Replayed"))
	require.NotEqual(t, first.header.Get("X-Request-Id"), second.header.Get("X-Request-Id"))
	require.Equal(t, []string{"registered"}, s.kinds(serial))

	other := r
	other.body = body{"serial": "AAAAAAAA01"}
	require.Equal(t, []string{"Idempotency-Key"}, fields(s.send(other).fails(422, "idempotency_key_reused")))
	other = r
	other.path = "/v1/people"
	other.body = body{"name": "A", "email": "a@b.co"}
	s.send(other).fails(422, "idempotency_key_reused")
	r.role = store.Technician
	s.send(r).fails(409, provision.AlreadyExists) // a key belongs to its token

	gone := request{method: "DELETE", path: "/v1/devices/" + serial + "/assignment", header: key("two")}
	s.send(gone).ok(200)
	require.Equal(t, "true", s.send(gone).ok(200).header.Get("Idempotency-Replayed"))
	group := request{method: "PUT", path: "/v1/groups/g", body: body{"items": []body{}}, header: key("three")}
	require.Equal(t, `"1"`, s.send(group).ok(201).header.Get("ETag"))
	require.Equal(t, `"1"`, s.send(group).ok(201).header.Get("ETag"))
	s.send(request{method: "GET", path: "/v1/devices", header: key("one")}).ok(200)
}

func TestFailedRequestGivesItsKeyBack(t *testing.T) {
	s := serve(t)
	r := request{method: "PUT", path: assignment, body: body{"groups": []string{"late"}}, header: key("k")}
	s.send(r).fails(422, provision.GroupNotFound)
	s.put("/v1/groups/late", body{"items": []body{}}).ok(201)
	require.Empty(t, s.send(r).ok(200).header.Get("Idempotency-Replayed"))
	require.Equal(t, "true", s.send(r).ok(200).header.Get("Idempotency-Replayed"))
}

func TestRepeatedSecretIsNotReadableInTheDatabase(t *testing.T) {
	s := serve(t)
	r := request{method: "POST", path: "/v1/tokens", body: body{"name": "x", "role": "viewer"}, header: key("k")}
	first, second := read[api.CreatedToken](s.send(r).ok(201)), read[api.CreatedToken](s.send(r).ok(201))
	require.Equal(t, first.Secret, second.Secret)
	var stored []byte
	require.NoError(t, s.db.NanoMDM().QueryRowContext(t.Context(), `SELECT body FROM public.idempotency_keys WHERE status IS NOT NULL`).Scan(&stored))
	require.False(t, bytes.Contains(stored, []byte(first.Secret)) || bytes.Contains(stored, []byte("secret")))
}

func TestSameRequestAtOnceIsDoneOnce(t *testing.T) {
	s := serve(t)
	const n = 12
	answers := make([]answer, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Add(1)
		go func() {
			defer wg.Done()
			answers[i] = s.send(request{method: "POST", path: "/v1/tokens", body: body{"name": "once", "role": "viewer"}, header: key("k")})
		}()
	}
	wg.Wait()
	secrets := map[string]bool{}
	for _, a := range answers {
		if a.status == http.StatusConflict {
			a.fails(409, "idempotency_key_in_use")
			require.Equal(t, "1", a.header.Get("Retry-After"))
			continue
		}
		secrets[read[api.CreatedToken](a.ok(201)).Secret] = true
	}
	require.Len(t, secrets, 1)
	list := read[api.TokenList](s.get("/v1/tokens").ok(200)).Tokens
	require.Len(t, list, len(s.secret)+1)
}

func TestKeysOfLostAndOldRequests(t *testing.T) {
	s := serve(t)
	now := time.Now()
	db := s.at(func() time.Time { return now })
	k := store.IdempotencyKey{TokenID: read[api.TokenList](s.get("/v1/tokens")).Tokens[0].Id, Key: "k", Fingerprint: [32]byte{1}}
	claim := func(k store.IdempotencyKey) store.Claim {
		c, err := db.ClaimKey(t.Context(), k)
		require.NoError(t, err)
		return c
	}
	require.True(t, claim(k).Mine)
	require.Equal(t, store.Claim{}, claim(k), "under way")
	other := k
	other.Fingerprint[0] = 2
	require.True(t, claim(other).Reused)
	now = now.Add(3 * time.Minute)
	require.True(t, claim(other).Reused)
	require.True(t, claim(k).Mine, "its process died")
	require.NoError(t, db.StoreAnswer(t.Context(), k, store.StoredAnswer{Status: 201, Header: map[string][]string{"Etag": {`"1"`}}, Body: []byte("x")}))
	require.Equal(t, 201, claim(k).Answer.Status)
	require.NoError(t, db.ForgetKey(t.Context(), k), "an answered key is kept")
	now = now.Add(store.KeepAnswers - time.Minute)
	require.NotNil(t, claim(k).Answer)
	now = now.Add(2 * time.Minute)
	require.True(t, claim(other).Mine, "a day later the key is free")
}

// at is the store with another clock.
func (s *server) at(now func() time.Time) *store.DB {
	s.t.Helper()
	db, err := store.Open(s.t.Context(), store.Config{URL: s.url}, store.WithClock(now))
	require.NoError(s.t, err)
	s.t.Cleanup(db.Close)
	return db
}

func TestCallerWhoHangsUpLeavesNothingHalfDone(t *testing.T) {
	s := serve(t)
	ctx, cancel := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.http.URL+"/v1/devices", &hangUp{cancel: cancel})
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+s.secret[store.Admin])
	req.Header.Set("Idempotency-Key", "k")
	res, err := http.DefaultClient.Do(req)
	if err == nil {
		_ = res.Body.Close()
	}
	require.Error(t, err)
	s.get("/v1/devices/"+serial).fails(404, provision.DeviceNotFound)
	s.send(request{method: "POST", path: "/v1/devices", body: body{"serial": serial}, header: key("k")}).ok(201)
}

// hangUp is a body that breaks off.
type hangUp struct {
	cancel context.CancelFunc
	begun  bool
}

func (h *hangUp) Read(p []byte) (int, error) {
	if h.begun {
		h.cancel()
		return 0, context.Canceled
	}
	h.begun = true
	return strings.NewReader(`{"serial": "` + serial).Read(p)
}

// Who hangs up while a request is carried out can't know what became of it; asking again under its key tells.
func TestCallerWhoHangsUpIsToldLater(t *testing.T) {
	s := serve(t)
	s.put("/v1/groups/g", body{"items": []body{}}).ok(201)
	held, err := s.db.NanoMDM().BeginTx(t.Context(), nil)
	require.NoError(t, err)
	_, err = held.ExecContext(t.Context(), `SELECT FROM public.groups FOR UPDATE`)
	require.NoError(t, err)
	ctx, hangUp := context.WithCancel(t.Context())
	in := `{"groups": ["g"]}`
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, s.http.URL+assignment, strings.NewReader(in))
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+s.secret[store.Admin])
	req.Header.Set("Idempotency-Key", "k")
	gone := make(chan error, 1)
	go func() {
		res, err := http.DefaultClient.Do(req)
		if err == nil {
			_ = res.Body.Close()
		}
		gone <- err
	}()
	require.Eventually(t, func() bool {
		var waiting bool
		err := s.db.NanoMDM().QueryRowContext(t.Context(), `SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock')`).Scan(&waiting)
		return err == nil && waiting
	}, 10*time.Second, time.Millisecond)
	hangUp()
	require.Error(t, <-gone)
	s.log.Take()
	require.NoError(t, held.Rollback())
	require.Eventually(t, func() bool { return strings.Contains(s.log.String(), "request answered") }, 10*time.Second, time.Millisecond)
	again := s.send(request{method: "PUT", path: assignment, body: in, header: key("k")}).ok(200)
	require.Equal(t, "true", again.header.Get("Idempotency-Replayed"))
	require.Equal(t, []string{"assigned"}, s.kinds(serial))
}
