package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/spf13/cobra"
	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"

	"github.com/muster-mdm/muster/apple/mdm"
	"github.com/muster-mdm/muster/cmd/muster/settings"
	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/signals"
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

// finding is the result of one check; a hint says what to do. What is only a warning doesn't fail the whole.
type finding struct {
	what    string
	err     error
	hint    string
	warning bool
}

func examine(cmd *cobra.Command, s settings.Serve) error {
	ctx, cancel := context.WithTimeout(cmd.Context(), 30*time.Second)
	defer cancel()
	findings := []finding{{"Settings", s.Check(), "Set what the sentence names.", false}}
	findings = append(findings, examineDatabase(ctx, s)...)
	findings = append(findings, examineTemporal(ctx, s)...)
	sick := 0
	for _, f := range findings {
		if f.err == nil {
			_, _ = fmt.Fprintf(cmd.OutOrStdout(), "ok    %s\n", f.what)
			continue
		}
		verdict := "warn"
		if !f.warning {
			sick++
			verdict = "FAIL"
		}
		_, _ = fmt.Fprintf(cmd.OutOrStdout(), "%s  %s: %v\n      %s\n", verdict, f.what, f.err, f.hint)
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
	findings := []finding{{"PostgreSQL", err, "Start PostgreSQL, or set MUSTER_DATABASE_URL.", false}}
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
		return append(findings, finding{"Schema", fmt.Errorf("%d migrations are pending", pending), "Run muster migrate up.", false})
	}
	findings = append(findings, finding{what: "Schema"})
	return append(findings, examineCertificates(ctx, s)...)
}

func examineCertificates(ctx context.Context, s settings.Serve) []finding {
	ring, err := s.Ring()
	if err != nil {
		return []finding{{"Secrets", err, openHint, false}}
	}
	db, err := store.Open(ctx, store.Config{URL: s.DatabaseURL, MaxConns: 2}, store.WithSealer(ring))
	if err != nil {
		return []finding{{"Database", err, "Set MUSTER_DATABASE_URL as muster serve needs it.", false}}
	}
	defer db.Close()
	return []finding{
		{"Push certificate", examinePushCertificate(ctx, db, s), "Give MUSTER_PUSH_CERT_FILE and MUSTER_PUSH_KEY_FILE a certificate from identity.apple.com.", false},
		{"Device identities", examineIdentities(ctx, db, s), "They were to renew long ago: switch them on. Raise MUSTER_IDENTITY_GRACE to let them in longer, or enroll them anew.", false},
		{"Automated enrollment", examineEnrolling(ctx, db, s), "Give MUSTER_ENROLL_ANCHORS_FILE the certificate of the Apple iPhone Device CA (PEM).", false},
		examineSecrets(ctx, db, ring),
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

func examineTemporal(ctx context.Context, s settings.Serve) []finding {
	at := finding{what: "Temporal at " + s.TemporalAddress, hint: "Start Temporal, or set MUSTER_TEMPORAL_ADDRESS. Until then nothing is lost: facts wait in the database."}
	c, err := client.NewLazyClient(client.Options{HostPort: s.TemporalAddress, Namespace: s.TemporalNamespace, Logger: quiet{}})
	if err != nil {
		at.err = err
		return []finding{at}
	}
	defer c.Close()
	if _, err := c.CheckHealth(ctx, &client.CheckHealthRequest{}); err != nil {
		at.err = provision.Errorf(provision.WorkflowUnavailable, "it does not answer (%v)", err)
		return []finding{at}
	}
	return []finding{at, {"Workers", examineWorkers(ctx, c, s), "Start muster serve with the role worker. Until then what is accepted waits: devices, imports and operations.", true}}
}

// examineWorkers asks Temporal who has asked it for work lately; it remembers that for five minutes.
func examineWorkers(ctx context.Context, c client.Client, s settings.Serve) error {
	queue, err := c.DescribeTaskQueue(ctx, signals.TaskQueue, enums.TASK_QUEUE_TYPE_WORKFLOW)
	var missing *serviceerror.NamespaceNotFound
	switch {
	case errors.As(err, &missing):
		return fmt.Errorf("the namespace %s does not exist", s.TemporalNamespace)
	case err != nil:
		return err
	case len(queue.GetPollers()) == 0:
		return fmt.Errorf("none has asked for work in the namespace %s for five minutes", s.TemporalNamespace)
	}
	return nil
}

// quiet keeps the SDK's log out of the report.
type quiet struct{}

func (quiet) Debug(string, ...any) {}
func (quiet) Info(string, ...any)  {}
func (quiet) Warn(string, ...any)  {}
func (quiet) Error(string, ...any) {}
