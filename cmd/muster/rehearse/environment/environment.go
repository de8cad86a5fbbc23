package environment

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"go.temporal.io/sdk/client"

	"github.com/muster-mdm/muster/devstack"
	"github.com/muster-mdm/muster/devstack/directories"
	"github.com/muster-mdm/muster/sim"
	"github.com/muster-mdm/muster/sim/abm"
	"github.com/muster-mdm/muster/store"
	"github.com/muster-mdm/muster/store/keyring"
)

// Environment is a running Muster with all that surrounds it. Its methods are safe for concurrent use.
type Environment struct {
	cfg          Config
	dir          string
	servers      *servers
	push         *sim.APNs
	factory      *sim.Factory
	portal       *abm.Organization
	portalAt     *abm.Listener
	directory    *directories.Slapd
	keyring      string
	front        *http.Server
	listen       string
	workerListen string
	publicURL    string
	token        string
	crashed      chan error
	following    sync.WaitGroup
	unfollow     context.CancelFunc

	mu       sync.Mutex
	programs map[string]*devstack.Program
}

// Open starts the servers and migrates the database, but none of muster's processes.
func Open(ctx context.Context, cfg Config) (*Environment, error) {
	dir, err := newFolder(cfg.Keep)
	if err != nil {
		return nil, err
	}
	e := &Environment{cfg: cfg, dir: dir, token: store.NewSecret(), keyring: keyring.NewKey(), crashed: make(chan error, 1), programs: map[string]*devstack.Program{}}
	if err := e.open(ctx); err != nil {
		return nil, errors.Join(err, e.Close())
	}
	return e, nil
}

const (
	throwAway = "muster-rehearsal-"
	kept      = "muster-kept-"
	// abandoned is the age at which a throw-away folder's owner must have been killed.
	abandoned = 24 * time.Hour
)

// newFolder makes the folder for logs and keys, and removes what killed rehearsals left behind.
func newFolder(keep bool) (string, error) {
	old, _ := filepath.Glob(filepath.Join(os.TempDir(), throwAway+"*"))
	for _, dir := range old {
		if info, err := os.Stat(dir); err == nil && time.Since(info.ModTime()) > abandoned {
			_ = os.RemoveAll(dir) // another user's, perhaps
		}
	}
	prefix := throwAway
	if keep {
		prefix = kept
	}
	dir, err := os.MkdirTemp("", prefix)
	if err != nil {
		return "", fmt.Errorf("making a folder for logs: %w", err)
	}
	if err := os.Chmod(dir, 0o755); err != nil { //nolint:gosec // PostgreSQL's user has to pass through it
		return "", fmt.Errorf("making a folder for logs: %w", err)
	}
	return dir, nil
}

func (e *Environment) open(ctx context.Context) error {
	var err error
	if e.servers, err = startServers(ctx, e.cfg, e.dir); err != nil {
		return err
	}
	if err := e.startPush(ctx); err != nil {
		return err
	}
	if err := e.startPortal(ctx); err != nil {
		return err
	}
	if err := e.startDirectory(ctx); err != nil {
		return err
	}
	if err := e.address(ctx); err != nil {
		return err
	}
	migrate, err := e.program("migrate", nil, "migrate", "up")
	if err != nil {
		return err
	}
	if err := devstack.RunProgram(ctx, migrate); err != nil {
		return err
	}
	if e.cfg.Logs != nil {
		following, unfollow := context.WithCancel(context.WithoutCancel(ctx))
		e.unfollow = unfollow
		e.following.Go(func() { follow(following, e.dir, e.cfg.Logs) })
	}
	return nil
}

// Start is Open with the API and the worker running.
func Start(ctx context.Context, cfg Config) (*Environment, error) {
	e, err := Open(ctx, cfg)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(e.StartAPI(ctx), e.StartWorker(ctx)); err != nil {
		return nil, errors.Join(err, e.Close())
	}
	return e, nil
}

func (e *Environment) startPush(ctx context.Context) error {
	var err error
	if e.push, err = sim.StartAPNs(context.WithoutCancel(ctx), e.cfg.Push); err != nil {
		return err
	}
	cert, key, err := e.push.IssuePushCertificate("com.apple.mgmt.External.rehearsal")
	if err != nil {
		return err
	}
	for name, content := range map[string][]byte{"apns-ca.pem": e.push.CACertPEM(), "push-cert.pem": cert, "push-key.pem": key} {
		if err := os.WriteFile(filepath.Join(e.dir, name), content, 0o600); err != nil {
			return fmt.Errorf("keeping %s: %w", name, err)
		}
	}
	return nil
}

