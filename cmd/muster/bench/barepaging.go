package bench

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"time"

	depclient "github.com/micromdm/nanodep/client"
	"github.com/micromdm/nanodep/godep"
)

// The pauses between attempts of a page, and how many there may be, are those of muster's workflow.
const (
	firstPause  = 2 * time.Second
	pauseGrowth = 3
	attempts    = 6
)

// fetchBare pages through the organisation's devices by NanoDEP's client, writes nothing, and returns how long it had to wait.
func (o *organisation) fetchBare(ctx context.Context, page int) (pauses time.Duration, err error) {
	heard := &retryAfter{}
	defer heard.carrier.CloseIdleConnections()
	client := godep.NewClient(o, godep.WithClient(&http.Client{Transport: heard}))
	seen := make(map[string]bool, len(o.serials))
	cursor, tries, pause := "", 0, firstPause
	for more := true; more; {
		got, err := client.FetchDevices(ctx, listedServer, godep.WithLimit(page), godep.WithCursor(cursor))
		if err == nil {
			for _, d := range got.Devices {
				seen[d.SerialNumber] = true
			}
			cursor, more, tries, pause = got.Cursor, got.MoreToFollow, 0, firstPause
			continue
		}
		wait := heard.pause
		if wait == 0 {
			wait, pause = pause, pause*pauseGrowth
			tries++
		}
		if tries == attempts {
			return 0, fmt.Errorf("listing by NanoDEP's client: %w", err)
		}
		if err := rest(ctx, wait); err != nil {
			return 0, err
		}
		pauses += wait
	}
	if len(seen) != len(o.serials) {
		return 0, fmt.Errorf("NanoDEP's client listed %d devices of %d", len(seen), len(o.serials))
	}
	return pauses, nil
}

func rest(ctx context.Context, pause time.Duration) error {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// RetrieveAuthTokens implements NanoDEP's AuthTokensRetriever.
func (o *organisation) RetrieveAuthTokens(context.Context, string) (*depclient.OAuth1Tokens, error) {
	return &depclient.OAuth1Tokens{
		ConsumerKey: o.token.ConsumerKey, ConsumerSecret: o.token.ConsumerSecret,
		AccessToken: o.token.AccessToken, AccessSecret: o.token.AccessSecret, AccessTokenExpiry: o.token.Expiry,
	}, nil
}

// RetrieveConfig implements NanoDEP's ConfigRetriever.
func (o *organisation) RetrieveConfig(context.Context, string) (*depclient.Config, error) {
	return &depclient.Config{BaseURL: o.at.URL}, nil
}

// retryAfter hears how long Apple asks to wait, which NanoDEP's client doesn't pass on.
type retryAfter struct {
	carrier http.Transport
	pause   time.Duration
}

// RoundTrip implements [http.RoundTripper].
func (a *retryAfter) RoundTrip(r *http.Request) (*http.Response, error) {
	a.pause = 0
	res, err := a.carrier.RoundTrip(r)
	if err == nil {
		seconds, _ := strconv.Atoi(res.Header.Get("Retry-After"))
		a.pause = time.Duration(seconds) * time.Second
	}
	return res, err
}
