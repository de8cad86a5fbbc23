package cli_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"github.com/muster-mdm/muster/apple/identity"
	"github.com/muster-mdm/muster/cmd/muster/cli"
	"github.com/muster-mdm/muster/devstack/stacktest"
	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/signals"
	"github.com/muster-mdm/muster/sim"
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
	line := func() string { return diagnosis(t, "Device identities") }
	require.Equal(t, "ok    Device identities\n", line())

	enroll(t, db, 50*24*time.Hour)
	locked := time.Now().Add(50 * 24 * time.Hour).UTC().Format(time.DateOnly)
	require.Equal(t, "FAIL  Device identities: enrolled devices whose certificates end within 60 days, which locks them out: 1; the first is "+
		serial+", on "+locked+"\n", line())
	t.Setenv("MUSTER_IDENTITY_GRACE", "720h")
	require.Equal(t, "ok    Device identities\n", line())
	t.Setenv("MUSTER_IDENTITY_GRACE", "0")
	t.Setenv("MUSTER_IDENTITY_RENEW_BEFORE", "1440h") // 60 days: half of them are for renewing
	require.Equal(t, "ok    Device identities\n", line())
}

func TestDoctorSaysThatNoWorkerRuns(t *testing.T) {
	hostPort, namespace := stacktest.Temporal(t)
	t.Setenv("MUSTER_DATABASE_URL", stacktest.Database(t, "muster", migrate))
	t.Setenv("MUSTER_TEMPORAL_ADDRESS", hostPort)
	t.Setenv("MUSTER_TEMPORAL_NAMESPACE", namespace)
	line := func() string { return diagnosis(t, "Workers") }
	require.Equal(t, "warn  Workers: none has asked for work in the namespace "+namespace+" for five minutes\n", line())

	c, err := client.Dial(client.Options{HostPort: hostPort, Namespace: namespace})
	require.NoError(t, err)
	t.Cleanup(c.Close)
	w := worker.New(c, signals.TaskQueue, worker.Options{})
	w.RegisterWorkflow(func(workflow.Context) error { return nil })
	require.NoError(t, w.Start())
	t.Cleanup(w.Stop)
	require.Eventually(t, func() bool { return line() == "ok    Workers\n" }, 20*time.Second, 100*time.Millisecond)
	t.Setenv("MUSTER_TEMPORAL_NAMESPACE", "nowhere")
	require.Equal(t, "warn  Workers: the namespace nowhere does not exist\n", line())
}

// diagnosis is the doctor's line on something.
func diagnosis(t *testing.T, what string) string {
	t.Helper()
	var out bytes.Buffer
	require.Equal(t, 1, cli.Main(t.Context(), []string{"doctor"}, cli.Streams{In: strings.NewReader(""), Out: &out, Err: &out}), "there is no push certificate")
	for l := range strings.Lines(out.String()) {
		if strings.Contains(l, what) {
			return l
		}
	}
	t.Fatalf("the doctor says nothing of %s:\n%s", what, out.String())
	return ""
}

func TestDoctorTellsWhetherDevicesCanEnrollByThemselves(t *testing.T) {
	url := stacktest.Database(t, "muster", migrate)
	db, err := store.Open(t.Context(), store.Config{URL: url, MaxConns: 2})
	require.NoError(t, err)
	t.Cleanup(db.Close)
	t.Setenv("MUSTER_DATABASE_URL", url)
	t.Setenv("MUSTER_TEMPORAL_ADDRESS", "127.0.0.1:1")
	line := func() string { return diagnosis(t, "Automated enrollment") }
	require.Equal(t, "ok    Automated enrollment\n", line(), "no device comes that way")

	conn, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	_, err = conn.Exec(t.Context(), `
INSERT INTO abm_servers (name, sync_every, full_every, certificate, private_key, health_since, created_at, updated_at)
VALUES ('school', '1h', '1d', '', '', now(), now(), now())`)
	require.NoError(t, err)
	require.Equal(t, "ok    Automated enrollment\n", line(), "the server isn't linked yet")
	_, err = conn.Exec(t.Context(), `UPDATE abm_servers SET token = 'x', health = 'ok'`)
	require.NoError(t, err)
	require.Contains(t, line(), "MUSTER_ENROLL_ANCHORS_FILE isn't set")
	file := filepath.Join(t.TempDir(), "anchors.pem")
	t.Setenv("MUSTER_ENROLL_ANCHORS_FILE", file)
	require.Contains(t, line(), "FAIL")
	require.NoError(t, os.WriteFile(file, []byte("no certificate"), 0o600))
	require.Contains(t, line(), "FAIL")
	factory, err := sim.NewFactory()
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(file, factory.AnchorsPEM(), 0o600))
	require.Equal(t, "ok    Automated enrollment\n", line())
	t.Setenv("MUSTER_ENROLL_ANCHORS_FILE", "")
	t.Setenv("MUSTER_ENROLL_INSECURE_MACHINE_INFO", "true")
	require.Contains(t, line(), "anybody can enroll")
}
