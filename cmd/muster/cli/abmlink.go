package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/muster-mdm/muster/api/client"
)

// waiting is how a command waits for a sync.
type waiting struct {
	cmd     *cobra.Command
	wait    bool
	timeout time.Duration
}

func withWait(cmd *cobra.Command, byDefault bool) *waiting {
	w := &waiting{cmd: cmd}
	cmd.Flags().BoolVar(&w.wait, "wait", byDefault, "wait until the sync is done")
	cmd.Flags().DurationVar(&w.timeout, "timeout", 10*time.Minute, "how long to wait")
	return w
}

func abmLinkCommand() *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use: "link NAME FILE", Short: "Links a server by the server token that Apple gave (FILE.p7m), and waits for the first sync.",
		Args: takes("the NAME of a server", "the FILE that Apple gave"),
	}
	out, wait := withOutput(cmd), withWait(cmd, true)
	cmd.Flags().BoolVar(&force, "force", false, "take the token of another device management service at Apple than before, too")
	return withRemote(cmd, func(ctx context.Context, api *client.Client, args []string) error {
		file, err := open(args[1], cmd.InOrStdin())
		if err != nil {
			return err
		}
		defer func() { _ = file.Close() }()
		s, err := ask[client.AbmServer](api.PutAbmServerTokenWithBody(ctx, args[0], &client.PutAbmServerTokenParams{Force: &force}, "application/pkcs7-mime", file))
		if err != nil {
			return err
		}
		return wait.done(ctx, api, s, value(s.LinkedAt), out)
	})
}

func abmSyncCommand() *cobra.Command {
	var full bool
	cmd := &cobra.Command{Use: "sync NAME", Short: "Has a server synced now.", Args: takes("the NAME of a server")}
	out, wait := withOutput(cmd), withWait(cmd, false)
	cmd.Flags().BoolVar(&full, "full", false, "list all devices anew, instead of only what changed")
	return withRemote(cmd, func(ctx context.Context, api *client.Client, args []string) error {
		s, err := ask[client.AbmServer](api.SyncAbmServer(ctx, args[0], &client.SyncAbmServerParams{Full: &full}))
		if err != nil {
			return err
		}
		return wait.done(ctx, api, s, value(s.SyncWantedAt), out)
	})
}

// open opens a file, or the standard input for "-".
func open(path string, stdin io.Reader) (io.ReadCloser, error) {
	if path == "-" {
		return io.NopCloser(stdin), nil
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, err //nolint:wrapcheck // it says "open" and the name
	}
	if info, err := file.Stat(); err == nil && info.IsDir() {
		_ = file.Close()
		return nil, fmt.Errorf("%s is a folder, not a file", path)
	}
	return file, nil
}

// lookEvery is short for a person and long for a server.
const lookEvery = 500 * time.Millisecond

// done shows a server when it was synced after a time, with progress on a terminal meanwhile.
func (w *waiting) done(ctx context.Context, api *client.Client, s client.AbmServer, since time.Time, out *output) error {
	if !w.wait {
		return out.show(s, func(to io.Writer) { showServer(to, s) })
	}
	ctx, cancel := context.WithTimeout(ctx, w.timeout)
	defer cancel()
	progress := newProgress(w.cmd.ErrOrStderr())
	defer progress.end()
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for !synced(s, since) {
		if blocked(s) {
			return fmt.Errorf("the sync can't be done: %s Who can mend it: %s", s.Health.Explanation, value(s.Health.Who))
		}
		progress.say("%s, %d devices so far …", orElse(doing(s), "syncing"), s.Devices)
		select {
		case <-ctx.Done():
			return w.late(ctx)
		case <-tick.C:
		}
		again, err := ask[client.AbmServer](api.GetAbmServer(ctx, s.Name))
		if err != nil && ctx.Err() == nil {
			return err
		}
		if err == nil {
			s = again
		}
	}
	progress.end()
	return out.show(s, func(to io.Writer) { showServer(to, s) })
}

func (w *waiting) late(ctx context.Context) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("the sync was not done within %s; it goes on by itself. Does a worker run? See muster doctor", w.timeout)
	}
	return errors.New("interrupted; the sync goes on by itself")
}

// blocked reports whether a server needs a person; that Apple can't be reached passes.
func blocked(s client.AbmServer) bool {
	return s.Health.State != client.HealthOk && s.Health.State != client.HealthUnreachable
}

// synced reports whether the list was brought up to date after a time.
func synced(s client.AbmServer, since time.Time) bool {
	at := lastSync(s)
	return s.Phase == client.PhaseSync && at != nil && !at.Before(since)
}

func orElse(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}

// progress is one line that is written again and again, on a terminal only.
type progress struct {
	terminal *os.File // nil = there is none that can move its cursor
	written  bool
}

func newProgress(out io.Writer) *progress {
	if f, ok := out.(*os.File); ok && term.IsTerminal(int(f.Fd())) && os.Getenv("TERM") != "dumb" {
		return &progress{terminal: f}
	}
	return &progress{}
}

func (p *progress) say(format string, args ...any) {
	if p.terminal == nil {
		return
	}
	width, _, err := term.GetSize(int(p.terminal.Fd()))
	if err != nil {
		width = 0
	}
	_, _ = fmt.Fprint(p.terminal, "\r\x1b[K"+fitting(fmt.Sprintf(format, args...), width))
	p.written = true
}

func (p *progress) end() {
	if p.written {
		_, _ = fmt.Fprint(p.terminal, "\r\x1b[K")
		p.written = false
	}
}
