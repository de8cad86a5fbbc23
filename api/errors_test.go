package api_test

import (
	"context"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/api"
	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/store"
)

// uploads are taken as streams, and recognised by their content instead of a key.
var uploads = map[string]bool{"createAssignmentImport": true, "createUnassignImport": true, "putDocumentContent": true}

func TestEachOperationRefusesWhatTheContractDoesNotKnow(t *testing.T) {
	s := serve(t)
	s.operations(func(id, method, path string) {
		if expected[id] == anybody {
			return
		}
		send := func(change func(*request)) answer {
			r := request{method: method, path: path}
			change(&r)
			return s.send(r)
		}
		p := send(func(r *request) { r.path += "?stauts=Enrolled" }).fails(400, "invalid_parameter")
		require.Equal(t, []string{"stauts"}, fields(p))
		if media := s.media(id); len(media) > 0 {
			p = send(func(r *request) { r.header = map[string]string{"Accept": "image/png"} }).fails(406, "not_acceptable")
			require.Equal(t, "The answer would be "+strings.Join(media, " or ")+", which Accept excludes.", p.Detail, id)
			refused := strings.Join(media, ";q=0, ") + ";q=0, image/*"
			send(func(r *request) { r.header = map[string]string{"Accept": refused} }).fails(406, "not_acceptable")
		}
		send(func(r *request) { r.path += "%00" }).fails(400, "invalid_parameter")
		if method == http.MethodGet || uploads[id] {
			return
		}
		p = send(func(r *request) { r.header = map[string]string{"Idempotency-Key": "no blanks"} }).fails(400, "invalid_parameter")
		require.Equal(t, []string{"Idempotency-Key"}, fields(p), id)
	})
}

// media are the types of what an operation answers when it succeeds; none if that has no body.
func (s *server) media(id string) []string {
	var found []string
	for _, item := range s.doc.Paths.Map() {
		for _, op := range item.Operations() {
			if op.OperationID != id {
				continue
			}
			for _, status := range []string{"200", "201", "202"} {
				if r := op.Responses.Value(status); r != nil {
					found = slices.Sorted(maps.Keys(r.Value.Content))
				}
			}
		}
	}
	return found
}

// An answer without a body suits everybody.
func TestDeletingMindsNoAccept(t *testing.T) {
	s := serve(t)
	for _, accept := range []string{"application/json", "image/png"} {
		s.put("/v1/groups/drivers", body{"items": []body{}}).ok(201)
		s.send(request{method: "DELETE", path: "/v1/groups/drivers", header: map[string]string{"Accept": accept}}).ok(204)
	}
}

