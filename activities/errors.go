package activities

import (
	"context"
	"errors"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/temporal"

	"github.com/muster-mdm/muster/provision"
)

// transient are the codes that trying again may mend.
var transient = map[provision.Code]bool{
	provision.Internal: true, provision.StorageUnavailable: true, provision.WorkflowUnavailable: true,
	provision.VersionConflict: true,
}

// outOfOrder is all that Temporal's history says of an error that isn't one of the rules: a driver's text names the
// database's host and user.
const outOfOrder = "the store is out of order; the worker's log says more"

// told turns an error into what Temporal's history may say of it, with the code as its type. One of the rules keeps its
// sentence and isn't retried; of any other the detail goes into the worker's log only.
func told(ctx context.Context, err error) error {
	code := provision.CodeOf(err)
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		return context.Canceled // by which the SDK knows that the activity was cancelled
	case !transient[code]:
		return temporal.NewNonRetryableApplicationError(err.Error(), string(code), nil)
	}
	activity.GetLogger(ctx).Warn("activity not carried out", "code", code, "error", err)
	return temporal.NewApplicationError(outOfOrder, string(code))
}
