package appleschema_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/sim/appleschema"
)

func TestMachineInfo(t *testing.T) {
	s := own(t)
	require.Empty(t, s.CheckMachineInfo(body(t, dict{"NAME": "n", "TAME": true})))
	require.Equal(t, []string{"NAME: required key is missing", "PAW: key is not available on iOS", "TAME: is string instead of boolean"},
		problems(s.CheckMachineInfo(body(t, dict{"PAW": "p", "TAME": "yes"}))))
	require.NotEmpty(t, s.CheckMachineInfo([]byte("<plist")))
}

func TestErrors(t *testing.T) {
	s := own(t)
	require.Empty(t, s.CheckError([]byte(`{"code": "com.example.tired", "message": "m", "details": {"Hours": "8"}}`)))
	for in, want := range map[string]string{
		`{"code": "com.example.tired"}`:                               "details: required key is missing",
		`{"code": "com.example.tired", "details": {}}`:                "details.Hours: required key is missing",
		`{"code": "com.example.awake"}`:                               "code: unknown message",
		`{"code": "com.example.tired", "details": {"Hours": 8}}`:      "details.Hours: is real instead of string",
		`{"code": "com.example.tired", "details": "none", "x": true}`: "details: is string instead of dictionary",
	} {
		require.Contains(t, problems(s.CheckError([]byte(in))), want, in)
	}
	require.NotEmpty(t, s.CheckError([]byte("{")))
}

// A folder that describes commands and check-ins only is good for those.
func TestFolderWithoutTheRest(t *testing.T) {
	dir := t.TempDir()
	for _, part := range []string{"checkin", "commands"} {
		require.NoError(t, os.CopyFS(filepath.Join(dir, "mdm", part), os.DirFS(filepath.Join("testdata", "schema", "mdm", part))))
	}
	s, err := appleschema.Load(dir)
	require.NoError(t, err)
	require.NotEmpty(t, s.CheckMachineInfo(body(t, dict{"NAME": "n"})))
	require.NotEmpty(t, s.CheckError([]byte(`{"code": "com.example.tired"}`)))
}