func TestWhatTheContractForbidsIsSaidInSentences(t *testing.T) {
	s := serve(t)
	for _, c := range []struct{ method, path, body, says string }{
		{"PUT", "/v1/groups/x", `{"items": [], "itmes": []}`, `"itmes" is not a known field.`},
		{"PUT", "/v1/groups/x", `{}`, `"items" is missing.`},
		{"PUT", "/v1/groups/x", `[]`, `The body must be an object.`},
		{"PUT", "/v1/groups/x", `{"items": null}`, `"items" must be a list.`},
		{"PUT", "/v1/groups/x", `{"items": {}}`, `"items" must be a list.`},
		{"PUT", "/v1/groups/x", `{"items": [{"kind": "ship", "name": "a"}]}`, `"items[0].kind" must be configuration, app or document.`},
		{"PUT", "/v1/groups/x", `{"items": [{"kind": "app", "name": ""}]}`, `"items[0].name" is empty.`},
		{"PUT", "/v1/groups/x", `{"items": [], "description": "` + strings.Repeat("x", 1001) + `"}`, `"description" is longer than 1000 characters.`},
		{"PUT", "/v1/groups/x", `{"items": [], "description": "a\u0000"}`, `"description" holds a NUL character.`},
		{"PUT", "/v1/apps/x", `{"bundle_id": "com.zylker.x", "store_id": 0}`, `"store_id" must be 1 or more.`},
		{"POST", "/v1/devices/" + serial + ":extend-hold", `{"until": "tomorrow"}`, `"until" must be a time such as 2026-03-01T12:00:00Z.`},
		{"POST", "/v1/devices/" + serial + ":extend-hold", `{"until": "2026-02-31T00:00:00Z"}`, `A time in the body is none that exists; write times as 2026-03-01T12:00:00Z.`},
		{"PUT", "/v1/devices/" + serial + "/assignment", `{"groups": ["g"], "expected_by": "9999-12-31T23:59:59-12:00"}`, `"expected_by" must be a time such as 2026-03-01T12:00:00Z.`},
		{"PUT", "/v1/devices/" + serial + "/assignment", `{"groups": ["g"], "expected_by": "0001-01-01T00:00:00+12:00"}`, `"expected_by" must be a time such as 2026-03-01T12:00:00Z.`},
		{"POST", "/v1/tokens", `{"name": "x", "role": "viewer", "expires_at": "9999-12-31T23:59:59-12:00"}`, `"expires_at" must be a time such as 2026-03-01T12:00:00Z.`},
		{"GET", "/v1/devices?limit=ten", "", `"limit" must be a whole number.`},
		{"GET", "/v1/devices?limit=", "", `"limit" is empty.`},
		{"GET", "/v1/devices?limit=0", "", `"limit" must be 1 or more.`},
		{"GET", "/v1/devices?limit=501", "", `"limit" must be 500 or less.`},
		{"GET", "/v1/devices?limit=1&limit=2", "", `"limit" is given more than once.`},
		{"GET", "/v1/devices?q=", "", `"q" is empty.`},
		{"GET", "/v1/devices?awaiting=Godot", "", `"awaiting" must be Awaiting Device Activation or Awaiting User Assignment.`},
		{"GET", "/v1/people?technician=perhaps", "", `"technician" must be true or false.`},
		{"GET", "/v1/people?size=1", "", `"size" is not a parameter of this address.`},
	} {
		r := request{method: c.method, path: c.path}
		if c.body != "" {
			r.body = c.body
		}
		p := s.send(r).problem()
		require.Equal(t, c.says, p.Detail, "%s %s", c.path, c.body)
		if p.Errors != nil {
			require.Equal(t, c.says, (*p.Errors)[0].Detail)
		}
	}
	large := s.send(request{method: "PUT", path: "/v1/groups/x", body: `{"` + strings.Repeat("x", 1<<20) + `": 1}`})
	require.Equal(t, "The request is larger than 1 MiB.", large.fails(413, provision.PayloadTooLarge).Detail)
}

func TestEachBodyIsHeldAgainstTheContract(t *testing.T) {
	s := serve(t)
	s.record(serial, provision.Fact{Kind: provision.Registered})
	checked := 0
	for path, item := range s.doc.Paths.Map() {
		for method, op := range item.Operations() {
			if op.RequestBody == nil {
				continue
			}
			checked++
			path := places.Replace(path)
			if op.RequestBody.Value.Required {
				s.send(request{method: method, path: path}).fails(415, "unsupported_media_type")
			} else {
				s.send(request{method: method, path: path}).fails(404, provision.NotFound)
			}
			s.send(request{method: method, path: path, body: "<a/>", media: "text/xml"}).fails(415, "unsupported_media_type")
			if op.RequestBody.Value.Content.Get("application/json") == nil {
				for media := range op.RequestBody.Value.Content {
					if uploads[op.OperationID] {
						continue // as much as they take is more than a test should send
					}
					s.send(request{method: method, path: path, body: make([]byte, 5<<20+1), media: media}).fails(413, provision.PayloadTooLarge)
				}
				continue
			}
			json := func(body any) answer { return s.send(request{method: method, path: path, body: body}) }
			if op.RequestBody.Value.Required {
				json("").fails(400, "invalid_json")
			} else {
				json("").fails(404, provision.NotFound)
			}
			json("{").fails(400, "invalid_json")
			json(`{} {}`).fails(400, "invalid_json")
			json(`[]`).fails(422, provision.Invalid)
			json(`null`).fails(422, provision.Invalid)
			require.Contains(t, fields(json(`{"colour": "red"}`).fails(422, provision.Invalid)), "colour", op.OperationID)
			json(`{"`+strings.Repeat("x", 1<<20)+`": 1}`).fails(413, provision.PayloadTooLarge)
			s.send(request{method: method, path: path, body: `{}`, media: "application/json; charset=utf-8"}).status422OrDone()
		}
	}
	require.Equal(t, 34, checked, "bodies in the contract")
}

