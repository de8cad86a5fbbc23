package devstack

import (
	"errors"
	"os"
	"path/filepath"
)

// BinDir is the folder for tools that a source tree builds for itself: .bin at the root of the module around the working
// directory, which for a test is its package's folder.
func BinDir() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return filepath.Join(dir, ".bin"), nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("this works in the folder of Muster's source code only, where it keeps tools that it builds in .bin: change to that folder, or one below it")
		}
		dir = parent
	}
}
