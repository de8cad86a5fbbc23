package cli

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/muster-mdm/muster/api/client"
)

func operationsCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "operations", Short: "Follows what is done to many devices, imports among it.", Long: remoteHelp}
	cmd.AddCommand(operationsListCommand(), operationsShowCommand(), operationsResultsCommand())
	for _, v := range []struct {
		name, short string
		ask         operationVerb
	}{
		{"pause", "Stops an operation between two chunks.", pauseOperation},
		{"resume", "Has an operation go on.", resumeOperation},
		{"cancel", "Ends an operation; what was done stays done.", cancelOperation},
		{"undo", "Takes an operation back.", undoOperation},
	} {
		cmd.AddCommand(operationVerbCommand(v.name, v.short, v.ask))
	}
	return cmd
}

type operationVerb func(ctx context.Context, api *client.Client, id string) (*http.Response, error)

func pauseOperation(ctx context.Context, api *client.Client, id string) (*http.Response, error) {
	return api.PauseOperation(ctx, id, nil)
}

func resumeOperation(ctx context.Context, api *client.Client, id string) (*http.Response, error) {
	return api.ResumeOperation(ctx, id, nil)
}

func cancelOperation(ctx context.Context, api *client.Client, id string) (*http.Response, error) {
	return api.CancelOperation(ctx, id, nil)
}

func undoOperation(ctx context.Context, api *client.Client, id string) (*http.Response, error) {
	return api.UndoOperation(ctx, id, nil)
}

func operationVerbCommand(name, short string, verb operationVerb) *cobra.Command {
	var wait bool
	cmd := &cobra.Command{Use: name + " ID", Short: short, Args: takes("the ID of an operation or import")}
	out := withOutput(cmd)
	cmd.Flags().BoolVar(&wait, "wait", name == "undo", "wait until it is done")
	return withRemote(cmd, func(ctx context.Context, api *client.Client, args []string) error {
		o, err := ask[client.Operation](verb(ctx, api, args[0]))
		if err == nil && wait && !o.Paused {
			o, err = awaitOperation(ctx, api, o, cmd.ErrOrStderr(), over)
		}
		if err != nil {
			return err
		}
		return out.show(o, func(w io.Writer) { showOperation(w, o) })
	})
}

func operationsListCommand() *cobra.Command {
	var kind, state string
	var limit int
	cmd := &cobra.Command{Use: "list", Short: "Lists operations and imports, the newest first."}
	out := withList(cmd)
	cmd.Flags().StringVar(&kind, "kind", "", "assign, unassign, unassign_from_mdm, deprovision, release or withdraw")
	cmd.Flags().StringVar(&state, "state", "", "such as applying or done")
	cmd.Flags().IntVar(&limit, "limit", 50, "how many")
	return withRemote(cmd, func(ctx context.Context, api *client.Client, _ []string) error {
		p := client.ListOperationsParams{Kind: given(client.OperationKind(kind)), State: given(client.OperationState(state)), Limit: &limit}
		list, err := ask[client.OperationList](api.ListOperations(ctx, &p))
		if err != nil {
			return err
		}
		return out.show(list.Operations, func(w io.Writer) {
			row(w, "ID", "KIND", "STATE", "ROWS", "CHANGED", "IN ERROR", "REFUSED", "BEGAN", "FILE")
			for _, o := range list.Operations {
				row(w, o.Id, string(o.Kind), stateOf(o), number(o.Rows.Total), number(o.Progress.Changed), number(o.Rows.Error), number(o.Progress.Refused), moment(&o.CreatedAt), orNone(fileName(o)))
			}
		})
	})
}

func operationsShowCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "show ID", Short: "Shows an operation and how far it is.", Args: takes("the ID of an operation or import")}
	return withThing(cmd, showOperation, func(ctx context.Context, api *client.Client, name string) (*http.Response, error) {
		return api.GetOperation(ctx, name)
	})
}

func operationsResultsCommand() *cobra.Command {
	var outcome, verdict string
	cmd := &cobra.Command{Use: "results ID", Short: "Lists what became of each device.", Args: takes("the ID of an operation or import")}
	out := withList(cmd)
	cmd.Flags().StringVar(&outcome, "outcome", "", "changed, unchanged, refused or pending")
	cmd.Flags().StringVar(&verdict, "verdict", "", "ok, notice or error")
	return withRemote(cmd, func(ctx context.Context, api *client.Client, args []string) error {
		list, err := entire(func(cursor *string) (*http.Response, error) {
			most := 500
			return api.ListOperationRows(ctx, args[0], &client.ListOperationRowsParams{
				Cursor: cursor, Limit: &most, Outcome: given(client.RowOutcome(outcome)), Verdict: given(client.RowVerdict(verdict)),
			})
		}, func(p client.OperationRowList) ([]client.OperationRow, *string) { return p.Rows, p.NextCursor })
		if err != nil {
			return err
		}
		return out.show(list, func(w io.Writer) { tableOfRows(w, list) })
	})
}

