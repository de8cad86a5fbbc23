// Package dep asks Apple's device assignment API: which devices are this server's, what has happened to them, and which
// profile they get when they are set up. It opens the server tokens that let it ask.
//
// Everything that goes wrong at Apple comes as a [fault.Error].
package dep

import (
	"context"
	"fmt"
	"net/http"
	"time"

	depclient "github.com/micromdm/nanodep/client"
	"github.com/micromdm/nanodep/godep"

	"github.com/muster-mdm/muster/apple/fault"
	"github.com/muster-mdm/muster/apple/wire"
)

// Config is what a client needs. Only the token has to be given.
type Config struct {
	// BaseURL is scheme and host; "" is Apple's.
	BaseURL string
	// Transport carries the requests; default http.DefaultTransport.
	Transport http.RoundTripper
	Token     Token
	// UserAgent has to be printable ASCII, says Apple; default "muster".
	UserAgent string
	// Timeout of each call, renewals of the session included; default one minute.
	Timeout time.Duration
}

// MaxDevices is how many devices a page or a request has at most.
const MaxDevices = 1000

// Apple's answers grow with this version: THROTTLED from 9, retry_after_seconds from 10.
const protocolVersion = "10"

// Client asks with one server token. Its session is kept in memory, and renewed when it is over. It is safe for
// concurrent use.
type Client struct {
	api     *godep.Client
	timeout time.Duration
}

// New makes a client; nothing is asked yet.
func New(c Config) *Client {
	if c.UserAgent == "" {
		c.UserAgent = "muster"
	}
	if c.Timeout <= 0 {
		c.Timeout = time.Minute
	}
	carrier := wire.Client(c.Transport, func(r *http.Request) { r.Header.Set(depclient.ServerProtocolVersion, protocolVersion) })
	return &Client{
		api:     godep.NewClient(credentials{c.Token, c.BaseURL}, godep.WithClient(carrier), godep.WithUserAgent(c.UserAgent)),
		timeout: c.Timeout,
	}
}

// name is what NanoDEP calls the one server that a client has.
const name = "muster"

// credentials are NanoDEP's storage.
type credentials struct {
	token   Token
	baseURL string
}

// RetrieveAuthTokens implements NanoDEP's AuthTokensRetriever.
func (c credentials) RetrieveAuthTokens(context.Context, string) (*depclient.OAuth1Tokens, error) {
	return &depclient.OAuth1Tokens{
		ConsumerKey: c.token.ConsumerKey, ConsumerSecret: c.token.ConsumerSecret,
		AccessToken: c.token.AccessToken, AccessSecret: c.token.AccessSecret, AccessTokenExpiry: c.token.Expiry,
	}, nil
}

// RetrieveConfig implements NanoDEP's ConfigRetriever.
func (c credentials) RetrieveConfig(context.Context, string) (*depclient.Config, error) {
	return &depclient.Config{BaseURL: c.baseURL}, nil
}

// call makes one call, in time, and a fault of what goes wrong with it.
func (c *Client) call(ctx context.Context, do func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	var err error
	for range attempts {
		listening, heard := wire.Listen(ctx)
		if err = heard.Fault(do(listening), codeOf, kinds); !passing(err, heard) {
			return err
		}
	}
	return err
}

// NanoDEP renews a session once in a call. If callers share one, an answer to an earlier request may put the session back
// that another caller has just renewed, so that once isn't enough.
const attempts = 3

// passing tells, and notes in the fault, that a request wasn't carried out for a reason that is over when it is made
// again, and that says nothing about the token: the session had ended (the token is judged when one is opened, and then by
// name), or Go's transport sent the request for one twice, over a connection that broke, with the same nonce.
func passing(err error, heard *wire.Answer) bool {
	f, ok := fault.As(err)
	if !ok {
		return false
	}
	ended := f.Kind == fault.TokenRejected && kinds[f.Code] == "" && heard.Path != depclient.SessionEndpoint
	if !ended && f.Code != "nonce_used" {
		return false
	}
	f.Kind = fault.Unreachable
	return true
}

func (c *Client) do(ctx context.Context, method, path string, in, out any) error {
	return c.call(ctx, func(ctx context.Context) error { return c.api.Do(ctx, name, method, path, in, out) })
}

// incomplete is an answer that lacks what it can't be understood without. An empty object instead of a page, say, would
// otherwise be an organisation without devices.
func incomplete(what string) error {
	return &fault.Error{Kind: fault.Garbled, Status: http.StatusOK, Detail: what + " is missing"}
}

func few(serials []string) error {
	if len(serials) > MaxDevices {
		return fmt.Errorf("asking Apple about %d devices at once: it takes %d at most", len(serials), MaxDevices)
	}
	return nil
}
