package logtest_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/devstack/logtest"
)

func TestWhatManyWriteIsAllThereOnce(t *testing.T) {
	var log logtest.Log
	var all sync.WaitGroup
	taken := make([]string, 20)
	for i := range taken {
		all.Go(func() {
			_, err := fmt.Fprintln(&log, "line")
			if err != nil {
				t.Error(err)
			}
			if i%2 == 0 {
				taken[i] = log.Take()
			}
		})
	}
	all.Wait()
	require.Equal(t, strings.Repeat("line\n", len(taken)), strings.Join(taken, "")+log.String())
}
