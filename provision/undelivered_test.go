package provision_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/provision"
)

func TestExplainUndelivered(t *testing.T) {
	since := at(10)
	for says, u := range map[string]provision.Undelivered{
		"What happened to the device has not reached its workflow yet: Temporal refused it, and it is tried again.":                                  {Since: since, Refused: true, Ahead: 3},
		"What happened to the device has not reached its workflow yet: Temporal could not be reached, and it is tried again.":                        {Since: since, Failed: true},
		"What happened to the device has not reached its workflow yet, although nothing goes before.":                                                {Since: since},
		"What happened to the device has not reached its workflow yet: one fact of another device goes before.":                                      {Since: since, Ahead: 1},
		"What happened to the device has not reached its workflow yet: 512 facts of other devices go before, such as those of an import.":            {Since: since, Ahead: 512},
		"What happened to the device has not reached its workflow yet: more than 9999 facts of other devices go before, such as those of an import.": {Since: since, Ahead: provision.MostAhead},
	} {
		waits := u.Explain(since.Add(provision.DeliveryTakes))
		require.Len(t, waits, 1)
		require.Equal(t, says, waits[0].For)
		require.Equal(t, since, waits[0].Since)
		require.NotEmpty(t, waits[0].Who)
		require.Empty(t, u.Explain(since.Add(provision.DeliveryTakes-time.Millisecond)), "that is how long it takes")
	}
	require.Empty(t, provision.Undelivered{}.Explain(at(99)))
}
