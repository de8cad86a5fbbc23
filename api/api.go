// Package api serves Muster over HTTP: the REST interface that openapi.yaml lays down, the state of the process, and the
// handlers of other protocols that it is given.
package api

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/muster-mdm/muster/api/intake"
	"github.com/muster-mdm/muster/api/throttle"
	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/store"
)

//go:generate go tool oapi-codegen -config server.yaml openapi.yaml
//go:generate go tool oapi-codegen -config client/client.yaml openapi.yaml

// EnrollmentProfiles makes the profile by which one device enrolls. It fails with [provision.DeviceNotFound] and
// [provision.DeviceReleased].
type EnrollmentProfiles interface {
	EnrollmentProfile(ctx context.Context, serial string) ([]byte, error)
}

// Build says which build this is.
type Build struct {
	Version, Commit, BuiltAt string
}

// Config is what the server is made of. DB is required.
type Config struct {
	DB *store.DB
	// Intake carries out what REST is asked; nil leaves REST out, for a server of MDM alone.
	Intake *intake.Intake
	// Policy is that of the workflows; devices explain themselves by it.
	Policy             provision.Policy
	EnrollmentProfiles EnrollmentProfiles
	// Temporal reports whether Temporal can be reached; nil leaves it out of /readyz.
	Temporal func(context.Context) error
	// MDM, Checkin, SCEP and Enroll are mounted at /mdm, /checkin, /scep and /enroll, and below; nil ones are not.
	MDM, Checkin, SCEP, Enroll http.Handler
	// Documents has devices fetch the documents that were uploaded, at [DocumentsPath].
	Documents bool
	Build     Build
	// URL is where people reach the API; results of imports link to it. "" = links have no host.
	URL string
	// Log is [slog.Default] when nil.
	Log *slog.Logger
	// Registry has the metrics; nil makes a new one.
	Registry *prometheus.Registry
	// RatePerSecond and Burst limit the requests of one token; 0 = 50 and 200.
	RatePerSecond float64
	Burst         int
	// RequestTimeout bounds a REST request; 0 = 30 s. It must stay well below two minutes, after which a request with an
	// Idempotency-Key counts as lost.
	RequestTimeout time.Duration
}

func (c *Config) setDefaults() error {
	if c.DB == nil {
		return errors.New("making the API: no store")
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	if c.Registry == nil {
		c.Registry = prometheus.NewRegistry()
	}
	if c.RatePerSecond <= 0 {
		c.RatePerSecond = 50
	}
	if c.Burst <= 0 {
		c.Burst = 200
	}
	if c.RequestTimeout <= 0 {
		c.RequestTimeout = 30 * time.Second
	}
	if c.RequestTimeout > time.Minute {
		return errors.New("making the API: the request timeout is longer than a minute")
	}
	return nil
}

// New puts the server together. Its Server field has time-outs set; start it with Start, or hand it to an http.Server
// as the handler.
func New(c Config) (*echo.Echo, error) {
	if err := c.setDefaults(); err != nil {
		return nil, err
	}
	contract, err := loadContract()
	if err != nil {
		return nil, err
	}
	metrics, err := newMetrics(c.Registry)
	if err != nil {
		return nil, err
	}
	e := echo.New()
	e.HideBanner, e.HidePort = true, true
	e.IPExtractor = echo.ExtractIPDirect()
	e.Binder = contract
	e.HTTPErrorHandler = problems{c.Log}.write
	e.Server.ReadHeaderTimeout = 10 * time.Second
	e.Server.ReadTimeout = time.Minute
	e.Server.WriteTimeout = 2 * time.Minute
	e.Server.IdleTimeout = 2 * time.Minute
	e.Server.MaxHeaderBytes = 64 << 10
	e.Server.ErrorLog = slog.NewLogLogger(c.Log.Handler(), slog.LevelWarn)
	e.Pre(requestID, logged(c.Log, metrics), recovered, securityHeaders, wellFormed)

	(&process{Config: c, contract: contract}).mount(e)
	mount(e, "/mdm", c.MDM)
	mount(e, "/checkin", c.Checkin)
	mount(e, "/scep", c.SCEP)
	mount(e, "/enroll", c.Enroll)
	if c.Documents {
		mountDocuments(e, c)
	}
	if c.Intake != nil {
		mountREST(e, c, contract)
	}
	return e, nil
}

func mountREST(e *echo.Echo, c Config, contract *contract) {
	gate := &gate{config: c, limits: throttle.New(c.RatePerSecond, c.Burst)}
	each := map[string][]echo.MiddlewareFunc{}
	for id, op := range contract.operations {
		each[id] = []echo.MiddlewareFunc{
			gate.bounded(op), gate.authenticated, gate.limited, gate.permitted(op), op.checked, op.negotiated, gate.repeatable(op),
		}
	}
	handler := NewStrictHandler(&rest{Config: c}, []StrictMiddlewareFunc{onlyPermitted})
	RegisterHandlersWithOptions(&router{Echo: e, verbs: map[string]verbs{}}, handler, RegisterHandlersOptions{OperationMiddlewares: each})
}

func mount(e *echo.Echo, path string, h http.Handler) {
	if h == nil {
		return
	}
	wrapped := func(c echo.Context) error {
		c.Set(routeKey, path)
		h.ServeHTTP(c.Response(), c.Request())
		return nil
	}
	e.Any(path, wrapped)
	e.Any(path+"/*", wrapped)
}
