package dep_test

import (
	"context"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/muster-mdm/muster/apple/dep"
	"github.com/muster-mdm/muster/apple/fault"
	"github.com/muster-mdm/muster/sim/abm"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// portal is a virtual organisation with one MDM server.
type portal struct {
	*abm.Organization
	t      testing.TB
	url    string
	server abm.Server
}

func open(t testing.TB, cfg abm.Config) *portal {
	t.Helper()
	o := abm.New(cfg)
	l, err := o.Listen(t.Context(), "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, l.Close()) })
	return &portal{Organization: o, t: t, url: l.URL, server: o.AddServer(abm.Server{Name: "Muster", Disown: true})}
}

type keyPair struct{ certificate, key []byte }

var oneKeyPair = sync.OnceValue(func() keyPair {
	certificate, key, err := dep.NewKeyPair("Acme", time.Now())
	if err != nil {
		panic(err)
	}
	return keyPair{certificate, key}
})

// token downloads the server's token from the portal and opens it.
func (p *portal) token(serverID string) dep.Token {
	p.t.Helper()
	pair := oneKeyPair()
	file, err := p.IssueToken(serverID, pair.certificate)
	require.NoError(p.t, err)
	token, err := dep.OpenToken(file, pair.certificate, pair.key)
	require.NoError(p.t, err)
	return token
}

func (p *portal) client(serverID string) *dep.Client {
	p.t.Helper()
	return p.clientWith(dep.Config{Token: p.token(serverID)})
}

// clientWith completes the configuration; each client has connections of its own.
func (p *portal) clientWith(c dep.Config) *dep.Client {
	p.t.Helper()
	transport := &http.Transport{}
	p.t.Cleanup(transport.CloseIdleConnections)
	c.BaseURL, c.Transport = p.url, transport
	return dep.New(c)
}

func (p *portal) addNew(serverID string, n int) []string {
	p.t.Helper()
	serials, err := p.AddNew(serverID, n)
	require.NoError(p.t, err)
	return serials
}

// requireFault wants a fault of the kind, with Apple's code verbatim, and a sentence that quotes it.
func requireFault(t testing.TB, err error, kind fault.Kind, status int, code string) fault.Error {
	t.Helper()
	f, ok := fault.As(err)
	require.True(t, ok, "not a fault: %v", err)
	require.Equal(t, kind, f.Kind, "%v: %v", f, f.Err)
	require.Equal(t, status, f.Status)
	require.Equal(t, code, f.Code)
	require.Contains(t, err.Error(), code)
	return *f
}

// all fetches everything and returns the serials, in order, and the cursor to sync from.
func all(ctx context.Context, t testing.TB, c *dep.Client, limit int) (serials []string, cursor string) {
	t.Helper()
	for more := true; more; {
		page, err := c.Fetch(ctx, cursor, limit)
		require.NoError(t, err)
		for _, d := range page.Devices {
			serials = append(serials, d.Serial)
		}
		cursor, more = page.Cursor, page.More
	}
	return serials, cursor
}
