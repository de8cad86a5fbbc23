package abm

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
)

const maxBody = 4 << 20

// call is one authenticated request to the device assignment API. Its handler runs under mu and returns what to encode
// once mu is free again.
type call struct {
	*Organization
	server   *server
	protocol int
	request  *http.Request
	body     []byte
}

// read decodes the request's body.
func (c *call) read(into any) *refusal {
	if err := json.Unmarshal(c.body, into); err != nil {
		return badRequest("MALFORMED_REQUEST_BODY")
	}
	return nil
}

func (o *Organization) assignmentAPI() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /session", o.session)
	for pattern, handle := range map[string]func(*call) (any, *refusal){
		"GET /account":                            (*call).account,
		"POST /server/devices":                    (*call).fetch,
		"POST /devices/sync":                      (*call).sync,
		"POST /devices":                           (*call).details,
		"POST /devices/disown":                    (*call).disown,
		"POST /device/activationlock":             (*call).activationLock,
		"POST /profile":                           (*call).defineProfile,
		"GET /profile":                            (*call).getProfile,
		"POST /profile/devices":                   (*call).assignProfile,
		"PUT /profile/devices":                    (*call).assignProfile,
		"DELETE /profile/devices":                 (*call).removeProfile,
		"POST /account-driven-enrollment/profile": (*call).setDiscovery,
		"GET /account-driven-enrollment/profile":  (*call).getDiscovery,
		"GET /os-beta-enrollment/tokens":          (*call).betaTokens,
	} {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) { o.serveCall(w, r, handle) })
	}
	return mux
}

func (o *Organization) serveCall(w http.ResponseWriter, r *http.Request, handle func(*call) (any, *refusal)) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		var large *http.MaxBytesError
		if errors.As(err, &large) {
			o.writeRefusal(w, &refusal{status: http.StatusRequestEntityTooLarge, code: "REQUEST_TOO_LARGE"})
			return
		}
		o.writeRefusal(w, badRequest("MALFORMED_REQUEST_BODY"))
		return
	}
	answer, session, no := o.answer(r, body, handle)
	if session != "" {
		w.Header().Set(sessionHeader, session)
	}
	if no != nil {
		o.writeRefusal(w, no)
		return
	}
	writeJSON(w, jsonType, answer)
}

// answer does the call and renews the session, as Apple may on every answer; ours does on each.
func (o *Organization) answer(r *http.Request, body []byte, handle func(*call) (any, *refusal)) (any, string, *refusal) {
	defer o.lock()()
	s, no := o.resume(r)
	if no != nil {
		return nil, "", no
	}
	answer, no := handle(&call{Organization: o, server: s, protocol: protocol(r), request: r, body: body})
	return answer, o.newSession(s), no
}

func writeJSON(w http.ResponseWriter, contentType string, value any) {
	w.Header().Set("Content-Type", contentType)
	_ = json.NewEncoder(w).Encode(value) // the client has gone away; nothing is left to do
}
