package dev

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/muster-mdm/muster/cmd/muster/serve"
	"github.com/muster-mdm/muster/devstack"
	"github.com/muster-mdm/muster/devstack/directories"
	"github.com/muster-mdm/muster/signals"
	"github.com/muster-mdm/muster/sim"
	"github.com/muster-mdm/muster/sim/abm"
	"github.com/muster-mdm/muster/store"
)

// stack is what runs beneath the demonstration, started bottom up and stopped top down.
type stack struct {
	dir      string
	listen   string
	token    string
	postgres *devstack.Postgres // nil when DATABASE_URL names another
	database string
	temporal *devstack.Temporal
	children *devstack.Supervisor
	apns     *sim.APNs
	factory  *sim.Factory
	portal   *abm.Organization
	portalAt *abm.Listener
	keyring  string
	// directory starts the one that people sign in to.
	directory func(context.Context, devstack.Progress, ...directories.Account) (*directories.Slapd, error)
	people    *directories.Slapd // nil where there is no OpenLDAP
	muster    *serve.Service
	log       *os.File
}

// crashNotice is how long the end of a server may take to be noticed.
const crashNotice = time.Second

func startStack(ctx context.Context, o options, say func(string, ...any)) (st *stack, err error) {
	st = &stack{dir: o.dir, directory: o.directory}
	defer func() {
		if err != nil {
			err = errors.Join(st.blame(ctx, err), st.stop())
			st = nil
		}
	}()
	progress := devstack.Progress(func(sentence string) { say("· %s", sentence) })
	if err := st.startPostgres(ctx, progress); err != nil {
		return st, err
	}
	if err := st.startTemporal(ctx, progress); err != nil {
		return st, err
	}
	children := []devstack.Child{st.temporal}
	if st.postgres != nil {
		children = append(children, st.postgres)
	}
	st.children = devstack.NewSupervisor(children...)
	progress("Bringing the database's schema up to date.")
	if _, err := store.Migrate(ctx, st.database); err != nil {
		return st, err
	}
	if err := st.chooseAddress(o, progress); err != nil {
		return st, err
	}
	if st.token, err = st.keepToken(); err != nil {
		return st, err
	}
	if st.keyring, err = st.keepKeyring(); err != nil {
		return st, err
	}
	if err := st.startAPNs(ctx); err != nil {
		return st, err
	}
	if err := st.startPortal(ctx, o.seed); err != nil {
		return st, err
	}
	if err := st.startDirectory(ctx, progress); err != nil {
		return st, err
	}
	return st, st.startMuster(ctx, progress)
}

func (st *stack) path(name string) string { return filepath.Join(st.dir, name) }

// startPostgres takes the server that DATABASE_URL names, or runs a private one.
func (st *stack) startPostgres(ctx context.Context, progress devstack.Progress) error {
	if st.database = os.Getenv("DATABASE_URL"); st.database != "" {
		progress("Taking the PostgreSQL database that DATABASE_URL names.")
		return nil
	}
	bin, err := devstack.FindPostgres(ctx, devstack.FindOptions{Progress: progress})
	if err != nil {
		return err
	}
	progress("Starting PostgreSQL.")
	st.postgres, err = devstack.StartPostgres(ctx, devstack.PostgresConfig{Bin: bin, Dir: st.path("postgres"), Progress: progress})
	if err != nil {
		return err
	}
	st.database = st.postgres.URL("muster")
	return st.postgres.CreateDatabase(ctx, "muster", "")
}

func (st *stack) startTemporal(ctx context.Context, progress devstack.Progress) error {
	binDir, err := devstack.BinDir()
	if err != nil {
		return err
	}
	bin, err := devstack.FindTemporal(ctx, binDir, devstack.FindOptions{Progress: progress})
	if err != nil {
		return err
	}
	progress("Starting Temporal and its UI.")
	st.temporal, err = devstack.StartTemporal(ctx, devstack.TemporalConfig{
		Bin: bin, Dir: st.path("temporal"), UI: true, SearchAttributes: searchAttributes(),
	})
	return err
}

func searchAttributes() map[string]string {
	types := map[string]string{}
	for name, t := range signals.SearchAttributes() {
		types[name] = t.String()
	}
	return types
}

