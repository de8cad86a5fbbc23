package devstack

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/operatorservice/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"
)

// checkLimit is how long a server may need for a simple answer before it counts as ill; a busy one takes a second at most.
const checkLimit = 15 * time.Second

// Check returns nil if the server answers, else an error with what it says instead and the end of its log. For when tests have
// failed: a server can be alive and yet of no use.
func (t *Temporal) Check(ctx context.Context) error {
	c, err := t.connect()
	if err != nil {
		return err
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(ctx, checkLimit)
	defer cancel()
	return poll(ctx, t.latest(), func(ctx context.Context) error { return t.answers(ctx, c) })
}

// awaitReady waits until the namespace answers with all its search attributes.
func (t *Temporal) awaitReady(ctx context.Context, proc *process) error {
	c, err := t.connect()
	if err != nil {
		return err
	}
	defer c.Close()
	return poll(ctx, proc, func(ctx context.Context) error {
		if err := t.answers(ctx, c); err != nil {
			return err
		}
		return AddSearchAttributes(ctx, c.OperatorService(), t.cfg.Namespace, t.cfg.SearchAttributes)
	})
}

func (t *Temporal) connect() (client.Client, error) {
	c, err := client.NewLazyClient(client.Options{
		HostPort:  t.HostPort(),
		Namespace: t.cfg.Namespace,
		Logger:    log.NewStructuredLogger(slog.New(slog.DiscardHandler)), // refused calls are expected here
	})
	if err != nil {
		return nil, fmt.Errorf("connecting to Temporal: %w", err)
	}
	return c, nil
}

// answers asks for the namespace, too: the health check alone doesn't need the database.
func (t *Temporal) answers(ctx context.Context, c client.Client) error {
	if _, err := c.CheckHealth(ctx, &client.CheckHealthRequest{}); err != nil {
		return err
	}
	_, err := c.WorkflowService().DescribeNamespace(ctx, &workflowservice.DescribeNamespaceRequest{Namespace: t.cfg.Namespace})
	return err
}

// AddSearchAttributes gives a namespace the search attributes that it lacks; the map is name → type, as in TemporalConfig.
func AddSearchAttributes(ctx context.Context, operator operatorservice.OperatorServiceClient, namespace string, wanted map[string]string) error {
	have, err := operator.ListSearchAttributes(ctx, &operatorservice.ListSearchAttributesRequest{Namespace: namespace})
	if err != nil {
		return fmt.Errorf("listing the search attributes of %s: %w", namespace, err)
	}
	missing := map[string]enums.IndexedValueType{}
	for name, kind := range wanted {
		if _, ok := have.GetCustomAttributes()[name]; ok {
			continue
		}
		value, err := enums.IndexedValueTypeFromString(kind)
		if err != nil || value == enums.INDEXED_VALUE_TYPE_UNSPECIFIED {
			return fmt.Errorf("search attribute %s: unknown type %q", name, kind)
		}
		missing[name] = value
	}
	if len(missing) == 0 {
		return nil
	}
	_, err = operator.AddSearchAttributes(ctx, &operatorservice.AddSearchAttributesRequest{Namespace: namespace, SearchAttributes: missing})
	if err != nil {
		return fmt.Errorf("adding search attributes to %s: %w", namespace, err)
	}
	return nil
}
