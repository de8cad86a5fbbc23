package abm

import (
	"net/http"
	"strconv"
	"strings"
)

const (
	sessionHeader  = "X-ADM-Auth-Session"
	protocolHeader = "X-Server-Protocol-Version"
	jsonType       = "application/json;charset=UTF8"
)

// refusal is an answer of the device assignment API other than 200: a code as the whole body.
type refusal struct {
	status int
	code   string
}

func badRequest(code string) *refusal { return &refusal{status: http.StatusBadRequest, code: code} }

func (o *Organization) writeRefusal(w http.ResponseWriter, no *refusal) {
	o.mu.Lock()
	quoted := o.quirks.QuotedErrors
	o.mu.Unlock()
	body := no.code
	if quoted {
		body = strconv.Quote(body)
	}
	w.Header().Set("Content-Type", "text/plain;charset=UTF8")
	w.WriteHeader(no.status)
	_, _ = w.Write([]byte(body)) //nolint:gosec // a code of ours as plain text; and a client that has gone away is nothing to handle
}

// session answers GET /session: the server's signature for a session token.
func (o *Organization) session(w http.ResponseWriter, r *http.Request) {
	token, no := o.openSession(r)
	if no != nil {
		o.writeRefusal(w, no)
		return
	}
	writeJSON(w, jsonType, map[string]string{"auth_session_token": token})
}

func (o *Organization) openSession(r *http.Request) (string, *refusal) {
	defer o.lock()()
	if no := userAgent(r); no != nil {
		return "", no
	}
	s, no := o.authenticate(r)
	if no == nil {
		no = o.admit(s)
	}
	if no != nil {
		return "", no
	}
	return o.newSession(s), nil
}

func (o *Organization) newSession(s *server) string {
	return o.seal(ticket{kind: "session", subject: s.ID, numbers: [2]int64{int64(s.Sessions)}, issued: o.now()})
}

// admit holds back a server that has proved who it is.
func (o *Organization) admit(s *server) *refusal {
	switch {
	case s.Access != AccessGranted:
		return &refusal{status: http.StatusForbidden, code: string(s.Access)}
	case o.unsigned:
		return &refusal{status: http.StatusForbidden, code: "T_C_NOT_SIGNED"}
	}
	return nil
}

// resume finds the server of a request's session. A session that is over earns 401, one that never was 403.
func (o *Organization) resume(r *http.Request) (*server, *refusal) {
	if no := userAgent(r); no != nil {
		return nil, no
	}
	given := r.Header.Get(sessionHeader)
	over := &refusal{status: http.StatusUnauthorized, code: "UNAUTHORIZED"}
	if given == "" {
		return nil, over
	}
	for _, s := range o.ranking {
		t, ok := o.open(given, "session", s.ID)
		if !ok {
			continue
		}
		now := o.now()
		if t.numbers[0] != int64(s.Sessions) || now.Sub(t.issued) >= o.cfg.Lifetime.Session || !now.Before(s.Token.Expires) {
			return nil, over
		}
		return s, o.admit(s)
	}
	return nil, &refusal{status: http.StatusForbidden, code: "FORBIDDEN"}
}

func userAgent(r *http.Request) *refusal {
	agent := r.Header.Get("User-Agent")
	switch {
	case agent == "":
		return badRequest("USER_AGENT_MISSING")
	case strings.ContainsFunc(agent, func(c rune) bool { return c < ' ' || c > '~' }):
		return badRequest("USER_AGENT_INVALID")
	}
	return nil
}

// protocol is the version of the protocol that the client asked for; 1 when it asked for none.
func protocol(r *http.Request) int {
	version, err := strconv.Atoi(r.Header.Get(protocolHeader))
	if err != nil {
		return 1
	}
	return version
}
