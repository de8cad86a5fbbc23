package sim

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
)

// Move is what a person does on a page: send a form, or follow a link.
type Move struct {
	Form *Form
	Link string // its URL
}

// Person uses the web view of a device. An error gives up; the device isn't enrolled then.
type Person interface {
	Use(ctx context.Context, p Page) (Move, error)
}

// Credentials is a person who signs in wherever a password is asked for. A page that asks a second time within one web view
// has refused them.
type Credentials struct {
	Account, Password string
	tried             bool
}

// ErrSignIn is returned when the page didn't take the credentials, or never asked for any.
var ErrSignIn = errors.New("the person could not sign in")

// Use fills in the form that has a password.
func (c *Credentials) Use(_ context.Context, p Page) (Move, error) {
	if p.First {
		c.tried = false
	}
	for _, f := range p.Forms {
		if !f.Has("password") {
			continue
		}
		if c.tried {
			return Move{}, fmt.Errorf("%w; the page says: %s", ErrSignIn, p.Text)
		}
		c.tried = true
		if !f.Set("text", c.Account) {
			f.Set("email", c.Account)
		}
		f.Set("password", c.Password)
		return Move{Form: &f}, nil
	}
	return Move{}, fmt.Errorf("%w: no page asks for a password; it says: %s", ErrSignIn, p.Text)
}

const (
	deviceInfoHeader = "x-apple-aspen-deviceinfo"
	mostPages        = 20
)

// browse gets the enrollment profile by the web view: the first request says which device it is, cookies carry that on. What
// a network or a server in trouble made fail begins anew, as when the person tries again.
func (d *Device) browse(ctx context.Context, boot int, a Activation) ([]byte, error) {
	if d.cfg.Person == nil {
		return nil, fmt.Errorf("%w: nobody uses the device", ErrSignIn)
	}
	trusting, err := d.cfg.trusting(a.Anchors)
	if err != nil {
		return nil, err
	}
	client, err := trusting.client(a.WebURL, nil)
	if err != nil {
		return nil, err
	}
	if client.Transport != d.cfg.Client.Transport {
		defer client.CloseIdleConnections()
	}
	client.CheckRedirect = nil // unlike the device itself, a web view follows
	var profile []byte
	err = d.persist(ctx, boot, "web view", func(ctx context.Context) error {
		if client.Jar, err = cookiejar.New(nil); err != nil {
			return fmt.Errorf("opening the web view: %w", err)
		}
		view := &webView{device: d, client: client, home: a.WebURL}
		profile, err = view.run(ctx)
		return err
	})
	return profile, err
}

// webView is the small browser in Setup Assistant.
type webView struct {
	device *Device
	client *http.Client
	home   string
}

func (v *webView) run(ctx context.Context) ([]byte, error) {
	info, err := v.device.MachineInfo()
	if err != nil {
		return nil, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, v.home, http.NoBody)
	if err != nil {
		return nil, fmt.Errorf("opening the web view: %w", err)
	}
	r.Header.Set(deviceInfoHeader, base64.StdEncoding.EncodeToString(info))
	for i := range mostPages {
		profile, page, err := v.load(r)
		if err != nil || profile != nil {
			return profile, err
		}
		page.First = i == 0
		move, err := v.device.cfg.Person.Use(ctx, page)
		if err != nil {
			return nil, err
		}
		if r, err = move.request(ctx); err != nil {
			return nil, err
		}
	}
	return nil, fmt.Errorf("%w within %d pages", ErrSignIn, mostPages)
}

// load gets a page, or the profile that the pages lead to. A profile counts only from the host that the device was sent to.
func (v *webView) load(r *http.Request) ([]byte, Page, error) {
	r.Header.Set("User-Agent", "Mozilla/5.0 (iPhone; CPU iPhone OS) AppleWebKit Setup Assistant")
	resp, err := v.client.Do(r)
	if err != nil {
		return nil, Page{}, fmt.Errorf("loading a page: %w", err)
	}
	defer func() { _ = resp.Body.Close() }() // read to its end below
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxProfile))
	if err != nil {
		return nil, Page{}, fmt.Errorf("reading a page: %w", err)
	}
	media, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	switch {
	case media == profileMedia && resp.StatusCode == http.StatusOK:
		if home, err := url.Parse(v.home); err != nil || home.Host != resp.Request.URL.Host {
			return nil, Page{}, fmt.Errorf("the profile comes from %s instead of the host that the device was sent to", resp.Request.URL.Host)
		}
		return body, Page{}, nil
	case media == "text/html":
		page, err := readPage(bytes.NewReader(body), resp.Request.URL, resp.StatusCode)
		return nil, page, err
	case resp.StatusCode == http.StatusForbidden:
		return nil, Page{}, v.device.forbidden(body)
	case resp.StatusCode != http.StatusOK:
		return nil, Page{}, &HTTPError{Message: "web view", Status: resp.StatusCode, Body: beginning(body)}
	}
	return nil, Page{}, fmt.Errorf("the web view can't show %q", media)
}

func (m Move) request(ctx context.Context) (*http.Request, error) {
	method, target, body := http.MethodGet, m.Link, ""
	if f := m.Form; f != nil {
		u, err := url.Parse(f.URL)
		if err != nil {
			return nil, fmt.Errorf("sending a form: %w", err)
		}
		if method = f.Method; method == http.MethodPost {
			body = f.sent().Encode()
		} else {
			u.RawQuery = f.sent().Encode()
		}
		target = u.String()
	}
	r, err := http.NewRequestWithContext(ctx, method, target, strings.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("leaving a page: %w", err)
	}
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		if u, err := url.Parse(target); err == nil {
			r.Header.Set("Origin", u.Scheme+"://"+u.Host)
			r.Header.Set("Sec-Fetch-Site", "same-origin")
		}
	}
	return r, nil
}
