package serve

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net/http"
	"os"

	"go.temporal.io/sdk/client"
	sdklog "go.temporal.io/sdk/log"

	"github.com/muster-mdm/muster/activities"
	"github.com/muster-mdm/muster/api/enroll"
	"github.com/muster-mdm/muster/apple/identity"
	"github.com/muster-mdm/muster/apple/mdm"
	"github.com/muster-mdm/muster/cmd/muster/settings"
	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/worker"
)

// worker returns what the worker role runs; a process without the role waits for its end.
func (svc *Service) worker() (func(context.Context) error, error) {
	if !svc.settings.Has(settings.RoleWorker) {
		return func(ctx context.Context) error { <-ctx.Done(); return nil }, nil
	}
	pusher, err := svc.pusher()
	if err != nil {
		return nil, err
	}
	abm, err := svc.abm()
	if err != nil {
		return nil, err
	}
	policy, s := svc.policy(), svc.settings
	w := worker.New(svc.temporal, svc.db, pusher, worker.Config{
		Namespace: s.TemporalNamespace, TaskQueue: s.TaskQueue, ManagementIdentifier: identity.DefaultProfileIdentifier,
		Policy: &policy, Renewer: svc.renewer(), ABM: abm,
		Log: svc.log, Metrics: svc.metrics,
	})
	return w.Run, nil
}

// abm says where Apple Business Manager is, and what it tells devices about where we are.
func (svc *Service) abm() (worker.ABMConfig, error) {
	s := svc.settings
	c := worker.ABMConfig{
		URL: s.ABMURL, BusinessURL: s.ABMBusinessURL, TokenURL: s.ABMTokenURL,
		ABMConfig: activities.ABMConfig{
			Addresses: provision.EnrollmentAddresses{Enroll: svc.url + enrollPath, SignIn: svc.url + enroll.SignInPath}, MissingAfter: s.ABMMissingAfter,
		},
	}
	if s.ABMCAFile == "" {
		return c, nil
	}
	roots, err := readRoots(s.ABMCAFile)
	if err != nil {
		return c, fmt.Errorf("reading the CA certificates of Apple Business Manager: %w", err)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	c.Transport = transport
	return c, nil
}

func readRoots(file string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no certificate in PEM form", file)
	}
	return roots, nil
}

// renewer has devices renew. The profile that they are sent must name the address by which they enrolled; what only works
// doesn't know that unless it is told.
func (svc *Service) renewer() worker.Renewer {
	if svc.settings.PublicURL == "" && !svc.settings.Has(settings.RoleMDM) {
		svc.log.Warn("devices don't renew their certificates: this process doesn't know the address of theirs", "setting", settings.Prefix+"PUBLIC_URL")
		return nil
	}
	return svc.enroller
}

// policy is what workflows that begin now go by.
func (svc *Service) policy() provision.Policy {
	s := svc.settings
	return provision.Policy{
		SetupHold: s.SetupHold, HoldPolicy: provision.HoldPolicy(s.SetupHoldPolicy), RetryAfter: s.RetryAfter, NudgeAfter: s.NudgeAfter,
		ReviewFreesSetup: true,
		ReleaseDelay:     s.ReleaseDelay, RemindBefore: s.RemindBefore,
	}
}

// dialTemporal prepares the connection; it is made when it is first needed, so Temporal needn't be there.
func (svc *Service) dialTemporal() error {
	var err error
	svc.temporal, err = client.NewLazyClient(client.Options{
		HostPort: svc.settings.TemporalAddress, Namespace: svc.settings.TemporalNamespace,
		Logger: sdklog.NewStructuredLogger(svc.log.With("component", "temporal")), MetricsHandler: worker.NewMetricsHandler(svc.metrics),
	})
	if err != nil {
		return fmt.Errorf("preparing the client of Temporal: %w", err)
	}
	return nil
}

// temporalAnswers reports whether Temporal can be reached.
func (svc *Service) temporalAnswers(ctx context.Context) error {
	_, err := svc.temporal.CheckHealth(ctx, &client.CheckHealthRequest{})
	return err
}

func (svc *Service) pusher() (*mdm.Pusher, error) {
	config := mdm.PushConfig{BaseURL: svc.settings.APNsURL}
	if file := svc.settings.APNsCAFile; file != "" {
		var err error
		if config.Roots, err = readRoots(file); err != nil {
			return nil, fmt.Errorf("reading the push service's CA certificates: %w", err)
		}
	}
	return mdm.NewPusher(svc.storage, config, svc.log)
}

// storePushCertificate puts the certificate that the settings name where every process finds it.
func (svc *Service) storePushCertificate(ctx context.Context) error {
	s := svc.settings
	if s.PushCertFile == "" {
		return nil
	}
	cert, err := os.ReadFile(s.PushCertFile)
	if err != nil {
		return fmt.Errorf("reading the push certificate: %w", err)
	}
	key, err := os.ReadFile(s.PushKeyFile)
	if err != nil {
		return fmt.Errorf("reading the push certificate's key: %w", err)
	}
	stored, err := svc.storage.StorePushCertificate(ctx, cert, key)
	if err != nil {
		return err
	}
	svc.log.InfoContext(ctx, "push certificate stored", "topic", stored.Topic, "not_after", stored.NotAfter)
	return nil
}

// Logger returns a logger as the settings ask for; levels below info are for tracking faults down.
func Logger(s settings.Log, out interface{ Write([]byte) (int, error) }) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(s.LogLevel)); err != nil {
		level = slog.LevelInfo
	}
	options := &slog.HandlerOptions{Level: level}
	if s.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(out, options))
	}
	return slog.New(slog.NewTextHandler(out, options))
}
