// Package schemaflag gives the tests of a package the flag -apple-schema; import it from test files only.
package schemaflag

import (
	"flag"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/muster-mdm/muster/sim/appleschema"
)

// The variable lets one run over many packages name the folder: `go test` refuses a flag that one of them does not define.
var dir = flag.String("apple-schema", os.Getenv("MUSTER_APPLE_SCHEMA"), "check MDM messages against Apple's published schema in this folder")

var load = sync.OnceValues(func() (*appleschema.Schema, error) {
	return appleschema.Load(resolve(*dir))
})

// Schema returns Apple's schema, and false when no folder was given. A folder that can't be read fails the test.
// A relative folder is looked for from the package's folder first, then from the module's root.
func Schema(t testing.TB) (*appleschema.Schema, bool) {
	t.Helper()
	if *dir == "" {
		return nil, false
	}
	s, err := load()
	if err != nil {
		t.Fatalf("loading Apple's schema: %v", err)
	}
	return s, true
}

// Watch returns a watcher whose violations fail the test when it ends, and false when no folder was given.
func Watch(t testing.TB) (*appleschema.Watcher, bool) {
	t.Helper()
	s, ok := Schema(t)
	if !ok {
		return nil, false
	}
	w := appleschema.NewWatcher(s)
	t.Cleanup(func() {
		for _, v := range w.Violations() {
			t.Errorf("apple's schema: %s", v)
		}
	})
	return w, true
}

func resolve(path string) string {
	if filepath.IsAbs(path) || exists(path) {
		return path
	}
	root, err := os.Getwd()
	for err == nil && !exists(filepath.Join(root, "go.mod")) {
		if parent := filepath.Dir(root); parent != root {
			root = parent
			continue
		}
		return path
	}
	return filepath.Join(root, path)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
