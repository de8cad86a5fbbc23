package api

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/labstack/echo/v4"
)

type verbs map[string]echo.HandlerFunc

// router registers addresses that end in a verb, such as /v1/devices/{serial}:hold: echo takes a parameter to reach up
// to the next slash, so all verbs of one address share a route.
type router struct {
	*echo.Echo
	verbs map[string]verbs
}

// POST registers a handler; the generated code escapes the colon of a verb.
func (r *router) POST(path string, h echo.HandlerFunc, m ...echo.MiddlewareFunc) *echo.Route {
	base, verb, ok := strings.Cut(path, `\:`)
	if last := base[strings.LastIndexByte(base, '/')+1:]; !ok || !strings.HasPrefix(last, ":") {
		return r.Echo.POST(path, h, m...)
	}
	for i := len(m) - 1; i >= 0; i-- {
		h = m[i](h)
	}
	known := r.verbs[base]
	if known == nil {
		known = verbs{}
		r.verbs[base] = known
	}
	known[verb] = h
	return r.Echo.POST(base, known.dispatch)
}

func (v verbs) dispatch(c echo.Context) error {
	values := c.ParamValues()
	last := len(values) - 1
	target, err := url.PathUnescape(values[last])
	if err != nil {
		return echo.ErrNotFound
	}
	colon := strings.LastIndexByte(target, ':')
	if colon < 0 {
		c.Response().Header().Set(echo.HeaderAllow, http.MethodGet)
		return echo.ErrMethodNotAllowed
	}
	h, ok := v[target[colon+1:]]
	if !ok {
		return echo.ErrNotFound
	}
	values[last] = target[:colon]
	c.SetParamValues(values...)
	return h(c)
}
