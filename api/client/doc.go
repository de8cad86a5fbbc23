// Package client is the Go client of Muster's REST interface, generated from the contract, api/openapi.yaml.
//
//	c, err := client.NewClientWithResponses("http://127.0.0.1:8080", client.WithToken("mst_…"))
package client

import (
	"context"
	"net/http"
)

// WithToken has the client send the token with each request.
func WithToken(token string) ClientOption {
	return WithRequestEditorFn(func(_ context.Context, r *http.Request) error {
		r.Header.Set("Authorization", "Bearer "+token)
		return nil
	})
}