func (a answer) status422OrDone() {
	a.t.Helper()
	if a.status >= 400 {
		require.Equal(a.t, 422, a.status, "%s", a.body)
	}
}

func TestFieldsAtFaultAreNamed(t *testing.T) {
	s := serve(t)
	for _, c := range []struct {
		method, path, body string
		fields             []string
	}{
		{"POST", "/v1/devices", `{"serial": 5}`, []string{"serial"}},
		{"POST", "/v1/devices", `{}`, []string{"serial"}},
		{"POST", "/v1/devices", `{"serial": "C07Q853LG9RM", "name": "a\u0000b"}`, []string{"name"}},
		{"POST", "/v1/devices", `{"serial": "C07Q853LG9R?"}`, []string{"serial"}},
		{"PUT", "/v1/groups/drivers", `{"items": [{"kind": "app", "name": "x"}, {"kind": "ship", "name": "y"}]}`, []string{"items[1].kind"}},
		{"PUT", "/v1/groups/drivers", `{"items": [{"kind": "app", "name": "x", "depends_on": [{"kind": "app"}]}]}`, []string{"items[0].depends_on[0].name"}},
		{"PUT", "/v1/groups/drivers", `{"items": [{"kind": "app", "name": "x"}]}`, []string{"items[0].name"}},
		{"PUT", "/v1/devices/C07Q853LG9RM/assignment", `{"user": {"name": "A", "email": "a@b.c", "mail": 1}}`, []string{"user.mail"}},
		{"PUT", "/v1/devices/C07Q853LG9RM/assignment", `{"user": {"name": "", "email": "a@b.c"}}`, []string{"user.name"}},
		{"PUT", "/v1/devices/C07Q853LG9RM/assignment", `{"user": {"name": "A", "email": "nowhere"}}`, []string{"user.email"}},
		{"PUT", "/v1/devices/C07Q853LG9RM/assignment", `{"user": {"name": "A", "email": "a@b.c"}, "owned_by": "Nobody"}`, []string{"owned_by"}},
		{"PUT", "/v1/devices/C07Q853LG9RM/assignment", `{"technician": {"name": " "}}`, []string{"technician.name"}},
		{"POST", "/v1/tokens", `{"name": "x", "role": "king"}`, []string{"role"}},
		{"POST", "/v1/devices/C07Q853LG9RM:extend-hold", `{"until": "tomorrow"}`, []string{"until"}},
		{"POST", "/v1/people", `{"name": "A", "email": "a@b.c", "technician": "yes"}`, []string{"technician"}},
		{"PUT", "/v1/apps/routes", `{"bundle_id": "com.zylker.routes"}`, []string{"manifest_url"}},
		{"PUT", "/v1/apps/routes", `{"bundle_id": "routes", "store_id": 1}`, []string{"bundle_id"}},
		{"PUT", "/v1/apps/routes", `{"bundle_id": "com.zylker.routes", "store_id": 0}`, []string{"store_id"}},
		{"PUT", "/v1/apps/routes", `{"bundle_id": "com.zylker.routes", "manifest_url": "http://zylker.com/m.plist"}`, []string{"manifest_url"}},
		{"PUT", "/v1/apps/routes", `{"bundle_id": "com.zylker.routes", "manifest_url": "https://zylker.com/m.plist", "store_id": 1}`, []string{"manifest_url"}},
	} {
		a := s.send(request{method: c.method, path: c.path, body: c.body})
		require.Equal(t, 422, a.status, "%s %s: %s", c.path, c.body, a.body)
		require.Equal(t, c.fields, fields(a.problem()), "%s %s: %s", c.path, c.body, a.body)
	}
	several := s.send(request{method: "POST", path: "/v1/tokens", body: `{"role": "king", "colour": 1}`}).fails(422, provision.Invalid)
	require.ElementsMatch(t, []string{"role", "colour", "name"}, fields(several))
}

