package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"
)

// errInterrupted is what is said when somebody presses Ctrl-C where nothing was done yet.
var errInterrupted = errors.New("interrupted")

// typed returns what read reads, unless Ctrl-C comes first: reading a terminal can't be interrupted, so it is left behind.
func typed[T any](ctx context.Context, read func() (T, error)) (T, error) {
	type answer struct {
		value T
		err   error
	}
	answered := make(chan answer, 1)
	go func() {
		v, err := read()
		answered <- answer{v, err}
	}()
	select {
	case a := <-answered:
		return a.value, a.err
	case <-ctx.Done():
		var none T
		return none, errInterrupted
	}
}

// typedBody is a request's body that is typed, or comes by a pipe: a client that was interrupted waits until its body's Read
// returns, which may be never.
type typedBody struct {
	ctx    context.Context //nolint:containedctx // io.Reader has no room for it
	source io.Reader
}

// Read reads, unless Ctrl-C comes first.
func (b typedBody) Read(p []byte) (int, error) {
	got, err := typed(b.ctx, func() ([]byte, error) {
		room := make([]byte, len(p)) // who is left behind mustn't write into p
		n, err := b.source.Read(room)
		return room[:n], err
	})
	return copy(p, got), err
}

// body is what a file's content is sent as; the client would close the file itself.
func body(ctx context.Context, source io.Reader) io.Reader {
	if file, ok := source.(*os.File); ok {
		if info, err := file.Stat(); err == nil && info.Mode().IsRegular() {
			return io.NopCloser(source)
		}
	}
	return typedBody{ctx, source}
}

// typedSecret reads a line from a terminal, and shows nothing of it.
func typedSecret(ctx context.Context, terminal *os.File) (string, error) {
	fd := int(terminal.Fd())
	shown, err := term.GetState(fd)
	if err != nil {
		return "", fmt.Errorf("looking at the terminal: %w", err)
	}
	secret, err := typed(ctx, func() ([]byte, error) { return term.ReadPassword(fd) })
	if errors.Is(err, errInterrupted) {
		_ = term.Restore(fd, shown) // who would have done it still waits for the line
	}
	return string(secret), err
}

// fitting cuts a line to what a terminal shows in one: what wraps can't be written over.
func fitting(text string, width int) string {
	line := []rune(strings.TrimRight(text, " "))
	if width < 1 || len(line) < width {
		return string(line)
	}
	return string(line[:width-1])
}
