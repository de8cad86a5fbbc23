package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/muster-mdm/muster/api/client"
	"github.com/muster-mdm/muster/api/intake"
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
	f.StringVar(&u.expected, "expected-by", "", "when devices that aren't known yet should be there; a day means its end")
	f.BoolVar(&u.force, "force", false, "take the file although it was uploaded before")
	u.bindApply()
	return withRemote(cmd, func(ctx context.Context, api *client.Client, args []string) error { return u.run(ctx, api, args[0]) })
}

// bindApply are the flags that say how a file is applied.
func (u *upload) bindApply() {
	f := u.cmd.Flags()
	f.StringVar(&u.mode, "mode", "valid_rows", "valid_rows, or all_or_nothing")
	offer(u.cmd, "mode", "valid_rows", "all_or_nothing")
	f.BoolVar(&u.noWait, "no-wait", false, "don't wait until all is applied")
}

func (u *upload) checkMode() error {
	if u.mode != "valid_rows" && u.mode != "all_or_nothing" {
		return settings.Misused("--mode %s is none; take valid_rows or all_or_nothing", u.mode)
	}
	return nil
}

func (u *upload) run(ctx context.Context, api *client.Client, path string) error {
	if err := u.checkMode(); err != nil {
		return err
	}
	o, err := u.send(ctx, api, path)
	if err != nil {
		return err
	}
	if o, err = awaitOperation(ctx, api, o, u.cmd.ErrOrStderr(), checked); err != nil {
		if u.dry && ctx.Err() != nil {
			err = u.forget(ctx, api, o)
		}
		return err
	}
	if u.dry {
		// It was only looked at, so the same file can be imported next.
		if o, err = ask[client.Operation](api.CancelOperation(ctx, o.Id, nil)); err != nil {
			return err
		}
	} else if o, err = u.applied(ctx, api, o); err != nil {
		return err
	}
	return u.finish(ctx, api, o)
}

// forget is a dry run that ends before its time: what was uploaded would keep the same file from being imported.
func (u *upload) forget(ctx context.Context, api *client.Client, o client.Operation) error {
	const patience = 10 * time.Second
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	if _, err := ask[client.Operation](api.CancelOperation(ctx, o.Id, nil)); err != nil {
		return fmt.Errorf("interrupted, and the file could not be forgotten (%w): muster operations cancel %s", err, o.Id)
	}
	return errors.New("interrupted; the file was forgotten")
}

// finish shows what became of the file.
func (u *upload) finish(ctx context.Context, api *client.Client, o client.Operation) error {
	show := func(w io.Writer) {
		showWithErrors(ctx, w, api, o)
		u.whatNext(ctx, w, api, o)
	}
	if err := u.out.show(o, show); err != nil {
		return err
	}
	if o.Rows.Error > 0 || o.Progress.Refused > 0 || !u.dry && !u.noWait && endedEarly(o) {
		return partly{}
	}
	return nil
}

// whatNext says of a dry run which rows to look at, and of a file that was applied how to find what may be mistyped in it.
func (u *upload) whatNext(ctx context.Context, w io.Writer, api *client.Client, o client.Operation) {
	switch {
	case u.dry:
		if o.Rows.Notice > 0 {
			showRows(ctx, w, api, o, client.ListOperationRowsParams{Verdict: given(client.VerdictNotice)})
		}
		row(w, "")
		row(w, "Nothing was applied: this was a dry run.")
	case o.State == client.OperationDone && o.Codes["reservation"] > 0:
		row(w, "")
		row(w, "muster devices reservations lists the devices that aren't known yet; muster devices withdraw takes back what was mistyped.")
	}
}

// applied is apply, where a file that is refused as a whole is shown, and forgotten: so it can be uploaded again, corrected or in
// another mode.
func (u *upload) applied(ctx context.Context, api *client.Client, o client.Operation) (client.Operation, error) {
	after, err := u.apply(ctx, api, o)
	if codeOf(err) != "import_rows_in_error" {
		return after, err
	}
	if o, cancelled := ask[client.Operation](api.CancelOperation(ctx, o.Id, nil)); cancelled == nil {
		return o, errors.Join(u.out.show(o, func(w io.Writer) { showWithErrors(ctx, w, api, o) }), err)
	}
	return o, err
}

