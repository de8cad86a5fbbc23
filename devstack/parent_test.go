package devstack

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// startParent runs this program anew as the parent of both servers, and returns their process ids when they are ready.
func startParent(t *testing.T, dir string) (parent *exec.Cmd, pids [2]int) {
	t.Helper()
	parent = exec.CommandContext(t.Context(), os.Args[0])
	parent.Env = append(os.Environ(), childVariable+"="+dir)
	parent.Stderr = os.Stderr
	require.NoError(t, parent.Start())
	require.Eventually(t, func() bool {
		raw, err := os.ReadFile(filepath.Join(dir, "ready"))
		if err != nil {
			return false
		}
		_, err = fmt.Sscan(string(raw), &pids[0], &pids[1])
		return err == nil
	}, 2*time.Minute, 20*time.Millisecond, "the parent's servers don't come up")
	return parent, pids
}

func TestServersOfAKilledParent(t *testing.T) {
	dir := reachableDir(t)
	parent, pids := startParent(t, dir)
	_, err := StartPostgres(t.Context(), PostgresConfig{Bin: findPostgres(t), Dir: dir, ThrowAway: true})
	require.ErrorIs(t, err, ErrInUse)
	require.ErrorContains(t, err, fmt.Sprintf("process %d", parent.Process.Pid))

	require.NoError(t, parent.Process.Signal(syscall.SIGKILL))
	_ = parent.Wait()
	if runtime.GOOS == "linux" {
		for _, pid := range pids {
			require.Eventually(t, func() bool { return commandLine(pid) == "" }, 30*time.Second, 20*time.Millisecond,
				"process %d outlives its parent", pid)
		}
	}
	// Whatever was left — a stale postmaster.pid, or an orphan where the kernel has no last wills — the next start copes with.
	pg := startPostgres(t, PostgresConfig{Dir: dir, ThrowAway: true})
	requireQuery(t, pg.URL("postgres"))
	startTemporal(t, TemporalConfig{Dir: dir, ThrowAway: true})
}
