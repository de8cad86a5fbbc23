package directorytest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/muster-mdm/muster/devstack/directories"
)

// childVariable turns this test program into a parent of directories that a test can kill.
const childVariable = "MUSTER_DIRECTORY_TEST_PARENT"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childVariable); dir != "" {
		if err := beParent(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	Main(m)
}

// beParent starts both directories, tells by a file that they are ready, and waits to be killed.
func beParent(dir string) error {
	ctx := context.Background()
	ad, err := directories.StartSamba(ctx, nil)
	if err != nil {
		return err
	}
	plain, err := directories.StartSlapd(ctx, nil)
	if err != nil {
		return err
	}
	pids := fmt.Sprintln(ad.Pid(), plain.Pid(), ad.Dir, plain.Dir)
	if err := os.WriteFile(filepath.Join(dir, "ready.new"), []byte(pids), 0o600); err != nil {
		return err
	}
	if err := os.Rename(filepath.Join(dir, "ready.new"), filepath.Join(dir, "ready")); err != nil {
		return err
	}
	<-ctx.Done() // never: the test kills us
	return nil
}
