package bench

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/micromdm/nanolib/log"
	"github.com/micromdm/nanomdm/certverify"
	"github.com/micromdm/nanomdm/cryptoutil"
	httpmdm "github.com/micromdm/nanomdm/http/mdm"
	"github.com/micromdm/nanomdm/service/certauth"
	"github.com/micromdm/nanomdm/service/nanomdm"
	"github.com/micromdm/nanomdm/storage/pgsql"
	"github.com/spf13/cobra"

	"github.com/muster-mdm/muster/devstack"
)

// bareNanoMDMCommand serves NanoMDM as its own program puts it together, on the driver and as many connections as muster
// has.
func bareNanoMDMCommand() *cobra.Command {
	var roots string
	cmd := &cobra.Command{
		Use: "bare-nanomdm", Hidden: true, Args: cobra.NoArgs, Short: "Serves NanoMDM alone.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			handler, err := bareNanoMDM(cmd.Context(), os.Getenv("MUSTER_DATABASE_URL"), roots)
			if err != nil {
				return err
			}
			server := &http.Server{Addr: os.Getenv("MUSTER_LISTEN"), Handler: handler, ReadHeaderTimeout: 10 * time.Second}
			context.AfterFunc(cmd.Context(), func() { _ = server.Close() })
			if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
				return fmt.Errorf("serving NanoMDM: %w", err)
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&roots, "ca", "", "file with the devices' authority (PEM)")
	return cmd
}

func bareNanoMDM(ctx context.Context, url, roots string) (http.Handler, error) {
	authority, err := os.ReadFile(roots)
	if err != nil {
		return nil, fmt.Errorf("reading the devices' authority: %w", err)
	}
	verifier, err := certverify.NewPoolVerifier(authority, nil, x509.ExtKeyUsageClientAuth)
	if err != nil {
		return nil, fmt.Errorf("reading the devices' authority: %w", err)
	}
	pool, err := bareNanoMDMPool(ctx, url)
	if err != nil {
		return nil, err
	}
	storage, err := pgsql.New(pgsql.WithDB(stdlib.OpenDBFromPool(pool)))
	if err != nil {
		return nil, fmt.Errorf("opening NanoMDM's storage: %w", err)
	}
	var silent log.Logger = log.NopLogger
	mdm := httpmdm.CheckinAndCommandHandler(certauth.New(nanomdm.New(storage), storage), silent)
	return httpmdm.CertExtractMdmSignatureMiddleware(
		httpmdm.CertVerifyMiddleware(mdm, verifier, silent), httpmdm.MdmSignatureVerifierFunc(cryptoutil.VerifyMdmSignature)), nil
}

func bareNanoMDMPool(ctx context.Context, url string) (*pgxpool.Pool, error) {
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("reading the database URL: %w", err)
	}
	config.MaxConns = 20
	config.ConnConfig.RuntimeParams["timezone"] = "UTC"
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("connecting to PostgreSQL: %w", err)
	}
	return pool, nil
}

// bareServer is bare NanoMDM in a process of its own.
type bareServer struct {
	program *devstack.Program
	pool    *pgxpool.Pool // of its database
	url     string
}

// indexes are those that muster adds to NanoMDM's tables, so that the lack of them is no part of the comparison.
const indexes = `
CREATE INDEX cert_auth_associations_sha256 ON cert_auth_associations (sha256);
CREATE INDEX command_results_command_uuid ON command_results (command_uuid);
CREATE INDEX enrollment_queue_command_uuid ON enrollment_queue (command_uuid);`

func (s *stage) startBareNanoMDM(ctx context.Context, authority *x509.Certificate) (*bareServer, error) {
	const database = "bench_nanomdm"
	if err := s.env.Postgres().CreateDatabase(ctx, database, ""); err != nil {
		return nil, err
	}
	databaseURL := s.env.Postgres().URL(database)
	pool, err := bareNanoMDMPool(ctx, databaseURL)
	if err != nil {
		return nil, err
	}
	b := &bareServer{pool: pool}
	if err := b.start(ctx, s, databaseURL, authority); err != nil {
		b.stop(s)
		return nil, err
	}
	return b, nil
}

func (b *bareServer) start(ctx context.Context, s *stage, databaseURL string, authority *x509.Certificate) error {
	if _, err := b.pool.Exec(ctx, pgsql.Schema+indexes); err != nil {
		return fmt.Errorf("creating NanoMDM's tables: %w", err)
	}
	file := filepath.Join(s.env.Dir(), "devices-ca.pem")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: authority.Raw})
	if err := os.WriteFile(file, block, 0o600); err != nil {
		return fmt.Errorf("keeping the devices' authority: %w", err)
	}
	port, err := devstack.FreePort()
	if err != nil {
		return err
	}
	listen := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	b.url = "http://" + listen + "/mdm"
	b.program, err = s.env.Start("bare nanomdm", map[string]string{"MUSTER_DATABASE_URL": databaseURL, "MUSTER_LISTEN": listen},
		"bench", "bare-nanomdm", "--ca", file)
	if err != nil {
		return err
	}
	s.bare = b.program
	return await(ctx, "bare servers listen", 1, func(ctx context.Context) (int, error) {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", listen)
		if err != nil {
			return 0, b.program.Err() // nil while it is on its way
		}
		return 1, conn.Close()
	})
}

func (b *bareServer) stop(s *stage) {
	if b.program != nil {
		_ = b.program.Stop() // what it served is over
	}
	s.bare = nil
	b.pool.Close()
}
