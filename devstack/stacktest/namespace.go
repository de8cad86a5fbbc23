package stacktest

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/muster-mdm/muster/devstack"
)

// namespaceLimit bounds registering a namespace; an idle server needs some 40 ms.
const namespaceLimit = time.Minute

// Temporal returns a Temporal server's address and a fresh namespace with Muster's search attributes, so that tests may use the
// same workflow ids and task queues at the same time. The server may be shared: to stop it, start one of your own by devstack.
func Temporal(t testing.TB) (hostPort, namespace string) {
	t.Helper()
	hostPort, err := servers.temporalHostPort()
	if err != nil {
		t.Fatalf("starting Temporal for the test: %v", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), namespaceLimit)
	defer cancel()
	namespace = "test-" + strings.ToLower(rand.Text()[:12])
	if err := register(ctx, hostPort, namespace); err != nil {
		t.Fatalf("making the test's Temporal namespace on %v", servers.explain(err))
	}
	return hostPort, namespace
}

func register(ctx context.Context, hostPort, namespace string) error {
	c, err := client.DialContext(ctx, client.Options{
		HostPort: hostPort,
		Logger:   log.NewStructuredLogger(slog.New(slog.DiscardHandler)),
	})
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = c.WorkflowService().RegisterNamespace(ctx, &workflowservice.RegisterNamespaceRequest{
		Namespace:                        namespace,
		Description:                      "made by a test",
		WorkflowExecutionRetentionPeriod: durationpb.New(24 * time.Hour),
	})
	if err != nil {
		return err
	}
	return untilVisible(ctx, func() error {
		return devstack.AddSearchAttributes(ctx, c.OperatorService(), namespace, SearchAttributes)
	})
}

// untilVisible repeats the step until it succeeds: the server's parts read their caches of namespaces anew only now and then.
func untilVisible(ctx context.Context, step func() error) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := step()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", ctx.Err(), err)
		case <-tick.C:
		}
	}
}