// startPortal founds an organisation at a virtual Apple Business Manager, which does at once what Apple takes minutes for.
func (e *Environment) startPortal(ctx context.Context) error {
	var err error
	if e.factory, err = sim.NewFactory(); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(e.dir, "enroll-anchors.pem"), e.factory.AnchorsPEM(), 0o600); err != nil {
		return fmt.Errorf("keeping the devices' authority: %w", err)
	}
	e.portal = abm.New(abm.Config{Seed: e.cfg.PortalSeed, Lifetime: abm.Lifetimes{Activity: 300 * time.Millisecond}})
	if e.portalAt, err = e.portal.Listen(context.WithoutCancel(ctx), "127.0.0.1:0"); err != nil {
		return fmt.Errorf("starting the virtual Apple Business Manager: %w", err)
	}
	return nil
}

// startDirectory starts a directory to sign in against, if anybody does. Its end counts as a crash like that of muster's processes.
func (e *Environment) startDirectory(ctx context.Context) error {
	if len(e.cfg.Accounts) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, buildPatience)
	defer cancel()
	var err error
	e.directory, err = directories.StartSlapd(ctx, e.cfg.Progress, e.cfg.Accounts...)
	if err == nil {
		e.watch(e.directory.Program)
	}
	return err
}

// address chooses where muster listens and what devices are told, which must stay the same when processes come back.
func (e *Environment) address(ctx context.Context) error {
	for _, to := range []*string{&e.listen, &e.workerListen} {
		port, err := devstack.FreePort()
		if err != nil {
			return err
		}
		*to = net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	}
	e.publicURL = "http://" + e.listen
	if e.cfg.Front == nil {
		return nil
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listening for devices: %w", err)
	}
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: e.listen})
	proxy.ErrorLog = log.New(io.Discard, "", 0) // a muster that is killed, or a device that hangs up, is nothing to tell
	e.front = &http.Server{Handler: e.cfg.Front(proxy), ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = e.front.Serve(listener) }() // ends by Close
	e.publicURL = "http://" + listener.Addr().String()
	return nil
}

// Close ends everything and removes what was written, unless Config.Keep is set.
func (e *Environment) Close() error {
	var errs []error
	e.mu.Lock()
	programs := e.programs
	e.mu.Unlock()
	for _, name := range []string{workerName, apiName} {
		if p := programs[name]; p != nil {
			errs = append(errs, p.Stop())
		}
	}
	for _, p := range programs {
		errs = append(errs, p.Stop())
	}
	if e.front != nil {
		errs = append(errs, e.front.Close())
	}
	if e.push != nil {
		errs = append(errs, e.push.Close())
	}
	if e.portalAt != nil {
		errs = append(errs, e.portalAt.Close())
	}
	if e.directory != nil {
		errs = append(errs, e.directory.Stop())
	}
	if e.servers != nil {
		errs = append(errs, e.servers.stop())
	}
	if e.unfollow != nil {
		e.unfollow()
		e.following.Wait()
	}
	if !e.cfg.Keep {
		errs = append(errs, os.RemoveAll(e.dir))
	}
	return errors.Join(slices.DeleteFunc(errs, func(err error) bool { return err == nil })...)
}

// Crashed yields the end of a process of muster's that nobody asked for.
func (e *Environment) Crashed() <-chan error { return e.crashed }

// Dir is the folder with the logs.
func (e *Environment) Dir() string { return e.dir }

// URL is where devices and customers reach muster.
func (e *Environment) URL() string { return e.publicURL }

// Token is an administrator's.
func (e *Environment) Token() string { return e.token }

// Keyring is what seals muster's secrets.
func (e *Environment) Keyring() string { return e.keyring }

// DatabaseURL is muster's database; the role may create others beside it.
func (e *Environment) DatabaseURL() string { return e.servers.databaseURL }

// Push is the virtual push service.
func (e *Environment) Push() *sim.APNs { return e.push }

// Factory is where the devices were made.
func (e *Environment) Factory() *sim.Factory { return e.factory }

// Portal is the organisation's Apple Business Manager.
func (e *Environment) Portal() *abm.Organization { return e.portal }

// Directory is where people sign in; nil without Config.Accounts.
func (e *Environment) Directory() *directories.Slapd { return e.directory }

// Postgres is the private PostgreSQL; nil where a shared one is used.
func (e *Environment) Postgres() *devstack.Postgres { return e.servers.postgres }

// Temporal is the private Temporal; nil where a shared one is used.
func (e *Environment) Temporal() *devstack.Temporal { return e.servers.temporal }

// Dial connects to Temporal in the environment's namespace.
func (e *Environment) Dial(ctx context.Context) (client.Client, error) {
	c, err := client.DialContext(ctx, client.Options{HostPort: e.servers.hostPort, Namespace: e.servers.namespace, Logger: silent()})
	if err != nil {
		return nil, fmt.Errorf("connecting to Temporal: %w", err)
	}
	return c, nil
}

// StopTemporal stops the private Temporal and keeps what it knows; StartTemporal goes on from there.
func (e *Environment) StopTemporal() error { return e.servers.temporal.Pause() }

// StartTemporal starts Temporal again where it was.
func (e *Environment) StartTemporal(ctx context.Context) error { return e.servers.temporal.Start(ctx) }
