package api

import (
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"regexp"
	"runtime/debug"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"
)

// Keys of the echo context.
const (
	requestIDKey = "request_id"
	routeKey     = "route"
	codeKey      = "code"
)

var tidyID = regexp.MustCompile(`^[A-Za-z0-9._-]{8,64}$`)

// requestID takes the caller's X-Request-Id if it is tidy, and makes one otherwise.
func requestID(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		id := c.Request().Header.Get(echo.HeaderXRequestID)
		if !tidyID.MatchString(id) {
			id = rand.Text()
		}
		c.Set(requestIDKey, id)
		c.Response().Header().Set(echo.HeaderXRequestID, id)
		return next(c)
	}
}

func idOf(c echo.Context) string {
	id, _ := c.Get(requestIDKey).(string)
	return id
}

// routeOf names what was asked for in few different words: the operation, or the mounted path.
func routeOf(c echo.Context) string {
	if route, ok := c.Get(routeKey).(string); ok {
		return route
	}
	return "none"
}

type metrics struct {
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
}

func newMetrics(r *prometheus.Registry) (*metrics, error) {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "muster_http_requests_total", Help: "Requests answered.",
		}, []string{"method", "route", "status"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "muster_http_request_seconds", Help: "Time to answer a request.", Buckets: prometheus.ExponentialBuckets(0.001, 2.5, 11),
		}, []string{"method", "route"}),
	}
	if err := errors.Join(r.Register(m.requests), r.Register(m.seconds)); err != nil {
		return nil, fmt.Errorf("registering the metrics: %w", err)
	}
	return m, nil
}

var methods = map[string]bool{
	http.MethodGet: true, http.MethodHead: true, http.MethodPost: true, http.MethodPut: true, http.MethodPatch: true,
	http.MethodDelete: true, http.MethodOptions: true,
}

// logged writes one line for each request and counts it. Queries are left out: they hold names.
func logged(log *slog.Logger, m *metrics) echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			began := time.Now()
			broken := false
			if err := next(c); err != nil {
				broken = c.Response().Committed
				c.Error(err) // so that the status is known here
			}
			took, r := time.Since(began), c.Request()
			method := r.Method
			if !methods[method] {
				method = "other" // a caller's inventions must not become label values
			}
			status := strconv.Itoa(c.Response().Status)
			m.requests.WithLabelValues(method, routeOf(c), status).Inc()
			m.seconds.WithLabelValues(method, routeOf(c)).Observe(took.Seconds())
			attrs := []any{
				"request_id", idOf(c), "method", r.Method, "path", r.URL.Path, "route", routeOf(c), "status", c.Response().Status,
				"bytes", c.Response().Size, "duration_ms", took.Milliseconds(), "remote", c.RealIP(),
			}
			if code, ok := c.Get(codeKey).(string); ok {
				attrs = append(attrs, "code", code)
			}
			if p, ok := callerOf(r.Context()); ok {
				attrs = append(attrs, "token_id", p.ID)
			}
			log.InfoContext(r.Context(), "request answered", attrs...)
			if broken {
				// Ended in an orderly way, half of a result would look like all of it.
				panic(http.ErrAbortHandler)
			}
			return nil
		}
	}
}

// recovered turns a panic into an error, so that one bad request doesn't take the others down.
func recovered(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) (err error) {
		defer func() {
			switch r := recover(); r {
			case nil:
			case http.ErrAbortHandler:
				panic(r)
			default:
				err = fmt.Errorf("panic: %v\n%s", r, debug.Stack())
			}
		}()
		return next(c)
	}
}

func securityHeaders(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		h := c.Response().Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		if c.Request().URL.Path == "/v1" || strings.HasPrefix(c.Request().URL.Path, "/v1/") {
			h.Set("Cache-Control", "no-store")
			h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
		}
		return next(c)
	}
}

// wellFormed refuses addresses that no name can have and that PostgreSQL can't read.
func wellFormed(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		u := c.Request().URL
		query, err := url.QueryUnescape(u.RawQuery)
		for _, text := range []string{u.Path, query} {
			if err != nil || strings.ContainsRune(text, 0) || !utf8.ValidString(text) {
				return faultf(codeInvalidParameter, "The address is not well-formed text.")
			}
		}
		return next(c)
	}
}
