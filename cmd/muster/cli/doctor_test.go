package cli_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/apple/identity"
	"github.com/muster-mdm/muster/cmd/muster/cli"
	"github.com/muster-mdm/muster/devstack/stacktest"
	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/store"
)

const serial = "C07Q853LG9RM"

func migrate(ctx context.Context, url string) error {
	_, err := store.Migrate(ctx, url)
	return err
}

// enroll has a device enrolled by a certificate that lasts for a while.
func enroll(t *testing.T, db *store.DB, lasts time.Duration) {
	t.Helper()
	authority, err := identity.LoadAuthority(t.Context(), db, identity.AuthorityConfig{KeyBits: 2048, Validity: lasts})
	require.NoError(t, err)
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	_, err = db.UpdateOrCreate(t.Context(), serial, func(ctx context.Context, c *store.Change) error {
		for _, kind := range []provision.Kind{provision.Authenticated, provision.Activated} {
			if _, err := c.Record(ctx, provision.Fact{Kind: kind, Epoch: 1}); err != nil {
				return err
			}
		}
		return nil
	})
	require.NoError(t, err)
	challenge := sha256.Sum256([]byte("challenge"))
	require.NoError(t, db.AddChallenge(t.Context(), serial, challenge, time.Hour))
	_, err = db.Redeem(t.Context(), challenge, sha256.Sum256([]byte("key")), func(serial string) ([]byte, error) {
		return authority.Issue(serial, key.Public())
	})
	require.NoError(t, err)
}

func TestDoctorWarnsBeforeIdentitiesEnd(t *testing.T) {
	url := stacktest.Database(t, "muster", migrate)
	db, err := store.Open(t.Context(), store.Config{URL: url, MaxConns: 2})
	require.NoError(t, err)
	t.Cleanup(db.Close)
	t.Setenv("MUSTER_DATABASE_URL", url)
	t.Setenv("MUSTER_TEMPORAL_ADDRESS", "127.0.0.1:1")
	line := func() string {
		t.Helper()
		var out bytes.Buffer
		require.Equal(t, 1, cli.Main(t.Context(), []string{"doctor"}, cli.Streams{In: strings.NewReader(""), Out: &out, Err: &out}), "Temporal isn't there")
		for l := range strings.Lines(out.String()) {
			if strings.Contains(l, "Device identities") {
				return l
			}
		}
		t.Fatalf("the doctor says nothing of identities:\n%s", out.String())
		return ""
	}
	require.Equal(t, "ok    Device identities\n", line())

	enroll(t, db, 50*24*time.Hour)
	locked := time.Now().Add(50 * 24 * time.Hour).UTC().Format(time.DateOnly)
	require.Equal(t, "FAIL  Device identities: enrolled devices whose certificates end within 60 days, which locks them out: 1; the first is "+
		serial+", on "+locked+"\n", line())
	t.Setenv("MUSTER_IDENTITY_GRACE", "720h")
	require.Equal(t, "ok    Device identities\n", line())
}
