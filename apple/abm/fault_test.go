package abm_test

import (
	"context"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/apple/abm"
	"github.com/muster-mdm/muster/apple/fault"
	simabm "github.com/muster-mdm/muster/sim/abm"
)

// Access is renewed without anybody's noticing, with the body of a request that had to be sent twice; a key that was
// revoked shows.
func TestAccessIsRenewedAndKeysAreRevoked(t *testing.T) {
	p := open(t, simabm.Config{})
	serials := p.addNew(p.server.ID, 1)
	c := p.client()
	servers := func() error {
		_, err := c.Servers(t.Context())
		return err
	}
	granted := func() int {
		return p.Counts().Requests["POST /auth/oauth2/{id}/token"] + p.Counts().Requests["POST /auth/oauth2/v2/token"]
	}
	require.NoError(t, servers())
	require.NoError(t, servers())
	require.Equal(t, 1, granted())
	require.True(t, p.ExpireAccess(p.account.ClientID, false))
	start(t, c, abm.Unassign, p.server.ID, serials...)
	require.Equal(t, 2, granted())
	p.Jump(2 * time.Hour)
	require.NoError(t, servers())
	require.Equal(t, 3, granted())

	require.True(t, p.ExpireAccess(p.account.ClientID, true))
	requireFault(t, servers(), fault.TokenRejected, 400, "invalid_client")
	require.ErrorContains(t, servers(), "Make a new key")
	_, err := p.clientWith(abm.Config{Account: p.newAccount(false)}).Servers(t.Context())
	require.NoError(t, err, "with the new one")
}

func TestAccountsThatAppleTurnsAway(t *testing.T) {
	p := open(t, simabm.Config{})
	other := p.newAccount(false)
	for what, account := range map[string]abm.Account{
		"another's key":       {ClientID: p.account.ClientID, KeyID: p.account.KeyID, PrivateKeyPEM: other.PrivateKeyPEM},
		"another key's id":    {ClientID: p.account.ClientID, KeyID: other.KeyID, PrivateKeyPEM: p.account.PrivateKeyPEM},
		"an unknown client":   {ClientID: "BUSINESSAPI.none", KeyID: p.account.KeyID, PrivateKeyPEM: p.account.PrivateKeyPEM},
		"a client of another": {ClientID: other.ClientID, KeyID: p.account.KeyID, PrivateKeyPEM: p.account.PrivateKeyPEM},
	} {
		_, err := p.clientWith(abm.Config{Account: account}).Servers(t.Context())
		f := requireFault(t, err, fault.TokenRejected, 400, "invalid_client")
		require.Error(t, f.Err, what)
	}
	school := open(t, simabm.Config{School: true})
	account := p.account
	_, err := school.clientWith(abm.Config{Account: account}).Servers(t.Context())
	requireFault(t, err, fault.TokenRejected, 400, "invalid_scope")

	p.SignTerms(false)
	_, err = p.client().Servers(t.Context())
	requireFault(t, err, fault.TermsNotSigned, 403, "FORBIDDEN")
	p.SignTerms(true)
	_, err = p.client().Servers(t.Context())
	require.NoError(t, err)
}

func TestFaultsOnTheWay(t *testing.T) {
	p := open(t, simabm.Config{})
	p.addNew(p.server.ID, 40)
	transport := &http.Transport{DisableKeepAlives: true} // over a used connection Go's transport may ask again by itself
	c := p.clientWith(abm.Config{Account: p.account, Transport: transport})
	require.Len(t, walk(t.Context(), t, c, 0), 40)
	for _, path := range []string{"/v1/orgDevices", "/auth/"} {
		for _, strike := range []struct {
			simabm.Fault
			kind   fault.Kind
			status int
			code   string
			says   string
		}{
			{simabm.Fault{Kind: simabm.FaultError}, fault.Unreachable, 503, "SERVICE_UNAVAILABLE", "in trouble"},
			{simabm.Fault{Kind: simabm.FaultError, Status: 500, Seconds: 7}, fault.Unreachable, 500, "INTERNAL_SERVER_ERROR", "wait for 7s"},
			{simabm.Fault{Kind: simabm.FaultTooMany, Seconds: 30}, fault.Throttled, 429, "RATE_LIMIT_EXCEEDED", "wait for "},
			{simabm.Fault{Kind: simabm.FaultGarbage}, fault.Garbled, 200, "", "A web page came"},
			{simabm.Fault{Kind: simabm.FaultTruncated}, fault.Garbled, 200, "", "it ends early"},
			{simabm.Fault{Kind: simabm.FaultReset}, fault.Unreachable, 0, "", "the connection broke"},
		} {
			if path == "/auth/" {
				require.True(t, p.ExpireAccess(p.account.ClientID, false))
				strike.code = "" // the token endpoint has others, in another form
			}
			strike.Share, strike.Times, strike.Path = 1, 1, path
			p.SetFaults(strike.Fault)
			_, _, err := c.OrgDevices(t.Context(), "", 0)
			f := requireFault(t, err, strike.kind, strike.status, strike.code)
			require.ErrorContains(t, err, strike.says)
			require.InDelta(t, strike.Seconds, f.RetryAfter.Seconds(), 1)
			p.SetFaults()
			require.Len(t, walk(t.Context(), t, c, 0), 40)
		}
	}
	require.Zero(t, p.Counts().Impatient)
}

func TestSlowAnswersAreGivenUp(t *testing.T) {
	p := open(t, simabm.Config{})
	c := p.clientWith(abm.Config{Account: p.account, Timeout: 50 * time.Millisecond})
	p.SetFaults(simabm.Fault{Kind: simabm.FaultSlow, Share: 1, Seconds: 3600})
	_, err := c.Servers(t.Context())
	requireFault(t, err, fault.Unreachable, 0, "")
	require.ErrorContains(t, err, "it took too long")
	require.ErrorIs(t, err, context.DeadlineExceeded)

	ctx, cancel := context.WithCancel(t.Context())
	gone := make(chan error, 1)
	patient := p.client()
	go func() {
		_, err := patient.Servers(ctx)
		gone <- err
	}()
	require.Eventually(t, func() bool { return p.Counts().Faults[simabm.FaultSlow] == 2 }, time.Minute, time.Millisecond)
	cancel()
	err = <-gone
	require.ErrorIs(t, err, context.Canceled)
	require.Empty(t, fault.KindOf(err))
}

// One client for several callers, while Apple keeps ending its access; for the race detector, and for the sum.
func TestManyAtOnce(t *testing.T) {
	p := open(t, simabm.Config{Lifetime: simabm.Lifetimes{Activity: time.Nanosecond}})
	serials := p.addNew(p.server.ID, 80)
	c := p.client()
	var group sync.WaitGroup
	for i := range 4 {
		mine := serials[i*20 : (i+1)*20]
		group.Go(func() {
			for _, serial := range mine {
				if _, err := c.StartActivity(t.Context(), abm.Unassign, p.server.ID, []string{serial}); err != nil {
					t.Errorf("unassigning: %v", err)
				}
			}
			p.ExpireAccess(p.account.ClientID, false)
		})
		group.Go(func() {
			for _, serial := range mine {
				if _, err := c.OrgDevice(t.Context(), serial); err != nil {
					t.Errorf("asking: %v", err)
				}
			}
		})
	}
	group.Wait()
	for _, serial := range serials {
		server, err := c.AssignedServer(t.Context(), serial)
		require.NoError(t, err)
		require.Empty(t, server)
	}
}
