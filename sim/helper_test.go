package sim_test

import (
	"crypto/x509"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/sim"
)

// requireError wants an answer whose chain of errors names a domain and code.
func requireError(t *testing.T, answer dict, domain string, code int) {
	t.Helper()
	require.Equal(t, "Error", answer["Status"])
	var found []any
	for _, link := range answer["ErrorChain"].([]any) {
		l := link.(dict)
		found = append(found, l["ErrorDomain"], l["ErrorCode"])
		if l["ErrorDomain"] == domain && l["ErrorCode"] == uint64(code) {
			return
		}
	}
	t.Fatalf("no %s %d in %v", domain, code, found)
}

func parseCertificate(t *testing.T, der []byte) *x509.Certificate {
	t.Helper()
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return cert
}

func certificates(t *testing.T, der []byte) []*x509.Certificate {
	t.Helper()
	return []*x509.Certificate{parseCertificate(t, der)}
}

type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// sendUnwatched sends a command that Apple doesn't know, past the watcher of the schema.
func (p *peer) sendUnwatched(d *sim.Device, uuid, requestType string) dict {
	p.t.Helper()
	p.unwatched.Store(true)
	defer p.unwatched.Store(false)
	return p.send(d, uuid, requestType, nil)
}
