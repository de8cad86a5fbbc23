package enroll

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/muster-mdm/muster/api/problem"
	"github.com/muster-mdm/muster/api/throttle"
	"github.com/muster-mdm/muster/apple/identity"
	"github.com/muster-mdm/muster/provision"
)

// statuses of what devices are refused for. None is 401, which devices take for more than it says.
var statuses = map[provision.Code]int{
	provision.MachineInfoRefused:     http.StatusForbidden,
	provision.IdentityRefused:        http.StatusForbidden,
	provision.OSTooOld:               http.StatusForbidden,
	provision.SignInRequired:         http.StatusForbidden,
	provision.DeviceNotFound:         http.StatusForbidden,
	provision.MethodNotAllowed:       http.StatusMethodNotAllowed,
	provision.DeviceReleased:         http.StatusConflict,
	provision.DeviceOffABM:           http.StatusConflict,
	provision.DeviceInConflict:       http.StatusConflict,
	provision.DeviceOnHold:           http.StatusConflict,
	provision.PayloadTooLarge:        http.StatusRequestEntityTooLarge,
	provision.RateLimited:            http.StatusTooManyRequests,
	provision.AnchorsMissing:         http.StatusServiceUnavailable,
	provision.PushCertificateMissing: http.StatusServiceUnavailable,
	provision.StorageUnavailable:     http.StatusServiceUnavailable,
}

// tooOftenError is how long somebody must wait.
type tooOftenError struct{ wait time.Duration }

func (t tooOftenError) Error() string { return "asked too often" }

// updateRequiredError is the version that a device must update itself to.
type updateRequiredError struct {
	refusal *provision.Error
	version string
}

func (u updateRequiredError) Error() string { return u.refusal.Error() }

func (u updateRequiredError) Unwrap() error { return u.refusal }

// tooOld refuses a device with an older version. One that can be told to update does so and comes again by itself; of another
// a person has to take care, before or by a computer.
func tooOld(m identity.MachineInfo, oldest string) error {
	has := m.OSVersion
	if has == "" {
		has = "an unknown version"
	}
	err := provision.Errorf(provision.OSTooOld, "Device %s has %s, and needs %s or newer to enroll. Update it first.", m.Serial, has, oldest)
	if !m.CanUpdate {
		return err
	}
	return updateRequiredError{err, oldest}
}

// appleError is what devices understand beside a profile (Apple: ErrorCodeUnrecognizedDevice,
// ErrorCodeSoftwareUpdateRequired).
type appleError struct {
	Code        string         `json:"code"`
	Description string         `json:"description"`
	Message     string         `json:"message"`
	Details     *updateDetails `json:"details,omitempty"`
}

type updateDetails struct {
	OSVersion string
}

// Refuse answers a request of a device, known if it was verified, in the form that the device understands if it has one for
// the reason, and logs it. Nothing is kept of it.
func (d *Door) Refuse(w http.ResponseWriter, r *http.Request, m identity.MachineInfo, err error) {
	p := d.describe(w, err)
	d.note(w, r, m, p, err)
	var update updateRequiredError
	var sent error
	switch {
	case errors.As(err, &update):
		sent = writeApple(w, appleError{
			Code: "com.apple.softwareupdate.required", Description: update.Error(),
			Message: fmt.Sprintf("This device needs version %s to be set up for %s.", update.version, d.enroller.organization()),
			Details: &updateDetails{OSVersion: update.version},
		})
	case p.Code == provision.DeviceNotFound:
		sent = writeApple(w, appleError{
			Code: "com.apple.unrecognized.device", Description: p.Detail,
			Message: fmt.Sprintf("This device is not known to %s.", d.enroller.organization()),
		})
	default:
		sent = problem.Write(w, p)
	}
	if sent != nil {
		d.config.Log.DebugContext(r.Context(), "answer to a device lost", "error", sent)
	}
}

func (d *Door) describe(w http.ResponseWriter, err error) problem.Problem {
	p := problem.Problem{Status: http.StatusInternalServerError, Code: provision.Internal, Detail: "The profile could not be made; try again."}
	var often tooOftenError
	var known *provision.Error
	switch {
	case errors.As(err, &often):
		w.Header().Set("Retry-After", throttle.Seconds(often.wait))
		p.Status, p.Code = http.StatusTooManyRequests, provision.RateLimited
		p.Detail = fmt.Sprintf("Too many requests; wait %s s.", throttle.Seconds(often.wait))
	case errors.As(err, &known) && statuses[known.Code] != 0:
		p.Status, p.Code, p.Detail = statuses[known.Code], known.Code, known.Message
	}
	p.Title = d.config.Title(p.Code)
	return p
}

// note logs and counts a refusal. The serial number is that of a verified message only: others could name any.
func (d *Door) note(w http.ResponseWriter, r *http.Request, m identity.MachineInfo, p problem.Problem, err error) {
	d.outcomes.WithLabelValues(string(p.Code)).Inc()
	log := d.config.Log.With("request_id", problem.RequestID(w), "remote", r.RemoteAddr, "code", p.Code)
	if m.Serial != "" {
		log = log.With("serial", m.Serial)
	}
	switch {
	case errors.Is(err, context.Canceled) && r.Context().Err() != nil:
		log.DebugContext(r.Context(), "device hung up")
	case p.Status == http.StatusInternalServerError:
		log.ErrorContext(r.Context(), "enrollment failed", "error", err)
	default:
		log.WarnContext(r.Context(), "enrollment refused", "reason", err.Error())
	}
}

func writeApple(w http.ResponseWriter, e appleError) error {
	body, err := json.Marshal(e)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(http.StatusForbidden)
	_, err = w.Write(body)
	return err
}
