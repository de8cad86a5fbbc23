package stacktest

import "context"

// EnsureTemplate is what Database does before it copies.
func EnsureTemplate(ctx context.Context, server, name string, migrate func(context.Context, string) error) error {
	_, err := ensureTemplate(ctx, server, name, migrate)
	return err
}

// Explain is what Temporal does with an error of the server.
func Explain(err error) error { return servers.explain(err) }
