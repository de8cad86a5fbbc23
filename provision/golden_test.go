package provision_test

import (
	"flag"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/provision"
)

var update = flag.Bool("update", false, "write the golden file anew; only when fields were added")

const golden = "testdata/history.golden"

// What workflow histories and the devices table hold is named here for ever: a line may be added, never changed or taken
// away, or devices under way could not be read any more.
func TestFieldsOfHistoriesOnlyGrow(t *testing.T) {
	var now []string
	for _, v := range []any{provision.Fact{}, provision.Device{}, provision.Step{}, provision.Policy{}} {
		typ := reflect.TypeOf(v)
		now = append(now, fields(typ.Name(), typ)...)
	}
	for _, kind := range append(provision.Signals(), provision.Registered, provision.Provisioning, provision.SetupReleased,
		provision.Enrolled, provision.Stuck, provision.Nudged, provision.Released, provision.ABMAsked,
		provision.DeprovisionSent, provision.Reminded, provision.DeviceProfileChosen) {
		now = append(now, "kind "+string(kind))
	}
	if *update {
		require.NoError(t, os.WriteFile(golden, []byte(strings.Join(now, "\n")+"\n"), 0o644))
	}
	kept, err := os.ReadFile(golden)
	require.NoError(t, err)
	require.Equal(t, strings.Split(strings.TrimSpace(string(kept)), "\n"), now)
}

// fields lists the JSON names of a struct with what they hold.
func fields(path string, typ reflect.Type) []string {
	for typ.Kind() == reflect.Pointer || typ.Kind() == reflect.Slice {
		if typ.Kind() == reflect.Slice {
			path += "[]"
		}
		typ = typ.Elem()
	}
	if typ.Kind() != reflect.Struct || typ == reflect.TypeFor[time.Time]() {
		return []string{path + " " + typ.String()}
	}
	var all []string
	for i := range typ.NumField() {
		f := typ.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case f.Anonymous && name == "":
			all = append(all, fields(path, f.Type)...)
		case name == "":
			all = append(all, fields(path+"."+f.Name, f.Type)...)
		default:
			all = append(all, fields(path+"."+name, f.Type)...)
		}
	}
	return all
}
