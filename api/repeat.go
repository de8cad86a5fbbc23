package api

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/muster-mdm/muster/store"
)

const (
	keyHeader      = "Idempotency-Key"
	replayedHeader = "Idempotency-Replayed"
)

// kept are the headers of an answer that a repetition gets again.
var kept = []string{"Content-Type", "Etag", "Location"}

// repeatable lets a changing request be repeated under its Idempotency-Key: the first success is stored and given again.
// A request that failed changed nothing, so its key is given back.
func (g *gate) repeatable(o *operation) echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			key := c.Request().Header.Get(keyHeader)
			if !o.mutates || key == "" || o.streaming { // a file is recognised by its content
				return next(c)
			}
			who, _ := callerOf(c.Request().Context())
			k := store.IdempotencyKey{TokenID: who.ID, Key: key}
			var err error
			if k.Fingerprint, err = fingerprint(c); err != nil {
				return err
			}
			claim, err := g.config.DB.ClaimKey(c.Request().Context(), k)
			switch {
			case err != nil:
				return err
			case claim.Mine:
				return g.first(c, next, k, who.secret)
			case claim.Reused:
				return faultf(codeKeyReused, "The Idempotency-Key was used for another request; take a new one.").at(keyHeader)
			case claim.Answer == nil:
				return faultf(codeKeyInUse, "The first request with this Idempotency-Key is still under way.").with("Retry-After", "1")
			}
			return replay(c, k, who.secret, *claim.Answer)
		}
	}
}

// fingerprint reads the body and puts it back.
func fingerprint(c echo.Context) (sum [sha256.Size]byte, err error) {
	r := c.Request()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return sum, readFault(err)
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	h := sha256.New()
	for _, part := range []string{r.Method, r.URL.RequestURI(), r.Header.Get("If-Match"), r.Header.Get("If-None-Match")} {
		_, _ = fmt.Fprintf(h, "%d:%s", len(part), part)
	}
	_, _ = h.Write(body)
	return [sha256.Size]byte(h.Sum(nil)), nil
}

// recorder keeps an answer back until it is stored.
type recorder struct {
	http.ResponseWriter
	status int
	body   bytes.Buffer
}

func (r *recorder) WriteHeader(status int) { r.status = status }

func (r *recorder) Write(p []byte) (int, error) { return r.body.Write(p) }

// first carries the request out, and stores the answer, though its caller hang up: whoever asks again under the key is to be told
// what became of it, and a request that was carried out in that very moment mustn't count as one that failed.
func (g *gate) first(c echo.Context, next echo.HandlerFunc, k store.IdempotencyKey, secret string) error {
	ctx := context.WithoutCancel(c.Request().Context())
	if until, ok := c.Request().Context().Deadline(); ok {
		limited, cancel := context.WithDeadline(ctx, until)
		defer cancel()
		c.SetRequest(c.Request().WithContext(limited))
	}
	stored := false
	defer func() {
		if stored {
			return
		}
		if err := g.config.DB.ForgetKey(ctx, k); err != nil {
			g.config.Log.ErrorContext(ctx, "idempotency key not given back", "request_id", idOf(c), "error", err)
		}
	}()
	sent := c.Response().Writer
	rec := &recorder{ResponseWriter: sent, status: http.StatusOK}
	c.Response().Writer = rec
	err := next(c)
	c.Response().Writer = sent
	if err != nil {
		return err
	}
	if rec.status < http.StatusBadRequest {
		if err := g.keep(ctx, k, secret, rec); err != nil {
			g.config.Log.ErrorContext(ctx, "answer not stored", "request_id", idOf(c), "error", err)
		}
		stored = true // even if it was not: the request did succeed
	}
	sent.WriteHeader(rec.status)
	_, err = rec.body.WriteTo(sent)
	return err
}

func (g *gate) keep(ctx context.Context, k store.IdempotencyKey, secret string, rec *recorder) error {
	sealed, err := seal(secret, k, rec.body.Bytes())
	if err != nil {
		return err
	}
	a := store.StoredAnswer{Status: rec.status, Header: map[string][]string{}, Body: sealed}
	for _, name := range kept {
		if values := rec.Header().Values(name); len(values) > 0 {
			a.Header[name] = values
		}
	}
	return g.config.DB.StoreAnswer(ctx, k, a)
}

func replay(c echo.Context, k store.IdempotencyKey, secret string, a store.StoredAnswer) error {
	body, err := unseal(secret, k, a.Body)
	if err != nil {
		return err
	}
	h := c.Response().Header()
	for name, values := range a.Header {
		h[http.CanonicalHeaderKey(name)] = values
	}
	h.Set(replayedHeader, "true")
	c.Response().WriteHeader(a.Status)
	_, err = c.Response().Write(body)
	return err
}

// Stored answers hold names and, once, a new token's secret. They are sealed with the secret of the token that asked,
// which the store doesn't know.
func sealer(secret string) (cipher.AEAD, error) {
	key, err := hkdf.Key(sha256.New, []byte(secret), nil, "muster stored answer", 32)
	if err != nil {
		return nil, fmt.Errorf("deriving a key: %w", err)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("making a cipher: %w", err)
	}
	return cipher.NewGCM(block)
}

func seal(secret string, k store.IdempotencyKey, plain []byte) ([]byte, error) {
	aead, err := sealer(secret)
	if err != nil {
		return nil, err
	}
	nonce := make([]byte, aead.NonceSize())
	_, _ = rand.Read(nonce) // never fails (Go 1.24)
	return aead.Seal(nonce, nonce, plain, []byte(k.Key)), nil
}

func unseal(secret string, k store.IdempotencyKey, sealed []byte) ([]byte, error) {
	aead, err := sealer(secret)
	if err != nil {
		return nil, err
	}
	if len(sealed) < aead.NonceSize() {
		return nil, errors.New("opening a stored answer: too short")
	}
	plain, err := aead.Open(nil, sealed[:aead.NonceSize()], sealed[aead.NonceSize():], []byte(k.Key))
	if err != nil {
		return nil, fmt.Errorf("opening a stored answer: %w", err)
	}
	return plain, nil
}
