package devstack

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// childVariable turns this test program into a parent of servers that a test can kill.
const childVariable = "MUSTER_DEVSTACK_TEST_PARENT"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childVariable); dir != "" {
		if err := beParent(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

// beParent starts both servers, tells by a file that they are ready, and waits to be killed.
func beParent(dir string) error {
	ctx := context.Background()
	pgBin, err := FindPostgres(ctx, FindOptions{})
	if err != nil {
		return err
	}
	pg, err := StartPostgres(ctx, PostgresConfig{Bin: pgBin, Dir: dir, ThrowAway: true})
	if err != nil {
		return err
	}
	temporalBin, err := FindTemporal(ctx, "../.bin", FindOptions{})
	if err != nil {
		return err
	}
	tmp, err := StartTemporal(ctx, TemporalConfig{Bin: temporalBin, Dir: dir, ThrowAway: true})
	if err != nil {
		return err
	}
	pids := fmt.Sprintf("%d %d", pg.os.Pid, tmp.latest().os.Pid)
	if err := os.WriteFile(filepath.Join(dir, "ready.new"), []byte(pids), 0o600); err != nil {
		return err
	}
	if err := os.Rename(filepath.Join(dir, "ready.new"), filepath.Join(dir, "ready")); err != nil {
		return err
	}
	<-ctx.Done() // never: the test kills us
	return nil
}

// reachableDir is a folder that PostgreSQL's user can pass into when the tests run as root; t.TempDir's parents are closed.
func reachableDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "muster-devstack-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}
