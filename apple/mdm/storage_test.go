package mdm_test

import (
	"path/filepath"
	"reflect"
	"runtime"
	"testing"

	nanomdm "github.com/micromdm/nanomdm/mdm"
	"github.com/micromdm/nanomdm/test/e2e"
	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/apple/mdm"
)

// NanoMDM's own battery for storages, over its whole service.
func TestStoragePassesNanoMDMsSuite(t *testing.T) {
	s := newStorage(t)
	// The suite reads its files relative to the folder of a storage in NanoMDM's module.
	file, _ := runtime.FuncForPC(reflect.ValueOf(e2e.TestE2E).Pointer()).FileLine(reflect.ValueOf(e2e.TestE2E).Pointer())
	t.Chdir(filepath.Join(filepath.Dir(file), "..", "..", "storage", "pgsql"))
	e2e.TestE2E(t, t.Context(), s)
}

func TestTallyOfAnUnknownDeviceIsZero(t *testing.T) {
	n, err := newStorage(t).RetrieveTokenUpdateTally(t.Context(), "nobody")
	require.NoError(t, err)
	require.Zero(t, n)
}

func TestAssociationsReadBeforeAreNotReadAgain(t *testing.T) {
	s := newStorage(t)
	request := func(hash string, ids ...string) *nanomdm.Request {
		r := nanomdm.NewRequestWithContext(mdm.WithAssociation(t.Context(), hash, ids), nil)
		r.EnrollID = &nanomdm.EnrollID{ID: "UDID-1", Type: nanomdm.Device}
		return r
	}
	for name, tt := range map[string]struct {
		r    *nanomdm.Request
		want bool
	}{
		"known":             {request("aa", "UDID-1"), true},
		"other enrollment":  {request("aa", "UDID-2"), false},
		"other certificate": {request("bb", "UDID-1"), false},
	} {
		got, err := s.IsCertHashAssociated(tt.r, "aa")
		require.NoError(t, err)
		require.Equal(t, tt.want, got, name)
	}
}
