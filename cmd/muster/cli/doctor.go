package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/spf13/cobra"
	"go.temporal.io/sdk/client"

	"github.com/muster-mdm/muster/apple/mdm"
	"github.com/muster-mdm/muster/cmd/muster/settings"
	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/store"
)

func doctorCommand() *cobra.Command {
	var s settings.Serve
	cmd := &cobra.Command{Use: "doctor", Short: "Checks what Muster stands on and says what is wrong and what to do."}
	bound := settings.Bind(cmd.Flags(), &s, environ())
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if bound != nil {
			return settings.AsMisuse(bound)
		}
		return examine(cmd, s)
	}
	return cmd
}

// finding is the result of one check; a hint says what to do.
type finding struct {
	what string
	err  error
	hint string
}

func examine(cmd *cobra.Command, s settings.Serve) error {
	ctx, cancel := context.WithTimeout(cmd.Context(), 30*time.Second)
	defer cancel()
	findings := []finding{{"Settings", s.Check(), "Set what the sentence names."}}
	findings = append(findings, examineDatabase(ctx, s)...)
	findings = append(findings, finding{"Temporal at " + s.TemporalAddress, examineTemporal(ctx, s), "Start Temporal, or set MUSTER_TEMPORAL_ADDRESS. Until then nothing is lost: facts wait in the database."})
	sick := 0
	for _, f := range findings {
		if f.err == nil {
			_, _ = fmt.Fprintf(cmd.OutOrStdout(), "ok    %s\n", f.what)
			continue
		}
		sick++
		_, _ = fmt.Fprintf(cmd.OutOrStdout(), "FAIL  %s: %v\n      %s\n", f.what, f.err, f.hint)
	}
	if sick > 0 {
		return fmt.Errorf("%d of %d checks failed", sick, len(findings))
	}
	return nil
}

func examineDatabase(ctx context.Context, s settings.Serve) []finding {
	if s.DatabaseURL == "" {
		return nil
	}
	all, err := store.MigrationStatus(ctx, s.DatabaseURL)
	findings := []finding{{"PostgreSQL", err, "Start PostgreSQL, or set MUSTER_DATABASE_URL."}}
	if err != nil {
		return findings
	}
	pending := 0
	for _, m := range all {
		if m.AppliedAt.IsZero() {
			pending++
		}
	}
	if pending > 0 {
		return append(findings, finding{"Schema", fmt.Errorf("%d migrations are pending", pending), "Run muster migrate up."})
	}
	findings = append(findings, finding{what: "Schema"})
	return append(findings, examineCertificates(ctx, s)...)
}

func examineCertificates(ctx context.Context, s settings.Serve) []finding {
	db, err := store.Open(ctx, store.Config{URL: s.DatabaseURL, MaxConns: 2})
	if err != nil {
		return []finding{{"Database", err, "Set MUSTER_DATABASE_URL as muster serve needs it."}}
	}
	defer db.Close()
	return []finding{
		{"Push certificate", examinePushCertificate(ctx, db, s), "Give MUSTER_PUSH_CERT_FILE and MUSTER_PUSH_KEY_FILE a certificate from identity.apple.com."},
		{"Device identities", examineIdentities(ctx, db, s), "They were to renew long ago: switch them on. Raise MUSTER_IDENTITY_GRACE to let them in longer, or enroll them anew."},
		{"Automated enrollment", examineEnrolling(ctx, db, s), "Give MUSTER_ENROLL_ANCHORS_FILE the certificate of the Apple iPhone Device CA (PEM)."},
	}
}

func examinePushCertificate(ctx context.Context, db *store.DB, s settings.Serve) error {
	storage, err := mdm.NewStorage(db.NanoMDM(), slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	certificates, err := storage.PushCertificates(ctx)
	if err != nil {
		return err
	}
	if len(certificates) == 0 && s.PushCertFile == "" {
		return errors.New("there is none, so no device can enroll or be woken")
	}
	for _, c := range certificates {
		if left := time.Until(c.NotAfter); left < 30*24*time.Hour {
			return fmt.Errorf("the one for %s ends on %s; renew it with the same Apple Account, or every device must enroll again", c.Topic, c.NotAfter.Format(time.DateOnly))
		}
	}
	return nil
}

// identityWarning is how long before devices are locked out the doctor warns: enrolling them anew takes hands and weeks.
const identityWarning = 60 * 24 * time.Hour

func examineIdentities(ctx context.Context, db *store.DB, s settings.Serve) error {
	warning := warnBefore(s)
	ending, err := db.IdentitiesEnding(ctx, time.Now().Add(warning-s.IdentityGrace))
	if err != nil || ending.Devices == 0 {
		return err
	}
	return fmt.Errorf("enrolled devices whose certificates end within %s, which locks them out: %d; the first is %s, on %s",
		days(warning), ending.Devices, ending.First, ending.At.Add(s.IdentityGrace).UTC().Format(time.DateOnly))
}

func examineTemporal(ctx context.Context, s settings.Serve) error {
	c, err := client.NewLazyClient(client.Options{HostPort: s.TemporalAddress, Namespace: s.TemporalNamespace, Logger: quiet{}})
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err = c.CheckHealth(ctx, &client.CheckHealthRequest{}); err != nil {
		return provision.Errorf(provision.WorkflowUnavailable, "it does not answer (%v)", err)
	}
	return nil
}

// quiet keeps the SDK's log out of the report.
type quiet struct{}

func (quiet) Debug(string, ...any) {}
func (quiet) Info(string, ...any)  {}
func (quiet) Warn(string, ...any)  {}
func (quiet) Error(string, ...any) {}
