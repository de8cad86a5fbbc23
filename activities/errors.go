package activities

import (
	"go.temporal.io/sdk/temporal"

	"github.com/muster-mdm/muster/provision"
)

// transient are the codes that trying again may mend.
var transient = map[provision.Code]bool{
	provision.Internal: true, provision.StorageUnavailable: true, provision.WorkflowUnavailable: true,
	provision.VersionConflict: true,
}

// permanent turns an error of the rules into one that Temporal doesn't retry, with the code as its type. Only the sentence
// for people goes into the history.
func permanent(err error) error {
	code := provision.CodeOf(err)
	if err == nil || transient[code] {
		return err
	}
	return temporal.NewNonRetryableApplicationError(err.Error(), string(code), nil)
}
