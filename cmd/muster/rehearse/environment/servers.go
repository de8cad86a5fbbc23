package environment

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/muster-mdm/muster/devstack"
	"github.com/muster-mdm/muster/signals"
)

// servers are PostgreSQL and Temporal: private ones, or a database and a namespace of our own on shared ones.
type servers struct {
	postgres *devstack.Postgres // nil: shared
	temporal *devstack.Temporal // nil: shared

	databaseURL         string
	hostPort, namespace string
	drop                func() error
}

func startServers(ctx context.Context, cfg Config, dir string) (*servers, error) {
	ctx, cancel := context.WithTimeout(ctx, buildPatience)
	defer cancel()
	s := &servers{}
	if err := errors.Join(s.startPostgres(ctx, cfg, dir), s.startTemporal(ctx, cfg, dir)); err != nil {
		return nil, errors.Join(err, s.stop())
	}
	return s, nil
}

func (s *servers) startPostgres(ctx context.Context, cfg Config, dir string) error {
	if shared := os.Getenv(sharedPostgres); shared != "" && !cfg.Private {
		return s.ownDatabase(ctx, shared)
	}
	bin, err := devstack.FindPostgres(ctx, devstack.FindOptions{Progress: cfg.Progress})
	if err != nil {
		return err
	}
	config := devstack.PostgresConfig{Bin: bin, ThrowAway: !cfg.Durable, Progress: cfg.Progress}
	if cfg.Keep {
		config.Dir = filepath.Join(dir, "postgres")
	}
	if s.postgres, err = devstack.StartPostgres(ctx, config); err != nil {
		return err
	}
	const database = "muster"
	if err := s.postgres.CreateDatabase(ctx, database, ""); err != nil {
		return err
	}
	s.databaseURL = s.postgres.URL(database)
	return nil
}

func (s *servers) ownDatabase(ctx context.Context, server string) error {
	u, err := url.Parse(server)
	if err != nil {
		return fmt.Errorf("reading %s: %w", sharedPostgres, err)
	}
	name := "rehearsal_" + random()
	if err := execute(ctx, server, "CREATE DATABASE "+pgx.Identifier{name}.Sanitize()); err != nil {
		return fmt.Errorf("creating a database: %w", err)
	}
	u.Path = "/" + name
	s.databaseURL = u.String()
	s.drop = func() error { // also when ctx has ended
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), readyPatience)
		defer cancel()
		return execute(ctx, server, "DROP DATABASE IF EXISTS "+pgx.Identifier{name}.Sanitize()+" WITH (FORCE)")
	}
	return nil
}

func execute(ctx context.Context, url, sql string) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	_, err = conn.Exec(ctx, sql)
	return err
}

func (s *servers) startTemporal(ctx context.Context, cfg Config, dir string) error {
	if shared := os.Getenv(sharedTemporal); shared != "" && !cfg.Private {
		return s.ownNamespace(ctx, shared)
	}
	binDir, err := devstack.BinDir()
	if err != nil {
		return err
	}
	bin, err := devstack.FindTemporal(ctx, binDir, devstack.FindOptions{Progress: cfg.Progress})
	if err != nil {
		return err
	}
	config := devstack.TemporalConfig{Bin: bin, ThrowAway: !cfg.Durable, SearchAttributes: searchAttributes()}
	if cfg.Keep {
		config.Dir = filepath.Join(dir, "temporal")
	}
	if s.temporal, err = devstack.StartTemporal(ctx, config); err != nil {
		return err
	}
	s.hostPort, s.namespace = s.temporal.HostPort(), s.temporal.Namespace()
	return nil
}

func (s *servers) ownNamespace(ctx context.Context, hostPort string) error {
	c, err := client.DialContext(ctx, client.Options{HostPort: hostPort, Logger: silent()})
	if err != nil {
		return fmt.Errorf("reaching the Temporal that %s names: %w", sharedTemporal, err)
	}
	defer c.Close()
	s.hostPort, s.namespace = hostPort, "rehearsal-"+random()
	_, err = c.WorkflowService().RegisterNamespace(ctx, &workflowservice.RegisterNamespaceRequest{
		Namespace:                        s.namespace,
		Description:                      "made for a rehearsal",
		WorkflowExecutionRetentionPeriod: durationpb.New(24 * time.Hour),
	})
	if err != nil {
		return fmt.Errorf("registering a namespace: %w", err)
	}
	// The server's parts read their caches of namespaces anew only now and then.
	return poll(ctx, readyPatience, func(ctx context.Context) error {
		return devstack.AddSearchAttributes(ctx, c.OperatorService(), s.namespace, searchAttributes())
	})
}

func searchAttributes() map[string]string {
	names := map[string]string{}
	for name, kind := range signals.SearchAttributes() {
		names[name] = kind.String()
	}
	return names
}

func (s *servers) stop() error {
	var errs []error
	if s.temporal != nil {
		errs = append(errs, s.temporal.Stop())
	}
	if s.drop != nil {
		errs = append(errs, s.drop())
	}
	if s.postgres != nil {
		errs = append(errs, s.postgres.Stop())
	}
	return errors.Join(errs...)
}

// poll repeats the step until it succeeds; its last error is told when time is up.
func poll(ctx context.Context, patience time.Duration, step func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := step(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-tick.C:
		}
	}
}

func random() string { return strings.ToLower(rand.Text()[:12]) }

func silent() log.Logger { return log.NewStructuredLogger(slog.New(slog.DiscardHandler)) }
