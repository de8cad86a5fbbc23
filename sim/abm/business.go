package abm

import (
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// apiError is an error of the Business API: a JSON:API error object.
type apiError struct {
	status              int
	code, title, detail string
	parameter, pointer  string // where in the request
}

func writeAPIError(w http.ResponseWriter, e apiError) {
	object := map[string]any{
		"id": strings.ToLower(secret(16)), "status": strconv.Itoa(e.status), "code": e.code, "title": e.title, "detail": e.detail,
	}
	switch {
	case e.parameter != "":
		object["source"] = map[string]string{"parameter": e.parameter}
	case e.pointer != "":
		object["source"] = map[string]string{"pointer": e.pointer}
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(e.status)
	_ = json.NewEncoder(w).Encode(map[string]any{"errors": []any{object}}) // the client has gone away
}

func notFound(kind, id string) *apiError {
	return &apiError{
		status: http.StatusNotFound, code: "NOT_FOUND", title: "The specified resource does not exist.",
		detail: "There is no resource of type '" + kind + "' with id '" + id + "'.",
	}
}

func badParameter(name, detail string) *apiError {
	return &apiError{
		status: http.StatusBadRequest, code: "PARAMETER_ERROR.INVALID", title: "A parameter has an invalid value.",
		detail: detail, parameter: name,
	}
}

// inquiry is one authorized request to the Business API; its handler runs under mu.
type inquiry struct {
	*Organization
	account *account
	request *http.Request
	body    []byte
	origin  string // scheme and host, for links
}

type document map[string]any

func (o *Organization) businessAPI() http.Handler {
	mux := http.NewServeMux()
	for pattern, handle := range map[string]func(*inquiry) (document, *apiError){
		"GET /v1/orgDevices":                                   (*inquiry).listDevices,
		"GET /v1/orgDevices/{id}":                              (*inquiry).getDevice,
		"GET /v1/orgDevices/{id}/assignedServer":               (*inquiry).assignedServer,
		"GET /v1/orgDevices/{id}/relationships/assignedServer": (*inquiry).assignedServerLink,
		"GET /v1/mdmServers":                                   (*inquiry).listServers,
		"GET /v1/mdmServers/{id}":                              (*inquiry).getServer,
		"GET /v1/mdmServers/{id}/relationships/devices":        (*inquiry).serverDevices,
		"POST /v1/orgDeviceActivities":                         (*inquiry).createActivity,
		"GET /v1/orgDeviceActivities/{id}":                     (*inquiry).getActivity,
	} {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) { o.serveInquiry(w, r, handle) })
	}
	mux.HandleFunc("/v1/", func(w http.ResponseWriter, _ *http.Request) {
		writeAPIError(w, apiError{
			status: http.StatusNotFound, code: "PATH_ERROR", title: "The URL path is not valid.",
			detail: "The path, or the method for it, is not one of this API's.",
		})
	})
	return mux
}

func (o *Organization) serveInquiry(w http.ResponseWriter, r *http.Request, handle func(*inquiry) (document, *apiError)) {
	if accept := r.Header.Get("Accept"); accept != "" && !strings.Contains(accept, "application/json") && !strings.Contains(accept, "*/*") {
		writeAPIError(w, apiError{
			status: http.StatusNotAcceptable, code: "NOT_ACCEPTABLE", title: "The accept header is invalid.",
			detail: "This API answers application/json.",
		})
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		writeAPIError(w, *malformed("/", "The body could not be read."))
		return
	}
	answer, no := o.inquire(r, body, handle)
	if no != nil {
		writeAPIError(w, *no)
		return
	}
	status := http.StatusOK
	if r.Method == http.MethodPost {
		status = http.StatusCreated
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(answer) // the client has gone away; nothing is left to do
}

func (o *Organization) inquire(r *http.Request, body []byte, handle func(*inquiry) (document, *apiError)) (document, *apiError) {
	defer o.lock()()
	a, no := o.bearer(r)
	if no != nil {
		return nil, no
	}
	if o.unsigned {
		return nil, &apiError{
			status: http.StatusForbidden, code: "FORBIDDEN", title: "The terms and conditions are not accepted.",
			detail: "An administrator has to accept the latest terms and conditions.",
		}
	}
	return handle(&inquiry{Organization: o, account: a, request: r, body: body, origin: originOf(r)})
}

// originOf is the address under which the client knows this API.
func originOf(r *http.Request) string {
	if strings.HasSuffix(r.Host, ".apple.com") {
		return "https://" + r.Host
	}
	return "http://" + r.Host
}

// pageOf reads limit and cursor; Apple's maximum is 1,000.
func (q *inquiry) pageOf(kind string) (after int64, limit int, no *apiError) {
	query := q.request.URL.Query()
	limit = defaultPage
	if given := query.Get("limit"); given != "" {
		n, err := strconv.Atoi(given)
		if err != nil || n < 1 || n > maxPage {
			return 0, 0, badParameter("limit", "The limit has to be a number from 1 to 1000.")
		}
		limit = n
	}
	if given := query.Get("cursor"); given != "" {
		t, ok := q.open(given, "page", kind)
		if !ok {
			return 0, 0, badParameter("cursor", "The cursor is not one that this list has given out.")
		}
		after = t.numbers[0]
	}
	return after, limit, nil
}

// paged completes a list's document with links and paging information. next is where the following page begins, -1 for none.
func (q *inquiry) paged(d document, kind string, next int64, limit int) document {
	self := q.origin + q.request.URL.RequestURI()
	links, paging := document{"self": self}, document{"limit": limit}
	if next >= 0 {
		cursor := q.seal(ticket{kind: "page", subject: kind, numbers: [2]int64{next}, issued: q.now()})
		query := q.request.URL.Query()
		query.Set("cursor", cursor)
		links["next"] = q.origin + q.request.URL.Path + "?" + query.Encode()
		paging["nextCursor"] = cursor
	}
	d["links"], d["meta"] = links, document{"paging": paging}
	return d
}

// only keeps those attributes that the query's fields[kind] asks for.
func (q *inquiry) only(kind string, attributes document) document {
	wanted := q.request.URL.Query().Get("fields[" + kind + "]")
	if wanted == "" {
		return attributes
	}
	kept := document{}
	for name := range strings.SplitSeq(wanted, ",") {
		if value, ok := attributes[name]; ok {
			kept[name] = value
		}
	}
	return kept
}

// milliseconds is a time as the Business API writes it; nil, which becomes null, for none.
func milliseconds(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UTC().Format("2006-01-02T15:04:05.000Z")
}
