package checkin

import (
	"context"
	"log/slog"

	nanomdm "github.com/micromdm/nanomdm/mdm"
	"github.com/micromdm/nanomdm/service"

	"github.com/muster-mdm/muster/api/intake"
	"github.com/muster-mdm/muster/apple/mdm"
	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/store"
)

// recorder stands between the association of certificates and NanoMDM's core: it has the core store a check-in, then
// records the fact in it; of an answer to a command the fact comes first. An error of either makes the device repeat the
// message.
type recorder struct {
	service.CheckinAndCommandService // NanoMDM's core, which answers whatever isn't a fact

	store *store.DB
	facts Facts
	log   *slog.Logger
}

// Authenticate opens an enrollment, unless the device has one and comes with a certificate that renews it. Of that the core
// needn't know: it would clear the queue.
func (s *recorder) Authenticate(r *nanomdm.Request, m *nanomdm.Authenticate) error {
	id, err := identityOf(r)
	if err != nil || id.RenewsNow() {
		return err
	}
	said, err := mdm.InformationOf(m.Raw)
	if err != nil {
		return err
	}
	if err := s.CheckinAndCommandService.Authenticate(r, m); err != nil {
		return err
	}
	device, err := s.facts.Authenticated(r.Context(), intake.Enrollment{
		Serial: id.Serial, UDID: r.ID, Identity: id.Hash, Foreign: id.Foreign, Information: store.Information(said),
	})
	if err != nil {
		return err
	}
	s.log.InfoContext(r.Context(), "device authenticated", "serial", id.Serial, "epoch", device.Activation.Epoch)
	return nil
}

// TokenUpdate completes an enrollment, and renews the push token any time later.
func (s *recorder) TokenUpdate(r *nanomdm.Request, m *nanomdm.TokenUpdate) error {
	id, err := identityOf(r)
	if err != nil {
		return err
	}
	awaiting, err := mdm.AwaitsConfiguration(m.Raw)
	if err != nil {
		return err
	}
	if err := s.CheckinAndCommandService.TokenUpdate(r, m); err != nil {
		return err
	}
	switch {
	case r.ParentID != "":
		return nil
	case id.Management == provision.Managed:
		return s.store.TokenRenewed(r.Context(), id.Serial, awaiting)
	case !id.Opened():
		return nil
	}
	device, err := s.facts.Activated(r.Context(), id.Serial, awaiting)
	if err != nil {
		return err
	}
	s.log.InfoContext(r.Context(), "device activated", "serial", id.Serial, "epoch", device.Activation.Epoch, "awaiting_configuration", awaiting)
	return nil
}

// CheckOut ends an enrollment.
func (s *recorder) CheckOut(r *nanomdm.Request, m *nanomdm.CheckOut) error {
	id, err := identityOf(r)
	if err != nil {
		return err
	}
	if err := s.CheckinAndCommandService.CheckOut(r, m); err != nil {
		return err
	}
	device, err := s.facts.CheckedOut(r.Context(), id.Serial)
	if err != nil {
		return err
	}
	s.log.InfoContext(r.Context(), "device checked out", "serial", id.Serial, "epoch", device.Activation.Epoch)
	return nil
}

const idle = "Idle"

// CommandAndReportResults takes an answer and returns the next command. A device that is not managed, between
// Authenticate and TokenUpdate or after CheckOut, gets none; NanoMDM would not mind.
func (s *recorder) CommandAndReportResults(r *nanomdm.Request, results *nanomdm.CommandResults) (*nanomdm.Command, error) {
	id, err := identityOf(r)
	switch {
	case err != nil:
		return nil, err
	case results.Status != idle:
		return s.answered(r, id, results)
	case id.Management != provision.Managed:
		return nil, nil
	}
	return s.CheckinAndCommandService.CommandAndReportResults(r, results)
}

func (s *recorder) answered(r *nanomdm.Request, id store.Identity, results *nanomdm.CommandResults) (*nanomdm.Command, error) {
	ctx := r.Context()
	sent, err := s.sent(ctx, id, results)
	if err != nil {
		return nil, err
	}
	answer, said, err := mdm.ParseAnswer(results.Raw, sent.Command.Type)
	if err != nil {
		return nil, err
	}
	if sent.Answered() {
		return s.settled(r, id, results)
	}
	// Ours comes first and takes the command off the queue in the same transaction: if the core came first and we died before
	// our turn, a device that doesn't repeat its answer, because it was restarted, would leave its item waiting for ever.
	out, err := s.facts.Answered(ctx, sent.UUID, answer, (*store.Information)(said))
	if err != nil {
		return nil, err
	}
	if answer.Status != provision.AnswerAcknowledged && answer.Status != provision.AnswerNotNow {
		s.log.InfoContext(ctx, "command failed on device", "serial", id.Serial, "command", string(sent.Command.Type),
			"item", sent.Command.Item.String(), "detail", answer.Detail)
	}
	if id.Management != provision.Managed {
		return nil, nil
	}
	// The core need only know what the device puts off: what was answered has left its tables, and an answer of an
	// enrollment that is over would be taken for one of this.
	if answer.Status.Final() || out.Ignored || sent.Epoch != id.Epoch {
		results = asIdle(results)
	}
	return s.CheckinAndCommandService.CommandAndReportResults(r, results)
}

// sent finds the command that is answered. It must be one of this device; users' channels are never sent any.
func (s *recorder) sent(ctx context.Context, id store.Identity, results *nanomdm.CommandResults) (store.SentCommand, error) {
	sent, err := s.store.SentCommand(ctx, results.CommandUUID)
	if err != nil {
		return sent, err
	}
	if sent.Serial != id.Serial || results.Resolved().IsUserChannel {
		return sent, provision.Errorf(provision.UnknownCommand, "Command %.64q was never sent to this device.", results.CommandUUID)
	}
	return sent, nil
}

// settled goes on after a command that was answered for good already. The core isn't told again: a NotNow that comes late
// would overwrite the answer.
func (s *recorder) settled(r *nanomdm.Request, id store.Identity, results *nanomdm.CommandResults) (*nanomdm.Command, error) {
	if id.Management != provision.Managed {
		return nil, nil
	}
	return s.CheckinAndCommandService.CommandAndReportResults(r, asIdle(results))
}

func asIdle(results *nanomdm.CommandResults) *nanomdm.CommandResults {
	return &nanomdm.CommandResults{Enrollment: results.Enrollment, Status: idle, Raw: results.Raw}
}
