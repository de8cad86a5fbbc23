package intake_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/api/intake"
	"github.com/muster-mdm/muster/provision"
)

func TestSizesAreWrittenAsPeopleDo(t *testing.T) {
	for limit, says := range map[int64]string{
		5 << 20: "5 MiB", 1 << 20: "1 MiB", 3 << 19: "1536 KiB", 64 << 10: "64 KiB", 1000: "1000 bytes", 1<<20 + 1: "1048577 bytes",
	} {
		err := intake.TooLarge("The message", limit)
		require.EqualError(t, err, "The message is larger than "+says+".")
		require.Equal(t, provision.PayloadTooLarge, err.Code)
	}
}