func tableOfRows(w io.Writer, list []client.OperationRow) {
	row(w, "LINE", "SERIAL", "VERDICT", "OUTCOME", "DETAIL")
	for _, r := range list {
		var says []string
		for _, p := range r.Problems {
			says = append(says, p.Detail)
		}
		says = append(says, value(r.Detail), value(r.UndoDetail))
		row(w, number(r.Line), orNone(r.Serial), string(r.Verdict), string(r.Outcome), orNone(strings.TrimSpace(strings.Join(says, " "))))
	}
}

func number(n int64) string { return strconv.FormatInt(n, 10) }

func stateOf(o client.Operation) string {
	if o.Paused {
		return string(o.State) + ", paused"
	}
	return string(o.State)
}

func fileName(o client.Operation) string {
	if o.File == nil {
		return ""
	}
	return o.File.Name
}

func showOperation(w io.Writer, o client.Operation) {
	p := o.Progress
	line(w, "Operation", o.Id+", "+strings.ReplaceAll(string(o.Kind), "_", " "))
	line(w, "File", fileName(o))
	line(w, "State", stateOf(o))
	line(w, "Rows", fmt.Sprintf("%d: %d ok, %d with notices, %d in error", o.Rows.Total, o.Rows.Ok, o.Rows.Notice, o.Rows.Error))
	if p.Done > 0 {
		line(w, "Done", fmt.Sprintf("%d of %d: %d changed, %d unchanged, %d refused", p.Done, p.Of, p.Changed, p.Unchanged, p.Refused))
	}
	if p.Restored+p.Conflicts > 0 {
		line(w, "Taken back", fmt.Sprintf("%d, and %d left alone because they changed since", p.Restored, p.Conflicts))
	}
	if f := o.Failure; f != nil {
		line(w, "Failed", fmt.Sprintf("line %d: %s (%s)", value(f.Line), f.Detail, f.Code))
	}
	for _, code := range sortedKeys(o.Codes) {
		line(w, "  "+code, number(o.Codes[code]))
	}
	if o.File != nil {
		for _, n := range o.File.Notices {
			line(w, "Notice", n.Detail)
		}
	}
}

// over: nothing more happens by itself.
func over(o client.Operation) bool { return o.FinishedAt != nil || o.Paused }

// checked: the verdicts are there.
func checked(o client.Operation) bool {
	return over(o) || o.State != client.OperationUploading && o.State != client.OperationChecking
}

// awaitOperation looks until an operation is where it shall be, and draws a bar on a terminal meanwhile.
func awaitOperation(ctx context.Context, api *client.Client, o client.Operation, errOut io.Writer, until func(client.Operation) bool) (client.Operation, error) {
	bar := newProgress(errOut)
	defer bar.end()
	tick := time.NewTicker(lookEvery / 5)
	defer tick.Stop()
	for !until(o) {
		bar.say("%s %s", barOf(o.Progress.Percent), o.State)
		select {
		case <-ctx.Done():
			return o, fmt.Errorf("%w; %s", errInterrupted, afterwards(o))
		case <-tick.C:
		}
		again, err := ask[client.Operation](api.GetOperation(ctx, o.Id))
		if err != nil && ctx.Err() == nil {
			return o, fmt.Errorf("%w\nonce Muster runs, %s", err, afterwards(o))
		}
		if err == nil {
			o = again
		}
	}
	return o, nil
}

// afterwards says what becomes of an operation that nobody waits for any more.
func afterwards(o client.Operation) string {
	if !checked(o) {
		return "the file is checked and kept: muster import apply " + o.Id + " goes on with it"
	}
	return "it goes on by itself: see muster operations show " + o.Id
}

func barOf(percent int) string {
	const wide = 30
	full := wide * min(percent, 100) / 100
	return fmt.Sprintf("[%s%s] %3d%%", strings.Repeat("#", full), strings.Repeat(".", wide-full), percent)
}
