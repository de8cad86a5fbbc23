package abm_test

import (
	"context"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/muster-mdm/muster/apple/abm"
	"github.com/muster-mdm/muster/apple/fault"
	simabm "github.com/muster-mdm/muster/sim/abm"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// portal is a virtual organisation with one MDM server and one API account.
type portal struct {
	*simabm.Organization
	t       *testing.T
	url     string
	server  simabm.Server
	account abm.Account
}

func open(t *testing.T, cfg simabm.Config) *portal {
	t.Helper()
	o := simabm.New(cfg)
	l, err := o.Listen(t.Context(), "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, l.Close()) })
	p := &portal{Organization: o, t: t, url: l.URL, server: o.AddServer(simabm.Server{Name: "Muster"})}
	p.account = p.newAccount(false)
	return p
}

func (p *portal) newAccount(readOnly bool) abm.Account {
	p.t.Helper()
	a, err := p.AddAccount(readOnly)
	require.NoError(p.t, err)
	return abm.Account{ClientID: a.ClientID, KeyID: a.KeyID, PrivateKeyPEM: a.PrivateKeyPEM}
}

func (p *portal) client() *abm.Client {
	p.t.Helper()
	return p.clientWith(abm.Config{Account: p.account})
}

// clientWith completes the configuration; each client has connections of its own.
func (p *portal) clientWith(c abm.Config) *abm.Client {
	p.t.Helper()
	if c.Transport == nil {
		transport := &http.Transport{}
		p.t.Cleanup(transport.CloseIdleConnections)
		c.Transport = transport
	}
	c.BaseURL, c.TokenURL = p.url, p.url+"/auth/oauth2/v2/token"
	client, err := abm.New(c)
	require.NoError(p.t, err)
	return client
}

func (p *portal) addNew(serverID string, n int) []string {
	p.t.Helper()
	serials, err := p.AddNew(serverID, n)
	require.NoError(p.t, err)
	return serials
}

// requireFault wants a fault of the kind, with Apple's code verbatim, and a sentence that quotes it.
func requireFault(t *testing.T, err error, kind fault.Kind, status int, code string) fault.Error {
	t.Helper()
	f, ok := fault.As(err)
	require.True(t, ok, "not a fault: %v", err)
	require.Equal(t, kind, f.Kind, "%v: %v", f, f.Err)
	require.Equal(t, status, f.Status)
	require.Equal(t, code, f.Code)
	require.Contains(t, err.Error(), code)
	require.True(t, f.Business)
	return *f
}

// walk fetches all devices of the organisation, page by page.
func walk(ctx context.Context, t *testing.T, c *abm.Client, limit int) (serials []string) {
	t.Helper()
	for cursor := ""; ; {
		devices, next, err := c.OrgDevices(ctx, cursor, limit)
		require.NoError(t, err)
		for _, d := range devices {
			serials = append(serials, d.Serial)
		}
		if next == "" {
			return serials
		}
		cursor = next
	}
}
