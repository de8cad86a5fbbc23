// Package abm asks the Apple Business API, or Apple School Manager's, which is the same elsewhere: what became of the
// organisation's devices, and which server has them. It assigns, unassigns and releases them.
//
// It knows what the device assignment API doesn't tell: whether a device that is gone was released, moved to another
// server, or taken from any. Everything that goes wrong at Apple comes as a [fault.Error].
package abm

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	axmclient "github.com/micromdm/nanoaxm/client"
	"github.com/micromdm/nanoaxm/goaxm"
	"github.com/micromdm/nanoaxm/storage"

	"github.com/muster-mdm/muster/apple/fault"
	"github.com/muster-mdm/muster/apple/wire"
	"github.com/muster-mdm/muster/provision"
)

// Config is what a client needs. Only the account has to be given.
type Config struct {
	// BaseURL is scheme and host; "" is Apple's for business or school.
	BaseURL string
	// TokenURL is where the account's key is exchanged for access; "" is Apple's.
	TokenURL string
	// Transport carries the requests; default http.DefaultTransport.
	Transport http.RoundTripper
	Account   Account
	// UserAgent by default is "muster".
	UserAgent string
	// Timeout of each call, renewals of the access included; default one minute.
	Timeout time.Duration
	// School is whether the organisation is in Apple School Manager.
	School bool
}

const (
	businessURL = "https://api-business.apple.com"
	schoolURL   = "https://api-school.apple.com"
)

// MaxDevices is how many devices a page or an activity has at most.
const MaxDevices = 1000

// Client asks with one API account. Its access is kept in memory, and renewed before it is over. It is safe for
// concurrent use.
type Client struct {
	api     *goaxm.Client
	plain   *http.Client // for logs, which take no credentials
	base    *url.URL
	timeout time.Duration
}

// New makes a client; nothing is asked yet. It fails as [CheckAccount] does, and when the account is of the other kind
// of organisation.
func New(c Config) (*Client, error) {
	key, err := c.Account.check()
	if err != nil {
		return nil, err
	}
	if c.School != strings.HasPrefix(c.Account.ClientID, schoolPrefix) {
		return nil, provision.Errorf(provision.ABMAccountInvalid, "The client id belongs to the other of Apple Business Manager (%s…) and Apple School Manager (%s…).", businessPrefix, schoolPrefix).At("client_id")
	}
	c = c.complete()
	base, err := url.Parse(strings.TrimRight(c.BaseURL, "/"))
	if err != nil {
		return nil, fmt.Errorf("reading the address of the Apple Business API: %w", err)
	}
	tokens, err := url.Parse(c.TokenURL)
	if err != nil {
		return nil, fmt.Errorf("reading the address for access tokens: %w", err)
	}
	carrier := wire.Client(c.Transport, func(r *http.Request) {
		if r.URL.String() == axmclient.Audience { // a constant in the library
			r.URL, r.Host = tokens, ""
		}
	})
	assertions := signer{storage.AuthCredentials{ClientID: c.Account.ClientID, KeyID: c.Account.KeyID, PrivateKeyPEM: key}}
	return &Client{
		api:   goaxm.NewClient(assertions, goaxm.WithClient(carrier), goaxm.WithUserAgent(c.UserAgent)),
		plain: wire.Client(c.Transport, nil), base: base, timeout: c.Timeout,
	}, nil
}

func (c Config) complete() Config {
	if c.BaseURL == "" {
		c.BaseURL = businessURL
		if c.School {
			c.BaseURL = schoolURL
		}
	}
	if c.TokenURL == "" {
		c.TokenURL = axmclient.Audience
	}
	if c.UserAgent == "" {
		c.UserAgent = "muster"
	}
	if c.Timeout <= 0 {
		c.Timeout = time.Minute
	}
	return c
}

// name is what NanoAXM calls the one account that a client has.
const name = "muster"

// signer is NanoAXM's storage. It keeps nothing: NanoAXM has the last assertion in memory, and a new one costs nothing.
type signer struct{ account storage.AuthCredentials }

// GetOrRefreshClientAssertion implements NanoAXM's ClientAssertionRefresher.
func (s signer) GetOrRefreshClientAssertion(
	ctx context.Context, _ string, sign func(context.Context, storage.AuthCredentials) (storage.ClientAssertion, error), _ bool,
) (storage.ClientAssertion, error) {
	return sign(ctx, s.account)
}

// get asks for a document.
func (c *Client) get(ctx context.Context, path string, query url.Values, out any) error {
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	return c.do(ctx, http.MethodGet, path, nil, out)
}

func (c *Client) do(ctx context.Context, method, path string, in, out any) error {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	success := http.StatusOK
	if method == http.MethodPost {
		success = http.StatusCreated
	}
	var err error
	for range attempts {
		listening, heard := wire.Listen(ctx)
		err = faultOf(c.api.Do(listening, name, method, c.base.String()+path, in, out, success, nil), heard)
		if f, ok := fault.As(err); !ok || f.Status != http.StatusUnauthorized || f.Kind != fault.TokenRejected || kinds[f.Code] != "" {
			return err
		}
	}
	return err
}

// NanoAXM renews its access once in a call. Access that is refused though it was granted a moment ago may have ended in
// between, with other callers about; refused again and again, it is worth nothing. A revoked key shows earlier, as it isn't
// granted any.
const attempts = 3

// incomplete is an answer that lacks what it can't be understood without.
func incomplete(what string) error {
	return &fault.Error{Kind: fault.Garbled, Status: http.StatusOK, Detail: what + " is missing", Business: true}
}