// startAPNs starts the virtual push service with the authority of the last run, if there was one, so that what was stored
// then still fits.
func (st *stack) startAPNs(ctx context.Context) error {
	cert, key, err := st.keptAuthority()
	if err != nil {
		return err
	}
	if st.apns, err = sim.StartAPNs(ctx, sim.APNsConfig{AuthorityCertPEM: cert, AuthorityKeyPEM: key}); err != nil {
		return fmt.Errorf("starting the virtual push service: %w", err)
	}
	if cert, key, err = st.apns.Authority(); err != nil {
		return fmt.Errorf("reading the virtual push service's authority: %w", err)
	}
	pushCert, pushKey, err := st.apns.IssuePushCertificate(pushTopic)
	if err != nil {
		return fmt.Errorf("issuing a push certificate: %w", err)
	}
	for name, content := range map[string][]byte{
		"apns-ca.pem": st.apns.CACertPEM(), "apns-authority.pem": cert, "apns-authority-key.pem": key,
		"push-cert.pem": pushCert, "push-key.pem": pushKey,
	} {
		if err := os.WriteFile(st.path(name), content, 0o600); err != nil {
			return fmt.Errorf("keeping %s: %w", name, err)
		}
	}
	return nil
}

const pushTopic = "com.apple.mgmt.External.muster.demo"

func (st *stack) keptAuthority() (cert, key []byte, err error) {
	if cert, err = os.ReadFile(st.path("apns-authority.pem")); errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil
	}
	if err == nil {
		key, err = os.ReadFile(st.path("apns-authority-key.pem"))
	}
	if err != nil {
		return nil, nil, fmt.Errorf("reading the virtual push service's authority: %w", err)
	}
	return cert, key, nil
}

func (st *stack) startMuster(ctx context.Context, progress devstack.Progress) error {
	progress("Starting Muster.")
	var err error
	if st.log, err = os.OpenFile(st.path("muster.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600); err != nil {
		return fmt.Errorf("opening the log: %w", err)
	}
	log := slog.New(slog.NewJSONHandler(st.log, nil))
	st.muster, err = serve.Start(ctx, serveSettings(st), log)
	return err
}

// keepToken returns the token of the last run, or a new one.
func (st *stack) keepToken() (string, error) {
	kept, err := os.ReadFile(st.path("token"))
	if err == nil {
		return strings.TrimSpace(string(kept)), nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("reading the kept token: %w", err)
	}
	token := store.NewSecret()
	if err := os.WriteFile(st.path("token"), []byte(token+"\n"), 0o600); err != nil {
		return "", fmt.Errorf("keeping the token: %w", err)
	}
	return token, nil
}

// fingerprint tells one database from another. A private cluster is known by the password that was drawn when it was made;
// its port may change.
func (st *stack) fingerprint() string {
	known := st.database
	if u, err := url.Parse(st.database); err == nil && st.postgres != nil {
		known, _ = u.User.Password()
	}
	sum := sha256.Sum256([]byte(known))
	return hex.EncodeToString(sum[:8])
}

// blame names the server whose crash is behind an error, if there is one: what fails for want of a server may be noticed
// before the server's end is.
func (st *stack) blame(ctx context.Context, err error) error {
	if err == nil || ctx.Err() != nil || st.children == nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, crashNotice)
	defer cancel()
	if crash := st.children.Wait(ctx); crash != nil {
		return crash
	}
	return err
}

// stop ends what was started, in the opposite order.
func (st *stack) stop() error {
	var errs []error
	if st.muster != nil {
		errs = append(errs, st.muster.Stop())
	}
	if st.portalAt != nil {
		errs = append(errs, st.portalAt.Close(), st.keepPortal())
	}
	if st.people != nil {
		errs = append(errs, st.people.Stop())
	}
	if st.apns != nil {
		errs = append(errs, st.apns.Close())
	}
	if st.temporal != nil {
		errs = append(errs, st.temporal.Stop())
	}
	if st.postgres != nil {
		errs = append(errs, st.postgres.Stop())
	}
	if st.log != nil {
		errs = append(errs, st.log.Close())
	}
	return errors.Join(errs...)
}
