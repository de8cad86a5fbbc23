package sim

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/smallstep/pkcs7"
)

const (
	checkinMedia   = "application/x-apple-aspen-mdm-checkin"
	commandMedia   = "application/x-apple-aspen-mdm; charset=UTF-8"
	maxCommand     = 32 << 20
	requestTimeout = 60 * time.Second
)

// message is what a device sends to its server, and what chance and log know it by.
type message struct {
	name    string // such as TokenUpdate or an answer's request type
	subject string // for the draws of chance
	url     string
	media   string
	body    []byte
	attempt *attempt // set for an answer
}

type reply struct {
	status int
	body   []byte
}

func (r reply) ok() bool { return r.status >= 200 && r.status < 300 }

// acquire makes the caller the one that talks, until release is called.
func (d *Device) acquire(ctx context.Context) (release func(), err error) {
	select {
	case d.talk <- struct{}{}:
		return func() { <-d.talk }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// deliver sends a message until the server has answered it, through outages and offline spells, and returns
// the answer whatever it says. A restart of the device ends it with ErrRestarted.
func (d *Device) deliver(ctx context.Context, e *enrolment, boot int, m message) (reply, error) {
	pause := d.cfg.Backoff.Min
	for try := 0; ; try++ {
		r, err := d.exchange(ctx, e, boot, m)
		switch {
		case err == nil && r.status < 500 && r.status != http.StatusTooManyRequests:
			return r, nil
		case errors.Is(err, ErrRestarted) || ctx.Err() != nil:
			return reply{}, errors.Join(ctx.Err(), err)
		}
		if err := d.wait(ctx, boot, pause); err != nil {
			return reply{}, err
		}
		pause = min(2*pause, max(d.cfg.Backoff.Max, d.cfg.Backoff.Min))
	}
}

// wait pauses, and then stays until the device is online. A restart or a lost network cuts the pause short.
func (d *Device) wait(ctx context.Context, boot int, pause time.Duration) error {
	d.mu.Lock()
	link, current := d.state.link, d.state.boot == boot
	d.mu.Unlock()
	if !current {
		return ErrRestarted
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-link.Done():
	case <-ctx.Done():
		return ctx.Err()
	}
	d.mu.Lock()
	back := d.state.back
	d.mu.Unlock()
	select {
	case <-back:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// exchange sends a message once.
func (d *Device) exchange(ctx context.Context, e *enrolment, boot int, m message) (reply, error) {
	ctx, done, err := d.connected(ctx, boot)
	if err != nil {
		return reply{}, err
	}
	defer done()
	if d.strikes("lose-request", m.subject, d.cfg.Faults.LoseRequest) {
		return reply{}, errLost
	}
	r, err := d.post(ctx, e, m)
	if err != nil {
		return reply{}, err
	}
	if r.ok() && m.attempt != nil {
		d.accepted(m.attempt)
	}
	if d.strikes("lose-answer", m.subject, d.cfg.Faults.LoseAnswer) {
		return reply{}, errLost
	}
	return r, nil
}

// connected binds ctx to the device's present connection and takes one of the shared slots.
func (d *Device) connected(ctx context.Context, boot int) (context.Context, func(), error) {
	d.mu.Lock()
	link, online, current := d.state.link, d.state.online, d.state.boot == boot
	d.mu.Unlock()
	switch {
	case !current:
		return nil, nil, ErrRestarted
	case !online:
		return nil, nil, errOffline
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	stop := context.AfterFunc(link, cancel)
	leave := func() { stop(); cancel() }
	if d.cfg.Slots == nil {
		return ctx, leave, nil
	}
	select {
	case d.cfg.Slots <- struct{}{}:
		return ctx, func() { <-d.cfg.Slots; leave() }, nil
	case <-ctx.Done():
		leave()
		return nil, nil, ctx.Err()
	}
}

func (d *Device) post(ctx context.Context, e *enrolment, m message) (reply, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPut, m.url, bytes.NewReader(m.body))
	if err != nil {
		return reply{}, fmt.Errorf("making request for %s: %w", m.name, err)
	}
	r.Header.Set("Content-Type", m.media)
	r.Header.Set("User-Agent", "MDM-iOS/1.0")
	if flag(e.mdm, "SignMessage") {
		signature, err := e.identity.sign(m.body)
		if err != nil {
			return reply{}, err
		}
		r.Header.Set("Mdm-Signature", signature)
	}
	resp, err := e.client.Do(r)
	if err != nil {
		return reply{}, fmt.Errorf("sending %s: %w", m.name, err)
	}
	defer func() { _ = resp.Body.Close() }() // read to its end below
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxCommand))
	if err != nil {
		return reply{}, fmt.Errorf("reading the answer to %s: %w", m.name, err)
	}
	return reply{status: resp.StatusCode, body: body}, nil
}

// sign makes the Mdm-Signature header: a detached CMS signature over the body, in base64.
func (id *identity) sign(body []byte) (string, error) {
	signed, err := pkcs7.NewSignedData(body)
	if err != nil {
		return "", fmt.Errorf("signing message: %w", err)
	}
	signed.SetDigestAlgorithm(pkcs7.OIDDigestAlgorithmSHA256)
	if err := signed.AddSigner(id.cert, id.key, pkcs7.SignerInfoConfig{}); err != nil {
		return "", fmt.Errorf("signing message: %w", err)
	}
	signed.Detach()
	der, err := signed.Finish()
	if err != nil {
		return "", fmt.Errorf("signing message: %w", err)
	}
	return base64.StdEncoding.EncodeToString(der), nil
}

// client returns what talks to a server: the shared client, or for https with an identity one of the device's own,
// since a connection's certificate can't be shared.
func (c Config) client(serverURL string, id *identity) (*http.Client, error) {
	client := &http.Client{
		Transport: c.Client.Transport,
		// A device refuses to be redirected; the answer is taken as it is.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	if !strings.HasPrefix(serverURL, "https:") || (id == nil && c.Roots == nil) {
		return client, nil
	}
	base := c.Client.Transport
	if base == nil {
		base = http.DefaultTransport
	}
	shared, ok := base.(*http.Transport)
	if !ok {
		return nil, fmt.Errorf("a device certificate needs an *http.Transport, not %T", base)
	}
	own := shared.Clone()
	if own.TLSClientConfig == nil {
		own.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	if c.Roots != nil {
		own.TLSClientConfig.RootCAs = c.Roots
	}
	if id != nil {
		own.TLSClientConfig.Certificates = []tls.Certificate{{Certificate: [][]byte{id.cert.Raw}, PrivateKey: id.key, Leaf: id.cert}}
	}
	client.Transport = own
	return client, nil
}
