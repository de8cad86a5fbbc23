package cli

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/muster-mdm/muster/api/client"
	"github.com/muster-mdm/muster/cmd/muster/settings"
)

// upload is `muster import FILE`.
type upload struct {
	cmd                          *cobra.Command
	out                          *output
	unassign, dry, force, noWait bool
	mode, expected               string
}

// withUpload has the command import take a file.
func withUpload(cmd *cobra.Command) *cobra.Command {
	u := &upload{cmd: cmd, out: withOutput(cmd)}
	cmd.Use = "import FILE"
	cmd.Args = oneFile
	f := cmd.Flags()
	f.BoolVar(&u.unassign, "unassign", false, "the file is for unassigning devices")
	f.BoolVar(&u.dry, "dry-run", false, "upload and check the file, apply nothing, and forget it")
	f.StringVar(&u.mode, "mode", "valid_rows", "valid_rows, or all_or_nothing")
	f.StringVar(&u.expected, "expected-by", "", "when devices that aren't known yet should be there")
	f.BoolVar(&u.force, "force", false, "take the file although it was uploaded before")
	f.BoolVar(&u.noWait, "no-wait", false, "don't wait until all is applied")
	return withRemote(cmd, func(ctx context.Context, api *client.Client, args []string) error { return u.run(ctx, api, args[0]) })
}

func (u *upload) run(ctx context.Context, api *client.Client, path string) error {
	if u.mode != "valid_rows" && u.mode != "all_or_nothing" {
		return settings.Misused("--mode %s is none; take valid_rows or all_or_nothing", u.mode)
	}
	o, err := u.send(ctx, api, path)
	if err != nil {
		return err
	}
	if o, err = awaitOperation(ctx, api, o, u.cmd.ErrOrStderr(), checked); err != nil {
		return err
	}
	if u.dry {
		// It was only looked at, so the same file can be imported next.
		if o, err = ask[client.Operation](api.CancelOperation(ctx, o.Id, nil)); err != nil {
			return err
		}
	} else if o, err = u.apply(ctx, api, o); err != nil {
		return err
	}
	if err := u.out.show(o, func(w io.Writer) { u.show(ctx, w, api, o) }); err != nil {
		return err
	}
	if o.Rows.Error > 0 || o.Progress.Refused > 0 || o.State == client.OperationFailed {
		return partly{}
	}
	return nil
}

// send streams the file; it may be larger than memory.
func (u *upload) send(ctx context.Context, api *client.Client, path string) (client.Operation, error) {
	file, err := open(path, u.cmd.InOrStdin())
	if err != nil {
		return client.Operation{}, err
	}
	defer func() { _ = file.Close() }()
	var expected *time.Time
	if u.expected != "" {
		at, err := parseTime(u.expected)
		if err != nil {
			return client.Operation{}, settings.Misused("--expected-by %s is no time; write 2026-03-01T09:00:00Z, 2026-03-01 or +24h", u.expected)
		}
		expected = &at
	}
	force, name := u.force || u.dry, (*string)(nil)
	if path != "-" {
		name = given(filepath.Base(path))
	}
	body := io.NopCloser(file) // the client would close it
	if u.unassign {
		return ask[client.Operation](api.CreateUnassignImportWithBody(ctx, &client.CreateUnassignImportParams{FileName: name, ExpectedBy: expected, Force: &force}, csvMedia, body))
	}
	return ask[client.Operation](api.CreateAssignmentImportWithBody(ctx, &client.CreateAssignmentImportParams{FileName: name, ExpectedBy: expected, Force: &force}, csvMedia, body))
}

const csvMedia = "text/csv"

func (u *upload) apply(ctx context.Context, api *client.Client, o client.Operation) (client.Operation, error) {
	in := client.ApplyInput{Mode: client.ApplyMode(u.mode)}
	apply := func() (*http.Response, error) { return api.ApplyAssignmentImport(ctx, o.Id, nil, in) }
	if u.unassign {
		apply = func() (*http.Response, error) { return api.ApplyUnassignImport(ctx, o.Id, nil, in) }
	}
	o, err := ask[client.Operation](apply())
	if err != nil || u.noWait {
		return o, err
	}
	return awaitOperation(ctx, api, o, u.cmd.ErrOrStderr(), over)
}

// mostShown is how many rows with problems are shown; the result has all.
const mostShown = 20

// show prints the summary and the first rows in error.
func (u *upload) show(ctx context.Context, w io.Writer, api *client.Client, o client.Operation) {
	showOperation(w, o)
	if o.Rows.Error == 0 {
		return
	}
	most, verdict := mostShown, client.VerdictError
	list, err := ask[client.OperationRowList](api.ListOperationRows(ctx, o.Id, &client.ListOperationRowsParams{Verdict: &verdict, Limit: &most}))
	if err != nil {
		return // the summary says how many there are
	}
	row(w, "")
	for _, r := range list.Rows {
		for _, p := range r.Problems {
			row(w, "line "+strconv.FormatInt(r.Line, 10), string(p.Severity), p.Detail)
		}
	}
	if list.NextCursor != nil {
		row(w, "… all of them: muster import result "+o.Id)
	}
}

func importStatusCommand() *cobra.Command {
	cmd := operationsShowCommand()
	cmd.Use, cmd.Short, cmd.Args = "status ID", "Shows an import and how far it is.", takes("the ID of an import")
	return cmd
}

func importUndoCommand() *cobra.Command {
	return operationVerbCommand("undo", "Brings devices back to how they were assigned before an import.", undoOperation)
}

func importResultCommand() *cobra.Command {
	var path string
	cmd := &cobra.Command{
		Use: "result ID", Short: "Downloads the file again, with what was thought and became of each row.", Args: takes("the ID of an import"),
	}
	cmd.Flags().StringVarP(&path, "output", "o", "-", "file to write; - is the standard output")
	return withRemote(cmd, func(ctx context.Context, api *client.Client, args []string) error {
		res, err := api.ListOperationRows(ctx, args[0], nil, func(_ context.Context, r *http.Request) error {
			r.Header.Set("Accept", csvMedia)
			return nil
		})
		if err != nil || res.StatusCode >= http.StatusBadRequest {
			_, err = answer(res, err)
			return err
		}
		defer func() { _ = res.Body.Close() }()
		return keepResult(res.Body, path, cmd.OutOrStdout())
	})
}

func keepResult(body io.Reader, path string, stdout io.Writer) error {
	out := stdout
	if path != "-" {
		file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
		if err != nil {
			return err //nolint:wrapcheck // it says "open" and the name
		}
		defer func() { _ = file.Close() }()
		out = file
	}
	if _, err := io.Copy(out, body); err != nil {
		return fmt.Errorf("writing the result: %w", err)
	}
	return nil
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
