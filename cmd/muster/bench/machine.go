package bench

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"go.temporal.io/api/workflowservice/v1"

	"github.com/muster-mdm/muster/cmd/muster/serve"
)

// Machine is where a report comes from; what the system doesn't tell is "unknown" or 0.
type Machine struct {
	Date       time.Time `json:"date"`
	Muster     string    `json:"muster"`
	Cores      int       `json:"cores"`
	CPU        string    `json:"cpu"`
	MemoryGB   float64   `json:"memory_gib"`
	System     string    `json:"system"`
	Go         string    `json:"go"`
	PostgreSQL string    `json:"postgresql"`
	Temporal   string    `json:"temporal"`
	// Load is the load average over one, five and fifteen minutes before the run.
	Load string `json:"load"`
}

const unknown = "unknown"

func describeMachine() Machine {
	m := Machine{
		Date: time.Now().UTC().Truncate(time.Second), Muster: serve.Version(), Cores: runtime.NumCPU(), CPU: unknown,
		System: runtime.GOOS + "/" + runtime.GOARCH, Go: runtime.Version(), PostgreSQL: unknown, Temporal: unknown, Load: unknown,
	}
	if model, ok := entry("/proc/cpuinfo", "model name"); ok {
		m.CPU = model
	}
	if total, ok := entry("/proc/meminfo", "MemTotal"); ok {
		kilobytes, _ := strconv.ParseFloat(strings.TrimSuffix(total, " kB"), 64) // 0 says that it isn't known
		m.MemoryGB = kilobytes / (1 << 20)
	}
	if release, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		m.System += " " + strings.TrimSpace(string(release))
	}
	if load, err := os.ReadFile("/proc/loadavg"); err == nil {
		if fields := strings.Fields(string(load)); len(fields) >= 3 {
			m.Load = strings.Join(fields[:3], ", ")
		}
	}
	return m
}

// entry finds the first "name : value" in a file.
func entry(file, name string) (string, bool) {
	raw, err := os.ReadFile(file)
	if err != nil {
		return "", false
	}
	for line := range strings.Lines(string(raw)) {
		key, value, ok := strings.Cut(line, ":")
		if ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value), true
		}
	}
	return "", false
}

func (s *stage) describeServers(ctx context.Context, m *Machine) error {
	if err := s.pool.QueryRow(ctx, "SHOW server_version").Scan(&m.PostgreSQL); err != nil {
		return fmt.Errorf("asking PostgreSQL for its version: %w", err)
	}
	m.PostgreSQL, _, _ = strings.Cut(m.PostgreSQL, " ")
	info, err := s.temporal.WorkflowService().GetSystemInfo(ctx, &workflowservice.GetSystemInfoRequest{})
	if err != nil {
		return fmt.Errorf("asking Temporal for its version: %w", err)
	}
	m.Temporal = info.GetServerVersion()
	return nil
}
