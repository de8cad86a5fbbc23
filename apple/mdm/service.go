package mdm

import (
	"log/slog"

	"github.com/micromdm/nanomdm/mdm"
	"github.com/micromdm/nanomdm/service"
	"github.com/micromdm/nanomdm/service/certauth"
	"github.com/micromdm/nanomdm/service/nanomdm"

	"github.com/muster-mdm/muster/provision"
)

// Core is NanoMDM's own service on the storage: it keeps check-ins and answers, and hands out queued commands. Users on
// the device are declined (410), as Apple asks of a server that doesn't manage them.
func Core(s *Storage, l *slog.Logger) service.CheckinAndCommandService {
	return nanomdm.New(s,
		nanomdm.WithLogger(Logger(l)),
		nanomdm.WithUserAuthenticate(nanomdm.NewUAService(s, false)),
		nanomdm.WithGetToken(unsupported{}),
		nanomdm.WithDeclarativeManagement(unsupported{}))
}

// Authorized lets only requests through whose certificate belongs to the enrollment that they name; an Authenticate makes
// it belong. [CertificateRefused] tells its errors.
func Authorized(next service.CheckinAndCommandService, s *Storage, l *slog.Logger) service.CheckinAndCommandService {
	return certauth.New(next, s, certauth.WithLogger(Logger(l)))
}

// unsupported answers what the enrollment profile doesn't announce. An error would become a 500, which devices repeat.
type unsupported struct{}

// GetToken fails with [provision.NotFound].
func (unsupported) GetToken(_ *mdm.Request, m *mdm.GetToken) (*mdm.GetTokenResponse, error) {
	return nil, provision.Errorf(provision.NotFound, "This server gives no tokens of the type %.80q.", m.TokenServiceType)
}

// DeclarativeManagement fails with [provision.NotFound].
func (unsupported) DeclarativeManagement(*mdm.Request, *mdm.DeclarativeManagement) ([]byte, error) {
	return nil, provision.Errorf(provision.NotFound, "This server doesn't manage devices by declarations.")
}
