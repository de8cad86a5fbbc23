// Package wire carries requests to Apple's servers. The libraries above it read answers without limit, leave some of them
// open, and forget what Apple says beside an error's text; so it reads each answer whole, within a limit, keeps the last
// one for whoever asked, and reports what went wrong on the way as faults.
package wire

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/muster-mdm/muster/apple/fault"
)

// maxAnswer is far beyond the largest page of a thousand devices, which is half a megabyte.
const maxAnswer = 16 << 20

// Client makes an HTTP client on a transport, http.DefaultTransport if nil. It follows no redirects: Apple's servers
// make none, and credentials don't belong elsewhere. If prepare is given, it may change each request before it is sent.
func Client(base http.RoundTripper, prepare func(*http.Request)) *http.Client {
	if base == nil {
		base = http.DefaultTransport
	}
	return &http.Client{
		Transport:     &transport{base: base, prepare: prepare},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

type transport struct {
	base    http.RoundTripper
	prepare func(*http.Request)
}

// RoundTrip sends the request with a fresh body, as the libraries send one twice after they have renewed a session.
func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	heard := answerOf(r.Context())
	*heard = Answer{Path: r.URL.Path}
	request, err := t.copy(r)
	if err != nil {
		return nil, err
	}
	response, err := t.base.RoundTrip(request)
	if err != nil {
		return nil, unreached(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	if err != nil {
		return nil, brokenOff(response.StatusCode, err)
	}
	if len(body) > maxAnswer {
		return nil, &fault.Error{Kind: fault.Garbled, Status: response.StatusCode, Detail: fmt.Sprintf("more than %d bytes", maxAnswer)}
	}
	heard.Status, heard.Header, heard.Body = response.StatusCode, response.Header, body
	response.Body = io.NopCloser(bytes.NewReader(body))
	response.ContentLength = int64(len(body))
	return response, nil
}

func (t *transport) copy(r *http.Request) (*http.Request, error) {
	request := r.Clone(r.Context())
	if r.Body != nil && r.GetBody != nil {
		_ = r.Body.Close() // of a reader in memory
		body, err := r.GetBody()
		if err != nil {
			return nil, fmt.Errorf("reading the request again: %w", err)
		}
		request.Body = body
	}
	if t.prepare != nil {
		t.prepare(request)
	}
	return request, nil
}

// unreached leaves a cancelled request alone: that is the caller's doing, not Apple's.
func unreached(err error) error {
	if errors.Is(err, context.Canceled) {
		return err
	}
	return &fault.Error{Kind: fault.Unreachable, Err: err}
}

func brokenOff(status int, err error) error {
	var timeout interface{ Timeout() bool }
	if errors.Is(err, context.Canceled) || errors.As(err, &timeout) && timeout.Timeout() {
		return unreached(err)
	}
	return &fault.Error{Kind: fault.Garbled, Status: status, Err: err}
}
