package provision_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/provision"
)

func TestServerTokensWarnBeforeTheyExpire(t *testing.T) {
	const day = 24 * time.Hour
	for left, want := range map[time.Duration]provision.TokenWarning{
		-time.Hour: provision.TokenExpired, 0: provision.TokenExpired, time.Second: provision.TokenOneDay, day: provision.TokenOneDay,
		day + time.Second: provision.TokenOneWeek, 7 * day: provision.TokenOneWeek, 7*day + time.Second: provision.TokenOneMonth,
		30 * day: provision.TokenOneMonth, 30*day + time.Second: "", 365 * day: "",
	} {
		require.Equal(t, want, provision.WarnOfToken(noon.Add(left), noon), left)
	}
}
