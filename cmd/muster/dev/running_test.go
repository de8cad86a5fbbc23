package dev

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/devstack/logtest"
)

// running is muster dev in the background.
type running struct {
	t         *testing.T
	o         options
	out       *logtest.Log
	interrupt context.CancelFunc
	end       chan error
	pids      map[string]int
	addresses []string
}

func start(t *testing.T, o options) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{t: t, o: o, out: &logtest.Log{}, interrupt: cancel, end: make(chan error, 1)}
	over := make(chan struct{})
	go func() {
		defer close(over)
		r.end <- run(ctx, o, r.out)
	}()
	t.Cleanup(func() {
		cancel()
		<-over
		if t.Failed() {
			t.Logf("the run said:\n%s", r.out)
		}
	})
	return r
}

func (r *running) ended() error { return r.endedWhile(func() {}) }

// endedWhile waits for the end, and does something now and then.
func (r *running) endedWhile(do func()) error {
	r.t.Helper()
	var end error
	r.eventually("end of the run", func() bool {
		do()
		select {
		case end = <-r.end:
			return true
		default:
			return false
		}
	})
	return end
}

func (r *running) await(text string) {
	r.t.Helper()
	r.eventually("line with "+text, func() bool {
		if strings.Contains(r.out.String(), text) {
			return true
		}
		select {
		case err := <-r.end:
			r.t.Fatalf("the run ended before it said %q: %v", text, err)
		default:
		}
		return false
	})
}

func (r *running) eventually(what string, ok func() bool) {
	r.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(patience)
	for !ok() {
		select {
		case <-tick.C:
		case <-limit:
			r.t.Fatalf("no %s within %s", what, patience)
		}
	}
}

// noteServers remembers which processes and ports must be gone in the end.
func (r *running) noteServers() map[string]int {
	r.t.Helper()
	r.pids = map[string]int{
		"PostgreSQL": r.pid("postgres/pgdata/postmaster.pid"), "Temporal": r.pid("temporal/temporal.pid"),
	}
	for _, line := range []string{"API ", "Temporal UI", "PostgreSQL"} {
		r.addresses = append(r.addresses, r.said(line).Host)
	}
	for _, address := range r.addresses {
		require.NoError(r.t, dial(r.t, address))
	}
	return r.pids
}

func (r *running) pid(file string) int {
	r.t.Helper()
	raw, err := os.ReadFile(filepath.Join(r.o.dir, file))
	require.NoError(r.t, err)
	first, _, _ := strings.Cut(string(raw), "\n")
	pid, err := strconv.Atoi(first)
	require.NoError(r.t, err)
	return pid
}

func (r *running) requireAllGone() {
	r.t.Helper()
	for name, pid := range r.pids {
		require.ErrorIs(r.t, syscall.Kill(pid, 0), syscall.ESRCH, name)
	}
	for _, address := range r.addresses {
		require.ErrorIs(r.t, dial(r.t, address), syscall.ECONNREFUSED, address)
	}
}

// said is the address in the line that begins so.
func (r *running) said(line string) *url.URL {
	r.t.Helper()
	found := regexp.MustCompile(`(?m)^  ` + line + ` +(\S+)`).FindStringSubmatch(r.out.String())
	require.NotNil(r.t, found, line)
	u, err := url.Parse(found[1])
	require.NoError(r.t, err)
	return u
}

func (r *running) url() string { return "http://" + r.said("API ").Host }

func freePort(t *testing.T) string {
	t.Helper()
	address, ok := free("127.0.0.1:0")
	require.True(t, ok)
	return address
}

func dial(t *testing.T, address string) error {
	t.Helper()
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", address)
	if err != nil {
		return fmt.Errorf("dialling %s: %w", address, err)
	}
	return conn.Close()
}
