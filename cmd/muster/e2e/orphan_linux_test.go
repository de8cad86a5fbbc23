package e2e

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestEndedRehearsalLeavesNoProcessBehind(t *testing.T) {
	for name, end := range map[string]syscall.Signal{"by Ctrl-C": syscall.SIGINT, "by kill -9": syscall.SIGKILL} {
		t.Run(name, func(t *testing.T) {
			var said bytes.Buffer
			self, err := os.Executable()
			require.NoError(t, err)
			rehearsal := exec.CommandContext(t.Context(), self, "rehearse", "--devices", "3", "--timeout", "5m")
			rehearsal.Env = append(os.Environ(), asMuster+"=yes")
			rehearsal.Stdout, rehearsal.Stderr = &said, &said
			require.NoError(t, rehearsal.Start())
			var family []int
			require.Eventually(t, func() bool {
				family = descendants(rehearsal.Process.Pid)
				return count(family, "serve") == 2
			}, time.Minute, 20*time.Millisecond, "the API and the worker don't come up")
			require.NoError(t, rehearsal.Process.Signal(end))
			require.Error(t, rehearsal.Wait(), "a rehearsal that was ended did not end well: %s", said.String())
			require.Eventually(t, func() bool { return count(family, "") == 0 }, time.Minute, 20*time.Millisecond, "something lives on")
		})
	}
}

// descendants are the processes below one, PostgreSQL's and Temporal's among them.
func descendants(parent int) []int {
	var all []int
	entries, _ := filepath.Glob("/proc/[0-9]*")
	for _, entry := range entries {
		pid, _ := strconv.Atoi(filepath.Base(entry))
		if parentOf(pid) == parent {
			all = append(append(all, pid), descendants(pid)...)
		}
	}
	return all
}

func parentOf(pid int) int {
	raw, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return 0
	}
	_, after, _ := strings.Cut(string(raw), ") ")
	fields := strings.Fields(after)
	if len(fields) < 2 {
		return 0
	}
	parent, _ := strconv.Atoi(fields[1])
	return parent
}

// count counts the processes that live and have a word on their command line.
func count(pids []int, word string) int {
	n := 0
	for _, pid := range pids {
		raw, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "cmdline"))
		if err == nil && len(raw) > 0 && strings.Contains(string(raw), word) {
			n++
		}
	}
	return n
}
