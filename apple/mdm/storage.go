package mdm

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"slices"

	"github.com/micromdm/nanomdm/mdm"
	"github.com/micromdm/nanomdm/storage"
	"github.com/micromdm/nanomdm/storage/pgsql"
)

// Storage is NanoMDM's storage in PostgreSQL.
type Storage struct {
	*pgsql.PgSQLStorage
	db     *sql.DB
	sealer Sealer
}

var _ storage.AllStorage = (*Storage)(nil)

// NewStorage returns the storage on a database whose search path begins with NanoMDM's schema. It must talk the extended
// protocol: pgx's modes exec and simple_protocol corrupt the text columns.
func NewStorage(db *sql.DB, l *slog.Logger, options ...Option) (*Storage, error) {
	nano, err := pgsql.New(pgsql.WithDB(db), pgsql.WithLogger(Logger(l)))
	if err != nil {
		return nil, fmt.Errorf("opening NanoMDM's storage: %w", err)
	}
	s := &Storage{PgSQLStorage: nano, db: db}
	for _, o := range options {
		o(s)
	}
	return s, nil
}

// RetrieveTokenUpdateTally returns 0 for an unknown id, as NanoMDM's interface asks.
func (s *Storage) RetrieveTokenUpdateTally(ctx context.Context, id string) (int, error) {
	const tally = `
SELECT coalesce(max(token_update_tally), 0)
FROM enrollments
WHERE id = $1`
	var n int
	if err := s.db.QueryRowContext(ctx, tally, id).Scan(&n); err != nil {
		return 0, fmt.Errorf("reading the tally of TokenUpdates: %w", err)
	}
	return n, nil
}

type associationKey struct{}

type association struct {
	hash string
	ids  []string
}

// WithAssociation notes in a context that the certificate with the hash is known to belong to the enrollments, so that
// it needn't be looked up again. The caller must have read it from cert_auth_associations.
func WithAssociation(ctx context.Context, hash string, enrollments []string) context.Context {
	return context.WithValue(ctx, associationKey{}, association{hash, enrollments})
}

// IsCertHashAssociated reports whether a certificate belongs to the request's enrollment.
func (s *Storage) IsCertHashAssociated(r *mdm.Request, hash string) (bool, error) {
	known, ok := r.Context().Value(associationKey{}).(association)
	if ok && known.hash == hash && slices.Contains(known.ids, r.ID) {
		return true, nil
	}
	return s.PgSQLStorage.IsCertHashAssociated(r, hash)
}
