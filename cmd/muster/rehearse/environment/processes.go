package environment

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/muster-mdm/muster/devstack"
)

// musterEnviron is the whole environment of muster's processes: no setting of the caller's own leaks in.
func (e *Environment) musterEnviron(more map[string]string) []string {
	all := settings()
	maps.Copy(all, map[string]string{
		"MUSTER_DATABASE_URL":        e.servers.databaseURL,
		"MUSTER_TEMPORAL_ADDRESS":    e.servers.hostPort,
		"MUSTER_TEMPORAL_NAMESPACE":  e.servers.namespace,
		"MUSTER_PUBLIC_URL":          e.publicURL,
		"MUSTER_APNS_URL":            e.push.URL(),
		"MUSTER_APNS_CA_FILE":        filepath.Join(e.dir, "apns-ca.pem"),
		"MUSTER_PUSH_CERT_FILE":      filepath.Join(e.dir, "push-cert.pem"),
		"MUSTER_PUSH_KEY_FILE":       filepath.Join(e.dir, "push-key.pem"),
		"MUSTER_BOOTSTRAP_TOKEN":     e.token,
		"MUSTER_ENROLL_ANCHORS_FILE": filepath.Join(e.dir, "enroll-anchors.pem"),
		"MUSTER_KEYRING":             e.keyring,
		"MUSTER_ABM_URL":             e.portalAt.URL,
		"MUSTER_ABM_BUSINESS_URL":    e.portalAt.URL,
		"MUSTER_ABM_TOKEN_URL":       e.portalAt.URL + "/auth/oauth2/v2/token",
	})
	maps.Copy(all, e.cfg.Variables)
	maps.Copy(all, more)
	var environ []string
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, "MUSTER_") {
			environ = append(environ, kv)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		environ = append(environ, name+"="+all[name])
	}
	return environ
}

func (e *Environment) program(name string, variables map[string]string, args ...string) (devstack.ProgramConfig, error) {
	muster := e.cfg.Muster
	if len(muster) == 0 {
		self, err := os.Executable()
		if err != nil {
			return devstack.ProgramConfig{}, fmt.Errorf("finding muster's own executable: %w", err)
		}
		muster = []string{self}
	}
	return devstack.ProgramConfig{
		Name: name,
		Args: append(slices.Clone(muster), args...),
		Env:  e.musterEnviron(variables),
		Log:  e.logFile(name),
	}, nil
}

func (e *Environment) logFile(name string) string {
	return filepath.Join(e.dir, strings.ReplaceAll(name, " ", "-")+".log")
}

// Start starts a program of muster's under a name that must not be running, and reports it as crashed when it ends unasked.
func (e *Environment) Start(name string, variables map[string]string, args ...string) (*devstack.Program, error) {
	cfg, err := e.program(name, variables, args...)
	if err != nil {
		return nil, err
	}
	p, err := devstack.StartProgram(cfg)
	if err != nil {
		return nil, err
	}
	e.mu.Lock()
	e.programs[name] = p
	e.mu.Unlock()
	e.watch(p)
	return p, nil
}

// watch reports a program as crashed when it ends unasked.
func (e *Environment) watch(p *devstack.Program) {
	go func() {
		<-p.Done()
		if err := p.Err(); err != nil {
			select {
			case e.crashed <- err:
			default: // somebody else's crash is told already
			}
		}
	}()
}

const (
	apiName    = "api"
	workerName = "worker"
)

// StartAPI starts the process that serves REST and devices, and returns when it is ready.
func (e *Environment) StartAPI(ctx context.Context) error {
	p, err := e.Start(apiName, map[string]string{"MUSTER_LISTEN": e.listen}, "serve", "--roles", "api,mdm")
	if err != nil {
		return err
	}
	return e.awaitHTTP(ctx, p, "http://"+e.listen+"/readyz")
}

// StartWorker starts the process that runs workflows, relay and pushes. What it has to do waits until it is up.
func (e *Environment) StartWorker(ctx context.Context) error {
	p, err := e.Start(workerName, map[string]string{"MUSTER_LISTEN": e.workerListen}, "serve", "--roles", "worker")
	if err != nil {
		return err
	}
	return e.awaitHTTP(ctx, p, "http://"+e.workerListen+"/livez")
}

// KillAPI ends the API with SIGKILL.
func (e *Environment) KillAPI() { e.kill(apiName) }

// KillWorker ends the worker with SIGKILL.
func (e *Environment) KillWorker() { e.kill(workerName) }

func (e *Environment) kill(name string) {
	if p := e.Program(name); p != nil {
		p.Kill()
	}
}

// API is the latest process that serves REST and devices.
func (e *Environment) API() *devstack.Program { return e.Program(apiName) }

// Worker is the latest process that runs workflows, relay and pushes.
func (e *Environment) Worker() *devstack.Program { return e.Program(workerName) }

// Program is the latest process of a name, or nil.
func (e *Environment) Program(name string) *devstack.Program {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.programs[name]
}

// awaitHTTP waits until a program answers 200.
func (e *Environment) awaitHTTP(ctx context.Context, p *devstack.Program, url string) error {
	err := poll(ctx, readyPatience, func(ctx context.Context) error {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			return err
		}
		defer func() { _ = res.Body.Close() }()
		if res.StatusCode != http.StatusOK {
			return fmt.Errorf("GET %s: %s", url, res.Status)
		}
		return nil
	})
	if crash := p.Err(); crash != nil {
		return crash
	}
	if err != nil {
		return fmt.Errorf("waiting for %s: %w; the end of its log:\n%s", p.Name(), err, p.LogTail(20))
	}
	return nil
}
