package devstack

import (
	"context"
	"fmt"
	"log/slog"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/operatorservice/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"
)

// awaitReady waits until the namespace answers with all its search attributes.
func (t *Temporal) awaitReady(ctx context.Context, proc *process) error {
	c, err := client.NewLazyClient(client.Options{
		HostPort:  t.HostPort(),
		Namespace: t.cfg.Namespace,
		Logger:    log.NewStructuredLogger(slog.New(slog.DiscardHandler)), // refused calls are expected here
	})
	if err != nil {
		return fmt.Errorf("connecting to Temporal: %w", err)
	}
	defer c.Close()
	return poll(ctx, proc, func(ctx context.Context) error {
		if _, err := c.CheckHealth(ctx, &client.CheckHealthRequest{}); err != nil {
			return err
		}
		if _, err := c.WorkflowService().DescribeNamespace(ctx, &workflowservice.DescribeNamespaceRequest{Namespace: t.cfg.Namespace}); err != nil {
			return err
		}
		return AddSearchAttributes(ctx, c.OperatorService(), t.cfg.Namespace, t.cfg.SearchAttributes)
	})
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
