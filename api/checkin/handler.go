package checkin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"time"

	nanomdm "github.com/micromdm/nanomdm/mdm"
	"github.com/micromdm/nanomdm/service"

	"github.com/muster-mdm/muster/api/intake"
	"github.com/muster-mdm/muster/apple/mdm"
	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/store"
)

// Config holds the endpoint's settings; zero values mean the defaults.
type Config struct {
	// MaxCheckin bounds a check-in; default 1 MiB. An UnlockToken is the largest part of one, with a few KiB.
	MaxCheckin int64
	// MaxAnswer bounds an answer to a command; default 8 MiB: a ProfileList carries the certificates of all signers, some
	// 5 KiB a profile, an InstalledApplicationList all apps of a Mac.
	MaxAnswer int64
	// ExpiredGrace lets certificates in for a while after they expired; default 0.
	ExpiredGrace time.Duration
	// ClientHeader names the header in which a proxy that ends TLS hands over the device's certificate (RFC 9440, or
	// query-escaped PEM); "" = none. It counts only when the request comes from one of TrustedProxies.
	ClientHeader   string
	TrustedProxies []netip.Prefix
	// Now is the clock; default time.Now.
	Now func() time.Time
	Log *slog.Logger
}

func (c Config) complete() (Config, error) {
	if c.ClientHeader != "" && len(c.TrustedProxies) == 0 {
		return c, fmt.Errorf("header %s would be believed from anybody: name the proxies to trust", c.ClientHeader)
	}
	if c.MaxCheckin == 0 {
		c.MaxCheckin = 1 << 20
	}
	if c.MaxAnswer == 0 {
		c.MaxAnswer = 8 << 20
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	return c, nil
}

// Facts are the use cases behind check-ins; see [intake.Intake].
type Facts interface {
	Authenticated(ctx context.Context, e intake.Enrollment) (provision.Device, error)
	Activated(ctx context.Context, serial string, awaiting bool) (provision.Device, error)
	Renewed(ctx context.Context, id store.Identity) (news bool, err error)
	CheckedOut(ctx context.Context, serial string) (provision.Device, error)
	CheckedIn(ctx context.Context, serial string) (provision.Device, error)
	Answered(ctx context.Context, commandUUID string, a provision.Answer, info *store.Information) (store.Outcome, error)
}

// Parts are what the endpoint stands on.
type Parts struct {
	Store     *store.DB
	Storage   *mdm.Storage
	Authority Authority
	// Foreign is another authority whose certificates count, too; nil = none. They name the device's serial number as their
	// common name.
	Foreign Authority
	Facts   Facts
	// Title is what problems with a code are headed with: the REST interface's table.
	Title func(provision.Code) string
}

// Handler is the MDM endpoint, for ServerURL and CheckInURL alike.
type Handler struct {
	config  Config
	who     *doorkeeper
	facts   Facts
	service service.CheckinAndCommandService
	title   func(provision.Code) string
	log     *slog.Logger
}

// New returns the endpoint. It fails when the settings contradict each other.
func New(p Parts, c Config) (*Handler, error) {
	c, err := c.complete()
	if err != nil {
		return nil, err
	}
	recorder := &recorder{
		CheckinAndCommandService: mdm.Core(p.Storage, c.Log), store: p.Store, facts: p.Facts, log: c.Log,
	}
	return &Handler{
		config:  c,
		who:     &doorkeeper{config: c, authority: p.Authority, foreign: p.Foreign, store: p.Store, facts: p.Facts},
		facts:   p.Facts,
		service: mdm.Authorized(recorder, p.Storage, c.Log),
		title:   p.Title,
		log:     c.Log,
	}, nil
}

// messageLimit bounds what one message costs; devices give up after a minute.
const messageLimit = 45 * time.Second

const checkinMedia = "application/x-apple-aspen-mdm-checkin"

// ServeHTTP takes a check-in or an answer to a command and returns what the device asked for, or its next command.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPut && r.Method != http.MethodPost {
		w.Header().Set("Allow", "PUT, POST")
		h.refuse(w, r, provision.Errorf(provision.MethodNotAllowed, "Devices use PUT."))
		return
	}
	reply, err := h.serve(w, r)
	if err != nil {
		h.refuse(w, r, err)
		return
	}
	if len(reply) > 0 {
		w.Header().Set("Content-Type", "application/xml; charset=UTF-8")
		w.Header().Set("X-Content-Type-Options", "nosniff")
	}
	if _, err := w.Write(reply); err != nil { //nolint:gosec // a property list for a device, never a page
		h.log.DebugContext(r.Context(), "answer to a device lost", "error", err)
	}
}

func (h *Handler) serve(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	shown, err := h.who.proof(r)
	if err != nil {
		return nil, err
	}
	checkin := strings.HasPrefix(r.Header.Get("Content-Type"), checkinMedia)
	limit := h.config.MaxAnswer
	if checkin {
		limit = h.config.MaxCheckin
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return nil, intake.TooLarge("The message", limit)
	case err != nil:
		return nil, malformed("The message can't be read to its end.")
	}
	id, err := h.who.identify(r.Context(), shown, body)
	if err != nil {
		return nil, err
	}
	// A device that hangs up, or whose battery dies, has said what it said: nothing is left half done on its account.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), messageLimit)
	defer cancel()
	take := h.answer
	if checkin {
		take = h.checkin
	}
	reply, err := take(ctx, id, body)
	if err != nil || !id.AwaitsCheckIn {
		return reply, err
	}
	_, err = h.facts.CheckedIn(ctx, id.Serial)
	return reply, err
}

func (h *Handler) checkin(ctx context.Context, id caller, body []byte) ([]byte, error) {
	message, err := readCheckin(body)
	if err != nil {
		return nil, err
	}
	if err := id.mayCheckin(message); err != nil {
		return nil, err
	}
	m, authenticates := message.(*nanomdm.Authenticate)
	switch {
	case id.over:
		return nil, nil // a CheckOut that comes again
	case authenticates:
		err = h.who.mayTake(ctx, id, m)
	}
	if err == nil {
		id, err = h.who.renew(ctx, id, authenticates)
	}
	if err != nil {
		return nil, err
	}
	return dispatch(h.service, id.request(ctx), message)
}

func (h *Handler) answer(ctx context.Context, id caller, body []byte) ([]byte, error) {
	results, err := readAnswer(body)
	if err != nil {
		return nil, err
	}
	if err := id.speaksFor(&results.Enrollment); err != nil {
		return nil, err
	}
	if id.over {
		return nil, checkedOut(id.Serial)
	}
	if id, err = h.who.renew(ctx, id, false); err != nil {
		return nil, err
	}
	next, err := h.service.CommandAndReportResults(id.request(ctx), results)
	if err != nil || next == nil {
		return nil, err
	}
	return next.Raw, nil
}
