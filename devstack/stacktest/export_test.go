package stacktest

import "context"

// EnsureTemplate is what Database does before it copies.
func EnsureTemplate(ctx context.Context, server, name string, migrate func(context.Context, string) error) error {
	_, err := ensureTemplate(ctx, server, name, migrate)
	return err
}
