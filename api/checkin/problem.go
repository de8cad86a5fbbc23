package checkin

import (
	"context"
	"errors"
	"net/http"

	"github.com/micromdm/nanomdm/service"

	"github.com/muster-mdm/muster/api/problem"
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

func (h *Handler) refuse(w http.ResponseWriter, r *http.Request, err error) {
	p := describe(err)
	p.Title = h.title(p.Code)
	log := h.log.With("request_id", problem.RequestID(w), "remote", r.RemoteAddr)
	switch {
	case errors.Is(err, context.Canceled) && r.Context().Err() != nil:
		log.DebugContext(r.Context(), "device hung up")
	case p.Status >= http.StatusInternalServerError:
		log.ErrorContext(r.Context(), "check-in failed", "code", p.Code, "error", err)
	default:
		log.WarnContext(r.Context(), "check-in refused", "code", p.Code, "reason", err.Error())
	}
	if err := problem.Write(w, p); err != nil {
		log.DebugContext(r.Context(), "answer to a device lost", "error", err)
	}
}

func describe(err error) problem.Problem {
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

func of(status int, code provision.Code, detail string) problem.Problem {
	return problem.Problem{Status: status, Detail: detail, Code: code}
}
