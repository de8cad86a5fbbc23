package checkin

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"net/http"

	"github.com/micromdm/nanomdm/service"

	"github.com/muster-mdm/muster/apple/mdm"
	"github.com/muster-mdm/muster/provision"
)

// statuses of the MDM endpoint are apart from the API's: to a device a status is an instruction. 401, and 403 with a
// certain body, make it un-enroll; what is 5xx it sends again.
var statuses = map[provision.Code]int{
	provision.IdentityRefused:    http.StatusBadRequest,
	provision.CheckinMalformed:   http.StatusBadRequest,
	provision.UnknownCommand:     http.StatusBadRequest,
	provision.DeviceReleased:     http.StatusBadRequest,
	provision.NotFound:           http.StatusNotFound,
	provision.MethodNotAllowed:   http.StatusMethodNotAllowed,
	provision.PayloadTooLarge:    http.StatusRequestEntityTooLarge,
	provision.StorageUnavailable: http.StatusServiceUnavailable,
}

// problem is what a person sees who looks at the traffic, in the form of the REST interface's; devices ignore it.
type problem struct {
	Type      string         `json:"type"`
	Title     string         `json:"title"`
	Status    int            `json:"status"`
	Detail    string         `json:"detail"`
	Code      provision.Code `json:"code"`
	Instance  string         `json:"instance"`
	RequestID string         `json:"request_id"`
}

const explained = "https://github.com/muster-mdm/muster/blob/main/docs/troubleshooting.md#"

func (h *Handler) refuse(w http.ResponseWriter, r *http.Request, err error) {
	p := describe(err)
	p.Type, p.Title = explained+string(p.Code), h.title(p.Code)
	p.RequestID = requestID(w)
	p.Instance = "urn:muster:request:" + p.RequestID
	log := h.log.With("request_id", p.RequestID, "remote", r.RemoteAddr)
	switch {
	case errors.Is(err, context.Canceled) && r.Context().Err() != nil:
		log.DebugContext(r.Context(), "device hung up")
	case p.Status >= http.StatusInternalServerError:
		log.ErrorContext(r.Context(), "check-in failed", "code", p.Code, "error", err)
	default:
		log.WarnContext(r.Context(), "check-in refused", "code", p.Code, "reason", err.Error())
	}
	body, err := json.Marshal(p)
	if err != nil {
		log.ErrorContext(r.Context(), "writing a problem failed", "error", err)
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(p.Status)
	if _, err := w.Write(body); err != nil {
		log.DebugContext(r.Context(), "answer to a device lost", "error", err)
	}
}

// requestID is the one that was given to the request before it came here, or a new one.
func requestID(w http.ResponseWriter) string {
	id := w.Header().Get("X-Request-Id")
	if id == "" {
		id = rand.Text()
		w.Header().Set("X-Request-Id", id)
	}
	return id
}

func describe(err error) problem {
	var known *provision.Error
	var status *service.HTTPStatusError
	switch {
	case mdm.CertificateRefused(err):
		return of(http.StatusBadRequest, provision.IdentityRefused, "The certificate belongs to another enrollment.")
	case errors.As(err, &known):
		if s, ok := statuses[known.Code]; ok {
			return of(s, known.Code, known.Message)
		}
	case errors.As(err, &status):
		return of(status.Status, provision.Invalid, status.Unwrap().Error())
	}
	return of(http.StatusInternalServerError, provision.Internal, "The message could not be taken; send it again.")
}

func of(status int, code provision.Code, detail string) problem {
	return problem{Status: status, Detail: detail, Code: code}
}
