package store_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/store"
)

// BenchmarkABMPage is what a page of a thousand devices costs: new ones, the same ones again in a full fetch, and such that
// get a profile.
func BenchmarkABMPage(b *testing.B) {
	f := newFleet(b)
	f.linked(school)
	f.profile("kiosk", "IT")
	f.server(school, "kiosk")
	page := 0
	records := func() []store.ABMRecord {
		list := make([]store.ABMRecord, 1000)
		for i := range list {
			list[i] = store.ABMRecord{Serial: fmt.Sprintf("B%04d%04d", page, i), Model: "iPad", ProfileStatus: "empty"}
		}
		page++
		return list
	}
	b.Run("new", func(b *testing.B) {
		for b.Loop() {
			f.take(school, true, records()...)
		}
	})
	pages := page
	b.Run("again", func(b *testing.B) {
		_, err := f.WantSync(b.Context(), school, true)
		require.NoError(b, err)
		page = 0
		for b.Loop() {
			f.take(school, true, records()...)
			page %= pages
		}
	})
}
