package api_test

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/muster-mdm/muster/api"
	"github.com/muster-mdm/muster/provision"
)

// Whatever a caller makes of a cursor: it is one of this list, or refused; and what is let through PostgreSQL can read.
func FuzzCursor(f *testing.F) {
	for _, raw := range []string{`{"l":"devices","k":["C07Q853LG9RM"]}`, `{"l":"groups","k":["x"]}`, `{"l":"devices","k":[]}`, `{"l":"devices","k":["\u0000"]}`, `[]`, ``} {
		f.Add(base64.RawURLEncoding.EncodeToString([]byte(raw)))
	}
	f.Add("nonsense?")
	f.Fuzz(func(t *testing.T, text string) {
		key, err := api.ParseCursor(&text, "devices", 1)
		if err == nil && (len(key) != 1 || strings.ContainsRune(key[0], 0)) {
			t.Fatalf("%q let through as %q", text, key)
		}
		if err != nil && provision.CodeOf(err) != provision.Internal { // faults carry their own code
			t.Fatalf("%v", err)
		}
	})
}