func TestParametersAtFaultAreNamed(t *testing.T) {
	s := serve(t)
	for _, c := range []struct{ path, field string }{
		{"/v1/devices?limit=0", "limit"},
		{"/v1/devices?limit=501", "limit"},
		{"/v1/devices?limit=ten", "limit"},
		{"/v1/devices?limit=1&limit=2", "limit"},
		{"/v1/devices?status=Asleep", "status"},
		{"/v1/devices?awaiting=Godot", "awaiting"},
		{"/v1/devices?q=", "q"},
		{"/v1/people?technician=perhaps", "technician"},
	} {
		require.Equal(t, []string{c.field}, fields(s.get(c.path).fails(400, "invalid_parameter")), c.path)
	}
	for _, path := range []string{"/v1/devices", "/v1/groups", "/v1/configurations", "/v1/apps", "/v1/people", "/v1/tokens", "/v1/devices/" + serial + "/timeline"} {
		s.get(path+"?cursor=nonsense").fails(400, "cursor_invalid")
	}
	s.get("/v1/devices?q=%ff").fails(400, "invalid_parameter")
}

func TestAddressesAndMethodsThatAreNone(t *testing.T) {
	s := serve(t)
	for _, path := range []string{"/", "/v1", "/v2/devices", "/v1/device", "/v1/devices/" + serial + "/secrets", "/mdm", "/checkin", "/scep"} {
		s.get(path).fails(404, "route_not_found")
	}
	s.post("/v1/devices/"+serial+":explode", nil).fails(404, "route_not_found")
	for _, c := range []struct{ method, path, allow string }{
		{"PATCH", "/v1/devices", "GET, POST"},
		{"DELETE", "/v1/devices/" + serial, "GET"},
		{"POST", "/v1/devices/" + serial, "GET"},
		{"POST", "/v1/groups", "GET"},
		{"POST", "/livez", "GET"},
		{"BREW", "/v1/tokens", "GET, POST"},
	} {
		a := s.send(request{method: c.method, path: c.path})
		a.fails(405, "method_not_allowed")
		for _, method := range strings.Split(c.allow, ", ") {
			require.Contains(t, a.header.Get("Allow"), method, "%s %s", c.method, c.path)
		}
	}
}

func TestThingsThatAreNot(t *testing.T) {
	s := serve(t)
	for path, code := range map[string]provision.Code{
		"/v1/devices/" + serial:                           provision.DeviceNotFound,
		"/v1/devices/" + serial + "/timeline":             provision.DeviceNotFound,
		"/v1/devices/" + serial + "/explain":              provision.DeviceNotFound,
		"/v1/devices/" + serial + "/plan":                 provision.DeviceNotFound,
		"/v1/devices/" + serial + "/assignment":           provision.DeviceNotFound,
		"/v1/groups/nothing":                              provision.GroupNotFound,
		"/v1/configurations/nothing":                      provision.NotFound,
		"/v1/configurations/nothing/content":              provision.NotFound,
		"/v1/apps/nothing":                                provision.NotFound,
		"/v1/people/nothing":                              provision.NotFound,
		"/v1/configurations/a%2Fb":                        provision.NotFound,
		"/v1/groups/" + strings.Repeat("x", 3000) + "%2F": provision.GroupNotFound,
	} {
		s.get(path).fails(404, code)
	}
	for _, path := range []string{"/v1/groups/nothing", "/v1/configurations/nothing", "/v1/apps/nothing"} {
		require.Equal(t, 404, s.delete(path).status, path)
	}
	s.delete("/v1/devices/"+serial+"/assignment").fails(404, provision.DeviceNotFound)
	for verb, in := range map[string]any{
		"hold": body{"reason": "x"}, "resume": nil, "retry": nil, "release-from-setup": nil,
		"extend-hold": body{"until": time.Now().Add(time.Hour)}, "release": body{"reason": "end_of_life", "serial": serial},
	} {
		s.post("/v1/devices/"+serial+":"+verb, in).fails(404, provision.DeviceNotFound)
		s.post("/v1/devices/SHORT:"+verb, in).status422OrDone()
	}
	s.put("/v1/people/nothing", body{"name": "A", "email": "a@b.c"}).fails(404, provision.NotFound)
	for _, bad := range []string{"C07Q853", "C07Q853LG9RM123", "C07Q853LG9R%C3%84"} {
		s.get("/v1/devices/" + bad).status422OrDone()
		s.put("/v1/devices/"+bad+"/assignment", body{"groups": []string{"x"}}).status422OrDone()
	}
}

