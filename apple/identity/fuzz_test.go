package identity_test

import (
	"bytes"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/muster-mdm/muster/apple/identity"
)

// Whatever is posted, nothing is issued without a challenge, and nothing breaks.
func FuzzSCEP(f *testing.F) {
	a, l := newAuthority(f), &ledger{challenge: identity.ChallengeHash{1}}
	service := identity.NewSCEP(a, l, slog.New(slog.DiscardHandler))
	c := newClient(f, a, l)
	f.Add(c.message())
	f.Fuzz(func(t *testing.T, body []byte) {
		w := httptest.NewRecorder()
		service.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/scep?operation=PKIOperation", bytes.NewReader(body)))
		switch w.Code {
		case http.StatusOK, http.StatusBadRequest, http.StatusRequestEntityTooLarge:
		default:
			t.Fatalf("status %d", w.Code)
		}
		if l.redeemed > 0 {
			t.Fatal("a certificate was issued")
		}
	})
}