// send streams the file; it may be larger than memory.
func (u *upload) send(ctx context.Context, api *client.Client, path string) (client.Operation, error) {
	file, err := open(path, u.cmd.InOrStdin())
	if err != nil {
		return client.Operation{}, err
	}
	defer func() { _ = file.Close() }()
	if err := notTooLarge(file); err != nil {
		return client.Operation{}, err
	}
	var expected *time.Time
	if u.expected != "" {
		at, err := parseEnd(u.expected)
		if err != nil {
			return client.Operation{}, settings.Misused("--expected-by %s is no time; write 2026-03-01T09:00:00Z, 2026-03-01 or +24h", u.expected)
		}
		expected = &at
	}
	force, name := u.force || u.dry, (*string)(nil)
	if path != "-" {
		name = given(filepath.Base(path))
	}
	content := body(ctx, file)
	send := func() (*http.Response, error) {
		return api.CreateAssignmentImportWithBody(ctx, &client.CreateAssignmentImportParams{FileName: name, ExpectedBy: expected, Force: &force}, csvMedia, content)
	}
	if u.unassign {
		send = func() (*http.Response, error) {
			return api.CreateUnassignImportWithBody(ctx, &client.CreateUnassignImportParams{FileName: name, ExpectedBy: expected, Force: &force}, csvMedia, content)
		}
	}
	o, err := ask[client.Operation](send())
	if codeOf(err) == "import_duplicate" {
		err = fmt.Errorf("%w\nmuster import status says where that one is, muster import apply goes on with one that is ready; --force takes this one", err)
	}
	return o, err
}

const csvMedia = "text/csv"

// notTooLarge finds out before an hour of uploading what Muster says after it.
func notTooLarge(source io.Reader) error {
	file, ok := source.(*os.File)
	if !ok {
		return nil
	}
	info, err := file.Stat()
	if err == nil && info.Mode().IsRegular() && info.Size() > intake.MaxImport {
		return fmt.Errorf("%s: %w", file.Name(), intake.TooLarge("The file", intake.MaxImport))
	}
	return err
}

func (u *upload) apply(ctx context.Context, api *client.Client, o client.Operation) (client.Operation, error) {
	in := client.ApplyInput{Mode: client.ApplyMode(u.mode)}
	apply := func() (*http.Response, error) { return api.ApplyAssignmentImport(ctx, o.Id, nil, in) }
	if o.Kind == client.KindUnassign {
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

// showWithErrors prints the summary, and the first rows that are in error, or were refused when it was their turn.
func showWithErrors(ctx context.Context, w io.Writer, api *client.Client, o client.Operation) {
	showOperation(w, o)
	if o.Rows.Error+o.Progress.Refused > 0 {
		showRows(ctx, w, api, o, client.ListOperationRowsParams{Outcome: given(client.OutcomeRefused)})
	}
}

// showRows prints the first of those rows, with what is said of them.
func showRows(ctx context.Context, w io.Writer, api *client.Client, o client.Operation, which client.ListOperationRowsParams) {
	most := mostShown
	which.Limit = &most
	list, err := ask[client.OperationRowList](api.ListOperationRows(ctx, o.Id, &which))
	if err != nil {
		return // the summary says how many there are
	}
	row(w, "")
	for _, r := range list.Rows {
		at := "line " + number(r.Line)
		if o.File == nil {
			at = r.Serial
		}
		for _, p := range r.Problems {
			row(w, at, string(p.Severity), p.Detail)
		}
		if r.Detail != nil {
			row(w, at, string(r.Outcome), *r.Detail)
		}
	}
	if list.NextCursor != nil {
		row(w, "… all of them: "+allRows(o))
	}
}

// allRows is the command that has what became of every row.
func allRows(o client.Operation) string {
	if o.File != nil {
		return "muster import result " + o.Id
	}
	return "muster operations results " + o.Id
}

func importApplyCommand() *cobra.Command {
	u := &upload{}
	u.cmd = &cobra.Command{
		Use: "apply ID", Short: "Applies an import that was uploaded and checked.", Args: takes("the ID of an import"),
		Long: "An import is ready and not applied when muster import was interrupted, or when it was uploaded by the API.\n\n" + remoteHelp,
	}
	u.out = withOutput(u.cmd)
	u.bindApply()
	return withRemote(u.cmd, func(ctx context.Context, api *client.Client, args []string) error {
		if err := u.checkMode(); err != nil {
			return err
		}
		o, err := ask[client.Operation](api.GetOperation(ctx, args[0]))
		if err != nil {
			return err
		}
		if o, err = u.apply(ctx, api, o); err != nil {
			return err
		}
		return u.finish(ctx, api, o)
	})
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
	if path == "-" {
		_, err := io.Copy(stdout, body)
		return brokenOff(err)
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err //nolint:wrapcheck // it says "open" and the name
	}
	_, err = io.Copy(file, body)
	return brokenOff(errors.Join(err, file.Close()))
}

func brokenOff(err error) error {
	if err != nil {
		return fmt.Errorf("the result broke off and isn't whole: %w", err)
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
