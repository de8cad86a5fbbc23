package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/muster-mdm/muster/api/client"
	"github.com/muster-mdm/muster/cmd/muster/settings"
)

// withRemote makes a command one of the API's client: it takes the API's address and a token, and runs when they are
// complete.
func withRemote(cmd *cobra.Command, run func(ctx context.Context, api *client.Client, args []string) error) *cobra.Command {
	var s settings.Client
	bound := settings.Bind(cmd.Flags(), &s, environ())
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if bound != nil {
			return settings.AsMisuse(bound)
		}
		given := cmd.Flags().Changed("url") || os.Getenv(settings.Prefix+"URL") != ""
		if err := fromLogin(&s, given); err != nil {
			return err
		}
		if err := s.Check(); err != nil {
			return settings.AsMisuse(err)
		}
		api, err := client.NewClient(strings.TrimSuffix(s.URL, "/"), client.WithToken(s.Token))
		if err != nil {
			return settings.AsMisuse(err)
		}
		return run(cmd.Context(), api, args)
	}
	return cmd
}

// withThing is [withRemote] for a command that gets or changes a thing by its name, and shows it.
func withThing[T any](cmd *cobra.Command, show func(io.Writer, T), request func(ctx context.Context, api *client.Client, name string) (*http.Response, error)) *cobra.Command {
	out := withOutput(cmd)
	return withRemote(cmd, func(ctx context.Context, api *client.Client, args []string) error {
		v, err := ask[T](request(ctx, api, args[0]))
		if err != nil {
			return err
		}
		return out.show(v, func(w io.Writer) { show(w, v) })
	})
}

// withDelete is [withRemote] for a command that deletes a thing by its name.
func withDelete(cmd *cobra.Command, what string, request func(ctx context.Context, api *client.Client, name string) (*http.Response, error)) *cobra.Command {
	return withRemote(cmd, func(ctx context.Context, api *client.Client, args []string) error {
		if _, err := answer(request(ctx, api, args[0])); err != nil {
			return err
		}
		cmd.Printf("%s %q was deleted.\n", what, args[0])
		return nil
	})
}

// takes says which arguments a command has, all of them required.
func takes(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < len(names):
			return settings.Misused("%q needs %s", cmd.CommandPath(), strings.Join(names[len(args):], " and "))
		case len(args) > len(names):
			return settings.Misused("%q takes %s; %q is one too many", cmd.CommandPath(), strings.Join(names, " and "), args[len(names)])
		}
		return nil
	}
}

// maxAnswer is far more than any answer of the API has.
const maxAnswer = 64 << 20

// ask reads the answer to a request as T; one that isn't a success becomes a sentence.
func ask[T any](res *http.Response, err error) (T, error) {
	var v T
	body, err := answer(res, err)
	if err != nil {
		return v, err
	}
	if err := json.Unmarshal(body, &v); err != nil {
		return v, fmt.Errorf("%s does not answer like Muster's API; is the address right?", res.Request.URL.Host)
	}
	return v, nil
}

// answer reads the answer to a request as it is.
func answer(res *http.Response, err error) ([]byte, error) {
	if err != nil {
		return nil, unreached(err)
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return nil, fmt.Errorf("the answer of %s ended early", res.Request.URL.Host)
	}
	if res.StatusCode < http.StatusBadRequest {
		return body, nil
	}
	media, _, _ := mime.ParseMediaType(res.Header.Get("Content-Type"))
	p := &refusedError{status: res.StatusCode}
	if media != "application/problem+json" || json.Unmarshal(body, &p.Problem) != nil {
		return nil, fmt.Errorf("%s answers %s, which isn't Muster's API; is the address right?", res.Request.URL.Host, res.Status)
	}
	return nil, p
}

// unreached says in a sentence that nobody answered.
func unreached(err error) error {
	var at *url.Error
	if !errors.As(err, &at) {
		return err
	}
	// Of a request whose body is typed, the body may be the first to know.
	if errors.Is(err, context.Canceled) || errors.Is(err, errInterrupted) {
		return errInterrupted
	}
	if u, parsed := url.Parse(at.URL); parsed == nil {
		return fmt.Errorf("muster does not answer at %s: %w", u.Host, at.Err)
	}
	return at.Err
}

// refusedError is a problem that Muster answered.
type refusedError struct {
	client.Problem
	status int
}

// Error is the sentence, what is wrong with further inputs, and the code to look up.
func (e *refusedError) Error() string {
	var b strings.Builder
	_, _ = fmt.Fprintf(&b, "%s (%s)", e.Detail, e.Code)
	if e.Errors == nil {
		return b.String()
	}
	for _, at := range *e.Errors {
		if !strings.Contains(e.Detail, at.Detail) {
			_, _ = fmt.Fprintf(&b, "\n  %s: %s", at.Field, at.Detail)
		}
	}
	return b.String()
}

// codeOf is the code of a problem that Muster answered; other errors have none.
func codeOf(err error) string {
	var refused *refusedError
	if errors.As(err, &refused) {
		return refused.Code
	}
	return ""
}

// entire fetches all pages of a list.
func entire[P, T any](fetch func(cursor *string) (*http.Response, error), entries func(P) ([]T, *string)) ([]T, error) {
	all := []T{}
	for cursor := (*string)(nil); ; {
		page, err := ask[P](fetch(cursor))
		if err != nil {
			return nil, err
		}
		list, next := entries(page)
		all = append(all, list...)
		if next == nil {
			return all, nil
		}
		cursor = next
	}
}

// value is what a pointer holds, or the zero value.
func value[T any](p *T) T {
	if p == nil {
		var zero T
		return zero
	}
	return *p
}
