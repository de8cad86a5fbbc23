package serve

import (
	"fmt"
	"net/http"
	"os"

	"github.com/muster-mdm/muster/api"
	"github.com/muster-mdm/muster/api/enroll"
	"github.com/muster-mdm/muster/api/intake"
	"github.com/muster-mdm/muster/apple/identity"
	"github.com/muster-mdm/muster/cmd/muster/settings"
)

// makeEnroller prepares what makes enrollment profiles; every role needs it.
func (svc *Service) makeEnroller() error {
	s := svc.settings
	signer, err := svc.signer()
	if err != nil {
		return err
	}
	config := enroll.Config{
		ServerURL: svc.url + mdmPath, SCEPURL: svc.url + scepPath, Organization: s.Organization, Signer: signer,
	}
	if s.SCEPURL != "" {
		config.SCEPURL, config.StaticChallenge = s.SCEPURL, s.SCEPChallenge
	}
	svc.enroller, err = enroll.New(svc.db, svc.storage, config)
	return err
}

// signer signs profiles by the certificate that is set for that, or else by that of TLS, which devices trust already.
func (svc *Service) signer() (*identity.Signer, error) {
	s := svc.settings
	switch {
	case s.ProfileSignCertFile != "":
		return loadSigner(s.ProfileSignCertFile, s.ProfileSignKeyFile)
	case s.TLSCertFile != "":
		signer, err := loadSigner(s.TLSCertFile, s.TLSKeyFile)
		if err != nil {
			svc.log.Warn("enrollment profiles aren't signed: the certificate of TLS can't sign them", "error", err)
			return nil, nil //nolint:nilnil // no signer: profiles work without
		}
		return signer, nil
	}
	return nil, nil //nolint:nilnil // no signer: profiles work without
}

func loadSigner(certFile, keyFile string) (*identity.Signer, error) {
	cert, err := os.ReadFile(certFile)
	if err != nil {
		return nil, fmt.Errorf("reading the certificate that signs profiles: %w", err)
	}
	key, err := os.ReadFile(keyFile)
	if err != nil {
		return nil, fmt.Errorf("reading the key that signs profiles: %w", err)
	}
	return identity.LoadSigner(cert, key)
}

// doors are where devices that are switched on come, with the pages beside it, and where they get their certificates.
func (svc *Service) doors(authority *identity.Authority, cases *intake.Intake) (profiles, certificates http.Handler, err error) {
	door, err := svc.door()
	if err != nil {
		return nil, nil, err
	}
	web, err := enroll.NewWeb(door, cases, svc.db, svc.url)
	if err != nil {
		return nil, nil, err
	}
	both := http.NewServeMux()
	both.Handle(enrollPath, door)
	both.Handle(enrollPath+"/", web)
	return both, door.LimitSCEP(identity.NewSCEP(authority, svc.db, svc.log)), nil
}

func (svc *Service) door() (*enroll.Door, error) {
	s := svc.settings
	machines, err := Machines(s.Enrolling)
	if err != nil {
		return nil, err
	}
	oldest, err := enroll.ParseMinimumOS(s.EnrollMinimumOS)
	if err != nil {
		return nil, fmt.Errorf("%sENROLL_MINIMUM_OS: %w", settings.Prefix, err)
	}
	proxies, err := prefixes(s.TrustedProxies)
	if err != nil {
		return nil, err
	}
	return enroll.NewDoor(svc.enroller, svc.db, enroll.DoorConfig{
		Machines: machines, MinimumOS: oldest, TrustedProxies: proxies, Title: api.Title, Log: svc.log, Metrics: svc.metrics,
	})
}

// Machines returns what tells Apple's devices from others by the settings; nil when they name nothing to tell by.
func Machines(e settings.Enrolling) (*identity.Machines, error) {
	switch {
	case e.EnrollInsecureMachineInfo:
		return identity.NewInsecureMachines(), nil
	case e.EnrollAnchorsFile == "":
		return nil, nil //nolint:nilnil // nothing to tell by, which the endpoint says to whoever comes
	}
	anchors, err := os.ReadFile(e.EnrollAnchorsFile)
	if err != nil {
		return nil, fmt.Errorf("reading the trust anchors of devices: %w", err)
	}
	return identity.NewMachines(anchors)
}

// foreign is the external authority, if one issues devices' certificates.
func (svc *Service) foreign() (*identity.Foreign, error) {
	if svc.settings.SCEPCAFile == "" {
		return nil, nil //nolint:nilnil // there is none
	}
	text, err := os.ReadFile(svc.settings.SCEPCAFile)
	if err != nil {
		return nil, fmt.Errorf("reading the certificates of the external authority: %w", err)
	}
	return identity.LoadForeign(text)
}
