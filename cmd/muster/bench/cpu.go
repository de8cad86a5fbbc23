package bench

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// processNames are the processes whose time is measured, in the order of the table's columns.
var processNames = []string{"temporal", postgresql, "api", "worker", "bare", "load"}

const postgresql = "postgresql"

// tick is the unit of times in /proc: 100 a second on every Linux that Go runs on.
const tick = 10 * time.Millisecond

// spent is what one process has used so far, and what its ended and waited-for children had.
type spent struct {
	parent        int
	own, children time.Duration
}

func readStat(pid string) (spent, error) {
	raw, err := os.ReadFile(filepath.Join("/proc", pid, "stat"))
	if err != nil {
		return spent{}, err
	}
	return parseStat(string(raw))
}

// parseStat reads a line of proc_pid_stat(5). The program's name in it may hold anything, brackets and blanks too.
func parseStat(line string) (spent, error) {
	const ppid, utime, stime, cutime, cstime = 1, 11, 12, 13, 14 // counted behind the name
	fields := strings.Fields(line[strings.LastIndexByte(line, ')')+1:])
	if len(fields) <= cstime {
		return spent{}, fmt.Errorf("reading a process's times: %q is too short", line)
	}
	numbers := map[int]int64{}
	for _, i := range []int{ppid, utime, stime, cutime, cstime} {
		n, err := strconv.ParseInt(fields[i], 10, 64)
		if err != nil {
			return spent{}, fmt.Errorf("reading a process's times: %w", err)
		}
		numbers[i] = n
	}
	return spent{
		parent: int(numbers[ppid]), own: time.Duration(numbers[utime]+numbers[stime]) * tick,
		children: time.Duration(numbers[cutime]+numbers[cstime]) * tick,
	}, nil
}

// used is the time that a process has used so far; withChildren adds those that live, and those that have ended.
func used(pid int, withChildren bool) (time.Duration, error) {
	s, err := readStat(strconv.Itoa(pid))
	if err != nil {
		return 0, fmt.Errorf("reading the times of process %d: %w", pid, err)
	}
	if !withChildren {
		return s.own, nil
	}
	total := s.own + s.children
	all, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return 0, err
	}
	for _, file := range all {
		child, err := readStat(filepath.Base(filepath.Dir(file)))
		if err == nil && child.parent == pid { // one that has just ended is among its parent's
			total += child.own + child.children
		}
	}
	return total, nil
}

// clock measures the time and the processors' time of a run.
type clock struct {
	stage *stage
	at    time.Time
	cpu   map[string]time.Duration
}

func (s *stage) startClock() (*clock, error) {
	cpu, err := s.usage()
	if err != nil {
		return nil, err
	}
	return &clock{stage: s, at: time.Now(), cpu: cpu}, nil
}

// stop ends a run of so many units that was over at a time, a moment ago.
func (c *clock) stop(units int, over time.Time) (run, error) {
	now, err := c.stage.usage()
	if err != nil {
		return run{}, err
	}
	r := run{units: units, elapsed: over.Sub(c.at), cpu: map[string]time.Duration{}}
	for name, total := range now {
		if before, ok := c.cpu[name]; ok {
			r.cpu[name] = total - before
		}
	}
	if r.elapsed <= 0 {
		return run{}, fmt.Errorf("the run took %s", r.elapsed)
	}
	return r, nil
}

// usage is what each process that runs now has used; empty on a system without /proc.
func (s *stage) usage() (map[string]time.Duration, error) {
	totals := map[string]time.Duration{}
	if !tellsTimes() {
		return totals, nil
	}
	for name, pid := range s.pids() {
		var err error
		if totals[name], err = used(pid, name == postgresql); err != nil {
			return nil, err
		}
	}
	return totals, nil
}

func tellsTimes() bool {
	_, err := os.Stat("/proc/self/stat")
	return err == nil
}
