package enroll

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/muster-mdm/muster/api/intake"
	"github.com/muster-mdm/muster/apple/identity"
	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/store"
)

// Addresses of the pages. Device profiles at Apple and identity providers hold them, so they never change.
const (
	// SignInPath is the configuration_web_url of device profiles whose devices their users activate.
	SignInPath = "/enroll/sign-in"
	// ReturnPath is where identity providers send browsers back to.
	ReturnPath = "/enroll/return"

	leavePath = "/enroll/sign-in/with"
)

// deviceInfoHeader is on the first request of a web view (Apple: Authenticating Through Web Views).
const deviceInfoHeader = "X-Apple-Aspen-Deviceinfo"

// People sign in: see [intake.Intake].
type People interface {
	SignInOffer(ctx context.Context) (intake.SignInOffer, error)
	TrySignIn(ctx context.Context, t intake.SignInTry) (intake.Identified, error)
	BeginSignIn(ctx context.Context, provider string) (redirect string, flow json.RawMessage, err error)
	FinishSignIn(ctx context.Context, provider string, flow json.RawMessage, query map[string][]string) (intake.Identified, error)
	SignedIn(ctx context.Context, serial string, epoch int, id intake.Identified, give intake.Give) (provision.Kind, error)
}

// Web is what people see on a device that they activate themselves: a page to sign in, in the web view of Setup Assistant. Right
// credentials are answered with the enrollment profile, in the transaction that assigns the device; wrong ones change nothing but
// the count of tries.
//
//	GET, signed ──▶ page ──▶ POST: name and password ──────────────────────────▶ assignment and profile
//	                     └─▶ GET: to an identity provider ──▶ GET: back from it ──▶ assignment and profile
type Web struct {
	door     *Door
	people   People
	sessions Sessions
	secure   bool
	handler  http.Handler
	outcomes *prometheus.CounterVec
}

// NewWeb returns the pages beside a door, for the public URL of this server.
func NewWeb(d *Door, p People, s Sessions, publicURL string) (*Web, error) {
	u, err := url.Parse(publicURL)
	if err != nil || u.Host == "" {
		return nil, fmt.Errorf("the public address %q is none", publicURL)
	}
	w := &Web{
		door: d, people: p, sessions: s, secure: u.Scheme == "https",
		outcomes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "muster_sign_ins_total", Help: "Tries of people to sign in on devices during setup, by what came of them.",
		}, []string{"outcome"}),
	}
	if d.config.Metrics != nil {
		if err := d.config.Metrics.Register(w.outcomes); err != nil {
			return nil, err
		}
	}
	pages := http.NewServeMux()
	pages.HandleFunc("GET "+SignInPath, w.arrive)
	pages.HandleFunc("POST "+SignInPath, w.signIn)
	pages.HandleFunc("GET "+leavePath, w.leave)
	pages.HandleFunc("GET "+ReturnPath, w.comeBack)
	// A proxy may pass on another host than the one that browsers see.
	ours := http.NewCrossOriginProtection()
	if err := ours.AddTrustedOrigin(u.Scheme + "://" + u.Host); err != nil {
		return nil, fmt.Errorf("the public address: %w", err)
	}
	ours.SetDenyHandler(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.stop(rw, r, identity.MachineInfo{}, foreignForm())
	}))
	w.handler = ours.Handler(pages)
	return w, nil
}

func foreignForm() error {
	return provision.Errorf(provision.SignInStateInvalid, "The form doesn't come from a page of this server. Go back, and begin again.")
}

// ServeHTTP shows a page, or gives a device its profile.
func (w *Web) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	// HEAD is taken for GET otherwise, which signs people in, and its answer has no room for the profile.
	if r.Method != http.MethodGet && r.Method != http.MethodPost {
		rw.Header().Set("Allow", "GET, POST")
		w.stop(rw, r, identity.MachineInfo{}, provision.Errorf(provision.MethodNotAllowed, "Browsers get these pages by GET and send them by POST."))
		return
	}
	w.handler.ServeHTTP(rw, r)
}

// arrive begins a visit, or shows the page of one again.
func (w *Web) arrive(rw http.ResponseWriter, r *http.Request) {
	if r.Header.Get(deviceInfoHeader) == "" {
		v, err := w.visitOf(r)
		if err != nil {
			w.stop(rw, r, v.machine, err)
			return
		}
		w.show(rw, r, v, "", nil)
		return
	}
	m, err := w.door.OpenHeader(r)
	if err != nil {
		w.stop(rw, r, m, err)
		return
	}
	w.welcome(rw, r, m)
}

// welcome shows a device that may enroll the page. One that an administrator activates needs none: it was told of the page before
// its profile was changed.
func (w *Web) welcome(rw http.ResponseWriter, r *http.Request, m identity.MachineInfo) {
	e, err := w.door.entrant(r.Context(), m)
	if err == nil && e.ActivationMode != byUser {
		var profile []byte
		if profile, err = w.door.enroller.profileFor(r.Context(), m.Serial); err == nil {
			w.door.Give(rw, r, m, profile)
			return
		}
	}
	var v visit
	if err == nil {
		v, err = w.begin(rw, r, m, e.Device)
	}
	if err != nil {
		w.stop(rw, r, m, err)
		return
	}
	w.show(rw, r, v, "", nil)
}

// show shows the page, with what was wrong the last time.
func (w *Web) show(rw http.ResponseWriter, r *http.Request, v visit, account string, wrong error) {
	e, err := w.door.entrant(r.Context(), v.machine)
	var offer intake.SignInOffer
	if err == nil {
		offer, err = w.people.SignInOffer(r.Context())
	}
	if err != nil {
		w.stop(rw, r, v.machine, err)
		return
	}
	page := signInPage{
		frame: w.frame(v.machine, e), Action: SignInPath, Token: v.token(), Form: formOf(offer), Domains: offer.Domains,
		Providers: linksOf(offer), Account: account,
	}
	if wrong != nil {
		page.blame(wrong)
	} else if len(offer.Domains)+len(offer.Providers) == 0 {
		page.Alert = "Nobody can sign in here yet. Ask your administrator, who can set up a directory."
	}
	w.write(rw, r, http.StatusOK, signInTemplate, page)
}

// stop says why the device can't go on. What has a form that devices understand gets that.
func (w *Web) stop(rw http.ResponseWriter, r *http.Request, m identity.MachineInfo, err error) {
	var update updateRequiredError
	if errors.As(err, &update) || provision.CodeOf(err) == provision.DeviceNotFound {
		w.door.Refuse(rw, r, m, err)
		return
	}
	p := w.door.describe(rw, err)
	w.door.note(rw, r, m, p, err)
	e := store.Entrant{}
	if m.Serial != "" {
		// Whom to ask is a help; without it the page still says what is wrong.
		e, _ = w.door.entrants.Entrant(r.Context(), m.Serial)
	}
	page := stopPage{w.frame(m, e)}
	page.Alert = p.Detail
	w.write(rw, r, p.Status, stopTemplate, page)
}
