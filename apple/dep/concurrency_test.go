package dep_test

import (
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/sim/abm"
)

// One client for several callers, while Apple keeps ending its sessions; for the race detector, and for the sum.
func TestManyAtOnce(t *testing.T) {
	p := open(t, abm.Config{})
	serials := p.addNew(p.server.ID, 400)
	c := p.client(p.server.ID)
	uuid := define(t, c)
	var group sync.WaitGroup
	for chunk := range slices.Chunk(serials, 100) {
		group.Go(func() {
			if err := p.ExpireSessions(p.server.ID); err != nil {
				t.Errorf("ending the sessions: %v", err)
			}
			for batch := range slices.Chunk(chunk, 10) {
				got, err := c.AssignProfile(t.Context(), uuid, batch)
				if err != nil || len(got.BySerial) != len(batch) {
					t.Errorf("assigning: %v", err)
				}
			}
		})
		group.Go(func() {
			for range 10 {
				if page, err := c.Fetch(t.Context(), "", 1000); err != nil || len(page.Devices) != 400 {
					t.Errorf("fetching: %v", err)
				}
			}
		})
	}
	group.Wait()
	if t.Failed() {
		return
	}
	details, err := c.Details(t.Context(), serials)
	require.NoError(t, err)
	for _, serial := range serials {
		require.Equal(t, [2]string{"assigned", uuid}, [2]string{details[serial].ProfileStatus, details[serial].ProfileUUID})
	}
}
