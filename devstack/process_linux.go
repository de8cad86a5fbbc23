package devstack

import (
	"os"
	"strconv"
	"strings"
	"syscall"
)

func attributes(lastWill syscall.Signal) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: lastWill}
}

// commandLine returns a running process's arguments separated by blanks, or "" when there is no such process.
func commandLine(pid int) string {
	raw, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cmdline")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(strings.ReplaceAll(string(raw), "\x00", " "))
}
