package enroll

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/muster-mdm/muster/apple/identity"
	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/store"
)

// Sessions are the web views of devices that are being set up.
type Sessions interface {
	BeginSignIn(ctx context.Context, secret [sha256.Size]byte, s store.SignInSession, valid time.Duration) error
	// SignInSession fails with [provision.SignInExpired].
	SignInSession(ctx context.Context, secret [sha256.Size]byte) (store.SignInSession, error)
	KeepSignInFlow(ctx context.Context, secret [sha256.Size]byte, directory string, flow json.RawMessage) error
	// TakeSignInFlow returns what was kept, once.
	TakeSignInFlow(ctx context.Context, secret [sha256.Size]byte) (directory string, flow json.RawMessage, err error)
}

// visit is a web view of a device whose first request said, signed, which device it is.
type visit struct {
	secret  string
	machine identity.MachineInfo
	epoch   int
}

// visitLifetime is for people who have to look for their password.
const visitLifetime = 30 * time.Minute

func (v visit) hash() [sha256.Size]byte { return sha256.Sum256([]byte(v.secret)) }

// token is in the visit's forms, and nobody else can make it.
func (v visit) token() string {
	mac := hmac.New(sha256.New, []byte(v.secret))
	_, _ = mac.Write([]byte("form"))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// cookieName binds the cookie to the host where it can be: no other host of the domain can set it then.
func (w *Web) cookieName() string {
	if w.secure {
		return "__Host-muster-sign-in"
	}
	return "muster-sign-in"
}

// begin begins a visit. Whatever cookie came is forgotten.
func (w *Web) begin(rw http.ResponseWriter, r *http.Request, m identity.MachineInfo, d provision.Device) (visit, error) {
	v := visit{secret: rand.Text(), machine: m, epoch: d.Activation.Epoch}
	machine, err := json.Marshal(m)
	if err != nil {
		return v, fmt.Errorf("writing what %s says of itself: %w", m.Serial, err)
	}
	s := store.SignInSession{Serial: m.Serial, Epoch: v.epoch, Machine: machine}
	if err := w.sessions.BeginSignIn(r.Context(), v.hash(), s, visitLifetime); err != nil {
		return v, err
	}
	// Lax: an identity provider's page leads back here.
	http.SetCookie(rw, &http.Cookie{ //nolint:gosec // only a server without TLS, of a developer, lets it go in clear
		Name: w.cookieName(), Value: v.secret, Path: "/", MaxAge: int(visitLifetime / time.Second),
		HttpOnly: true, Secure: w.secure, SameSite: http.SameSiteLaxMode,
	})
	return v, nil
}

// visitOf finds the visit that a request goes on with. A device that shows who it is must be the one that began it.
func (w *Web) visitOf(r *http.Request) (visit, error) {
	if wait := w.door.addresses.Wait(w.door.addressOf(r)); wait > 0 {
		return visit{}, tooOftenError{wait}
	}
	cookie, err := r.Cookie(w.cookieName())
	if err != nil {
		return visit{}, provision.Errorf(provision.SignInExpired, "This page is for devices that are being set up. Go back on the device, and begin again.")
	}
	v := visit{secret: cookie.Value}
	s, err := w.sessions.SignInSession(r.Context(), v.hash())
	if err != nil {
		return visit{}, err
	}
	v.epoch = s.Epoch
	if err := json.Unmarshal(s.Machine, &v.machine); err != nil {
		return visit{}, fmt.Errorf("reading what %s says of itself: %w", s.Serial, err)
	}
	if r.Header.Get(deviceInfoHeader) == "" {
		return v, nil
	}
	if m, err := w.door.OpenHeader(r); err != nil || m.Serial != v.machine.Serial {
		return visit{}, provision.Errorf(provision.IdentityRefused, "This sign-in was begun on another device. Go back, and begin again.")
	}
	return v, nil
}
