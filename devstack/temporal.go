package devstack

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

const kindTemporal = "temporal"

// TemporalConfig says how a Temporal development server runs.
type TemporalConfig struct {
	Bin string // from FindTemporal

	// Dir holds the database file and the log, and is made when missing. Empty means a throw-away folder that Stop removes.
	Dir       string
	ThrowAway bool   // gives up durability for speed
	UI        bool   // serve Temporal's web UI, too
	Namespace string // empty: "default"
	// SearchAttributes maps names to types: Keyword, KeywordList, Int, Text, Bool, Double, Datetime. Those that an existing
	// database lacks are added.
	SearchAttributes map[string]string
}

// Temporal is a development server. It can be stopped and started again on the same database and port while others hold it;
// its methods are safe for concurrent use.
type Temporal struct {
	cfg     TemporalConfig
	dir     string
	ports   temporalPorts
	release func()

	mu   sync.Mutex
	proc *process // the latest
}

// temporalPorts are named on the command line without exception: those the server would choose itself may collide.
type temporalPorts struct{ grpc, ui, http, metrics int }

// StartTemporal starts a development server on free loopback ports, the same as last time where they are free, and returns when
// the namespace answers and has its search attributes. The context bounds the start, not the life. ErrInUse tells that a live
// process runs one in the folder already.
func StartTemporal(ctx context.Context, cfg TemporalConfig) (*Temporal, error) {
	t, err := openTemporal(cfg)
	if err != nil {
		return nil, err
	}
	if err := t.firstStart(ctx); err != nil {
		t.release()
		return nil, err
	}
	return t, nil
}

func openTemporal(cfg TemporalConfig) (*Temporal, error) {
	if cfg.Namespace == "" {
		cfg.Namespace = "default"
	}
	dir, temporary := cfg.Dir, cfg.Dir == ""
	if temporary {
		var err error
		if dir, err = throwAwayDir(); err != nil {
			return nil, err
		}
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // PostgreSQL's user may have to pass through the same folder
		return nil, fmt.Errorf("making the folder for Temporal: %w", err)
	}
	lock, err := claim(dir, kindTemporal)
	if err != nil {
		return nil, err
	}
	release := func() {
		if temporary {
			_ = os.RemoveAll(dir)
		}
		_ = lock.Close()
	}
	return &Temporal{cfg: cfg, dir: dir, release: sync.OnceFunc(release)}, nil
}

func (t *Temporal) firstStart(ctx context.Context) error {
	if err := t.endOrphan(ctx); err != nil {
		return err
	}
	wish := rememberedPorts(t.dir, kindTemporal)
	for attempt := 1; ; attempt++ {
		ports, err := freePorts(4, wish)
		if err != nil {
			return err
		}
		t.ports = temporalPorts{grpc: ports[0], ui: ports[1], http: ports[2], metrics: ports[3]}
		if err = t.Start(ctx); err == nil {
			return rememberPorts(t.dir, kindTemporal, ports)
		}
		var crash *CrashError
		if attempt == startAttempts || !errors.As(err, &crash) || !portTaken(crash.Log) {
			return err
		}
		wish = nil
	}
}

func portTaken(log string) bool {
	return strings.Contains(log, "address already in use") || strings.Contains(log, "can't set")
}

// Start starts a server that was stopped or killed, on the same database and ports, and returns when it is ready.
func (t *Temporal) Start(ctx context.Context) error {
	proc, err := t.launch()
	if err != nil {
		return err
	}
	if err := t.awaitReady(ctx, proc); err != nil {
		_ = proc.Stop()
		return err
	}
	return nil
}

func (t *Temporal) launch() (*process, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.proc != nil && t.proc.running() {
		return nil, errors.New("starting Temporal: it still runs")
	}
	proc, err := t.command().start()
	if err != nil {
		return nil, err
	}
	t.proc = proc
	return proc, os.WriteFile(t.pidFile(), []byte(strconv.Itoa(proc.os.Pid)), 0o600)
}

func (t *Temporal) command() command {
	args := []string{
		t.cfg.Bin, "server", "start-dev", "--ip", "127.0.0.1", "--db-filename", t.database(), "--namespace", t.cfg.Namespace,
		"--port", strconv.Itoa(t.ports.grpc), "--http-port", strconv.Itoa(t.ports.http), "--metrics-port", strconv.Itoa(t.ports.metrics),
		"--sqlite-pragma", "journal_mode=WAL", // twice the rate of the default journal
		"--disable-config-file", "--disable-config-env", "--color", "never",
	}
	if t.cfg.ThrowAway {
		args = append(args, "--sqlite-pragma", "synchronous=OFF")
	}
	if t.cfg.UI {
		args = append(args, "--ui-ip", "127.0.0.1", "--ui-port", strconv.Itoa(t.ports.ui))
	} else {
		args = append(args, "--headless")
	}
	for _, name := range slices.Sorted(maps.Keys(t.cfg.SearchAttributes)) {
		args = append(args, "--search-attribute", name+"="+t.cfg.SearchAttributes[name])
	}
	return command{
		name: "Temporal", args: args, env: append(environment("TEMPORAL_"), "HOME="+t.dir), log: filepath.Join(t.dir, "temporal.log"),
		lastWill: syscall.SIGKILL, // its database survives that
		farewell: []farewell{{syscall.SIGTERM, 15 * time.Second}},
	}
}

func (t *Temporal) database() string { return filepath.Join(t.dir, "temporal.db") }
func (t *Temporal) pidFile() string  { return filepath.Join(t.dir, "temporal.pid") }

// endOrphan ends a server that a killed parent left behind, where the kernel doesn't do it.
func (t *Temporal) endOrphan(ctx context.Context) error {
	raw, err := os.ReadFile(t.pidFile())
	if err != nil {
		return nil //nolint:nilerr // none was started here
	}
	pid, err := strconv.Atoi(string(raw))
	if err != nil {
		return nil //nolint:nilerr // not a number that we have written
	}
	return endOrphan(ctx, pid, t.database(), syscall.SIGTERM)
}

// HostPort is the address of the gRPC front end, for Temporal's clients; it outlives restarts.
func (t *Temporal) HostPort() string { return loopback(t.ports.grpc) }

// Namespace is the namespace the server was started with.
func (t *Temporal) Namespace() string { return t.cfg.Namespace }

// UIURL is the address of the web UI, or "" when it isn't served.
func (t *Temporal) UIURL() string {
	if !t.cfg.UI {
		return ""
	}
	return "http://" + loopback(t.ports.ui)
}

func (t *Temporal) latest() *process {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.proc
}

// Name is what people call the server.
func (t *Temporal) Name() string { return t.latest().Name() }

// Done is closed when the server that runs now has ended; after Start ask anew.
func (t *Temporal) Done() <-chan struct{} { return t.latest().Done() }

// Err is nil while the server runs and after Stop or Kill, else a *CrashError.
func (t *Temporal) Err() error { return t.latest().Err() }

// LogTail returns the last n lines the server has written.
func (t *Temporal) LogTail(n int) string { return t.latest().LogTail(n) }

// Pause stops the server and keeps its folder, for Start to go on from.
func (t *Temporal) Pause() error { return t.latest().Stop() }

// Kill ends the server with SIGKILL and keeps its folder, for Start to go on from.
func (t *Temporal) Kill() { t.latest().kill() }

// Stop stops the server for good: the folder is given back, and removed if it was a throw-away one.
func (t *Temporal) Stop() error {
	err := t.latest().Stop()
	t.release()
	return err
}
