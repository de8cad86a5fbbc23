package intake

import (
	"fmt"

	"github.com/muster-mdm/muster/provision"
)

// TooLarge says that something sent is larger than limit bytes. It is a [provision.PayloadTooLarge].
func TooLarge(what string, limit int64) *provision.Error {
	return provision.Errorf(provision.PayloadTooLarge, "%s is larger than %s.", what, size(limit))
}

// size writes whole mebibytes and kibibytes as such, as the documentation does.
func size(n int64) string {
	switch {
	case n >= 1<<20 && n%(1<<20) == 0:
		return fmt.Sprintf("%d MiB", n>>20)
	case n >= 1<<10 && n%(1<<10) == 0:
		return fmt.Sprintf("%d KiB", n>>10)
	}
	return fmt.Sprintf("%d bytes", n)
}
