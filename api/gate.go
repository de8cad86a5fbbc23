package api

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/muster-mdm/muster/api/intake"
	"github.com/muster-mdm/muster/api/throttle"
	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/store"
)

// gate lets requests in.
type gate struct {
	config Config
	limits *throttle.Throttle
}

type callerKey struct{}

// caller is whose request it is, with the secret that it came with.
type caller struct {
	store.Token
	secret    string
	permitted bool
}

func callerOf(ctx context.Context) (*caller, bool) {
	c, ok := ctx.Value(callerKey{}).(*caller)
	return c, ok
}

// actorOf is the caller as the use cases know it.
func actorOf(ctx context.Context) intake.Actor {
	c, ok := callerOf(ctx)
	if !ok {
		return intake.Actor{Source: provision.FromAPI}
	}
	return intake.Actor{ID: c.ID, Name: c.Name, Source: provision.FromAPI}
}

// bounded limits time and size.
func (g *gate) bounded(o *operation) echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			c.Set(routeKey, o.id)
			ctx, cancel := context.WithTimeout(c.Request().Context(), g.config.RequestTimeout)
			defer cancel()
			r := c.Request().WithContext(ctx)
			r.Body = http.MaxBytesReader(c.Response(), r.Body, o.maxBody)
			c.SetRequest(r)
			return next(c)
		}
	}
}

const challenge = `Bearer realm="muster"`

// authenticated finds the caller by the bearer token.
func (g *gate) authenticated(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		scheme, secret, _ := strings.Cut(c.Request().Header.Get(echo.HeaderAuthorization), " ")
		if !strings.EqualFold(scheme, "Bearer") || secret == "" {
			return faultf(codeUnauthorized, "The request has no token; send Authorization: Bearer mst_….").with(echo.HeaderWWWAuthenticate, challenge)
		}
		secret = strings.TrimSpace(secret)
		token, err := g.config.DB.TokenOf(c.Request().Context(), secret)
		if provision.CodeOf(err) == provision.NotFound {
			return faultf(codeUnauthorized, "%s", err.Error()).with(echo.HeaderWWWAuthenticate, challenge+`, error="invalid_token"`)
		}
		if err != nil {
			return err
		}
		who := &caller{Token: token, secret: secret}
		c.SetRequest(c.Request().WithContext(context.WithValue(c.Request().Context(), callerKey{}, who)))
		return next(c)
	}
}

// limited slows a token down that asks too often.
func (g *gate) limited(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		who, _ := callerOf(c.Request().Context())
		if wait := g.limits.Wait(who.ID); wait > 0 {
			seconds := throttle.Seconds(wait)
			return faultf(provision.RateLimited, "This token asks too often; wait %s s.", seconds).with("Retry-After", seconds)
		}
		return next(c)
	}
}

// permitted lets in whose role is enough.
func (g *gate) permitted(o *operation) echo.MiddlewareFunc {
	least := leastRole[o.id]
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			who, _ := callerOf(c.Request().Context())
			if !who.Role.Includes(least) {
				return faultf(codeForbidden, "This asks for the role %s; the token's is %s.", least, who.Role)
			}
			who.permitted = true
			return next(c)
		}
	}
}

// onlyPermitted is the second lock: no operation runs that the gate did not let in, however it was registered.
func onlyPermitted(next StrictHandlerFunc, _ string) StrictHandlerFunc {
	return func(c echo.Context, request any) (any, error) {
		who, ok := callerOf(c.Request().Context())
		if !ok || !who.permitted {
			return nil, errors.New("an operation was reached past the gate")
		}
		return next(c, request)
	}
}
