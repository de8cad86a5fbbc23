package api

import (
	"context"
	"net/http"
	"runtime"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// process answers for the state of the server itself, without a token.
type process struct {
	Config
	contract *contract
}

// checkLimit bounds each check of /readyz.
const checkLimit = 2 * time.Second

func (p *process) mount(e *echo.Echo) {
	metrics := promhttp.HandlerFor(p.Registry, promhttp.HandlerOpts{})
	for path, h := range map[string]echo.HandlerFunc{
		"/livez":        p.livez,
		"/readyz":       p.readyz,
		"/metrics":      echo.WrapHandler(metrics),
		"/version":      p.version,
		"/openapi.json": p.openapi,
	} {
		e.GET(path, func(c echo.Context) error {
			c.Set(routeKey, path)
			return h(c)
		})
	}
}

func (p *process) livez(c echo.Context) error {
	return c.JSON(http.StatusOK, Health{Status: HealthStatusOk})
}

// readyz requires PostgreSQL only: while Temporal is down, requests are accepted and delivered later.
func (p *process) readyz(c echo.Context) error {
	ctx := c.Request().Context()
	checks := map[string]HealthChecks{"postgres": p.check(ctx, p.DB.Ping)}
	if p.Temporal != nil {
		checks["temporal"] = p.check(ctx, p.Temporal)
	}
	h, status := Health{Status: HealthStatusOk, Checks: &checks}, http.StatusOK
	if checks["postgres"] != HealthChecksOk {
		h.Status, status = HealthStatusUnavailable, http.StatusServiceUnavailable
	}
	return c.JSON(status, h)
}

func (p *process) check(ctx context.Context, try func(context.Context) error) HealthChecks {
	ctx, cancel := context.WithTimeout(ctx, checkLimit)
	defer cancel()
	if err := try(ctx); err != nil {
		p.Log.WarnContext(ctx, "check failed", "error", err)
		return HealthChecksUnavailable
	}
	return HealthChecksOk
}

func (p *process) version(c echo.Context) error {
	v := Version{Version: p.Build.Version, Commit: given(p.Build.Commit), BuiltAt: given(p.Build.BuiltAt), Go: runtime.Version()}
	return c.JSON(http.StatusOK, v)
}

func (p *process) openapi(c echo.Context) error {
	return c.JSONBlob(http.StatusOK, p.contract.json)
}
