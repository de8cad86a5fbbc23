package activities

import (
	"context"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/temporal"

	"github.com/muster-mdm/muster/apple/fault"
	"github.com/muster-mdm/muster/provision"
)

// throttlePause is kept when Apple asks for a pause without saying how long.
const throttlePause = 30 * time.Second

// causes are what a fault of the device assignment API makes of its server. What Apple refuses for no reason that is
// known passes for a matter of access: a person must look.
var causes = map[fault.Kind]provision.BlockCause{
	fault.TokenExpired:   provision.BlockedTokenExpired,
	fault.TokenRejected:  provision.BlockedTokenRejected,
	fault.TermsNotSigned: provision.BlockedTerms,
	fault.AccessDenied:   provision.BlockedAccess,
	fault.Unreachable:    provision.BlockedUnreachable,
	fault.Garbled:        provision.BlockedUnreachable,
	fault.Refused:        provision.BlockedAccess,
	fault.NotFound:       provision.BlockedAccess,
}

// noted notes what went wrong at the device assignment API. What passes by itself is an error that is retried, at the time
// that Apple asks for; of what doesn't pass, and of throttles, the halt tells.
func (a *apple) noted(ctx context.Context, err error) (ABMHalt, error) {
	f, ok := fault.As(err)
	if !ok || ctx.Err() != nil {
		return ABMHalt{}, told(ctx, err)
	}
	if f.Kind == fault.Throttled {
		return a.throttled(ctx, f)
	}
	cause := causes[f.Kind]
	if cause == "" {
		cause = provision.BlockedAccess
	}
	if _, failed := a.Servers.ABMFailed(ctx, a.server, cause, f.Error()); failed != nil {
		return ABMHalt{}, told(ctx, failed)
	}
	activity.GetLogger(ctx).Warn("apple business manager can't be used", "server", a.server.Name, "cause", cause, "code", f.Code, "error", err)
	if cause != provision.BlockedUnreachable {
		return ABMHalt{Blocked: cause}, nil
	}
	return ABMHalt{}, passing(f)
}

// passing is an error that Temporal retries. Its text is for people and quotes nothing of ours.
func passing(f *fault.Error) error {
	return temporal.NewApplicationErrorWithOptions(f.Error(), string(f.Kind), temporal.ApplicationErrorOptions{NextRetryDelay: f.RetryAfter})
}

// throttled keeps the pause that Apple asks for, for everything that asks for the server.
func (a *apple) throttled(ctx context.Context, f *fault.Error) (ABMHalt, error) {
	pause := pauseOf(f)
	if err := a.Servers.ABMThrottled(ctx, a.server.Name, pause); err != nil {
		return ABMHalt{}, told(ctx, err)
	}
	return ABMHalt{Wait: pause}, nil
}

// verbatim is Apple's answer as a device's page shows it: its code and what it explains, or our sentence if it gave none.
func verbatim(err error) string {
	f, ok := fault.As(err)
	switch {
	case !ok:
		return err.Error()
	case f.Code == "":
		return f.Error()
	case f.Detail == "":
		return f.Code
	}
	return f.Code + ": " + f.Detail
}