func TestWhatGoesWrongInsideStaysInside(t *testing.T) {
	s := serve(t, func(c *api.Config) {
		c.EnrollmentProfiles = profiles{errors.New("password of the key store is hunter2")}
	})
	for _, path := range []string{"/v1/devices/" + serial + "/enrollment-profile", "/v1/devices/PANIC00000/enrollment-profile"} {
		p := s.get(path).fails(500, provision.Internal)
		require.NotContains(t, p.Detail, "hunter2")
		require.NotContains(t, p.Detail, "secret")
		require.Contains(t, s.log.String(), p.RequestId)
	}
	require.Contains(t, s.log.String(), "hunter2")
	require.Contains(t, s.log.String(), "secret of the machine room")
	s.get("/v1/devices").ok(200)
}

func TestServerWithoutEnrollmentProfiles(t *testing.T) {
	s := serve(t, func(c *api.Config) { c.EnrollmentProfiles = nil })
	s.get("/v1/devices/"+serial+"/enrollment-profile").fails(501, "not_configured")
}

func TestRequestThatTakesTooLong(t *testing.T) {
	s := serve(t, func(c *api.Config) {
		c.EnrollmentProfiles = slow{}
		c.RequestTimeout = 300 * time.Millisecond
	})
	a := s.get("/v1/devices/" + serial + "/enrollment-profile")
	a.fails(503, "timeout")
	require.NotEmpty(t, a.header.Get("Retry-After"))
}

type slow struct{}

func (slow) EnrollmentProfile(ctx context.Context, _ string) ([]byte, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func TestTokensAreSlowedDownApart(t *testing.T) {
	s := serve(t, func(c *api.Config) { c.RatePerSecond, c.Burst = 0.1, 3 })
	for range 3 {
		s.get("/v1/devices").ok(200)
	}
	a := s.get("/v1/devices")
	a.fails(429, "rate_limited")
	require.Equal(t, "10", a.header.Get("Retry-After"))
	s.send(request{method: "GET", path: "/v1/devices", role: store.Viewer}).ok(200)
}

func TestDatabaseThatIsGone(t *testing.T) {
	s := serve(t)
	s.get("/readyz").ok(200)
	s.db.Close()
	s.get("/readyz").ok(503)
	s.get("/livez").ok(200)
	require.GreaterOrEqual(t, s.get("/v1/devices").status, 500)
}

// Each code of the rules must have its meaning in HTTP; the compiler can't tell.
func TestEachCodeHasAMeaning(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "../provision/errors.go", nil, 0)
	require.NoError(t, err)
	found := 0
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || len(spec.Values) != 1 {
			return true
		}
		if name, ok := spec.Type.(*ast.Ident); ok && name.Name == "Code" {
			code, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
			require.NoError(t, err)
			require.Contains(t, api.Meanings, provision.Code(code))
			found++
		}
		return true
	})
	require.Greater(t, found, 20)
}
