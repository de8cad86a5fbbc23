package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/muster-mdm/muster/cmd/muster/settings"
)

// readSecret reads the first line of a file, or with "-" of the standard input. On a terminal it asks, and shows nothing of
// what is typed. Secrets are never arguments: everybody on the machine could read those.
func readSecret(ctx context.Context, cmd *cobra.Command, path, what string) (string, error) {
	in := cmd.InOrStdin()
	if path != "-" {
		file, err := open(path, in)
		if err != nil {
			return "", err
		}
		defer func() { _ = file.Close() }()
		return firstLine(file, fmt.Sprintf("%s holds no %s", path, what))
	}
	if f, ok := in.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		cmd.PrintErr(strings.ToUpper(what[:1]) + what[1:] + ": ")
		secret, err := typedSecret(ctx, f)
		cmd.PrintErrln()
		if err != nil {
			return "", fmt.Errorf("reading the %s: %w", what, err)
		}
		return secret, nil
	}
	secret, err := typed(ctx, func() (string, error) { return firstLine(in, fmt.Sprintf("no %s came by the standard input", what)) })
	if errors.Is(err, errInterrupted) {
		return "", fmt.Errorf("reading the %s: %w", what, err)
	}
	return secret, err
}

// firstLine keeps spaces, which passwords may begin and end with.
func firstLine(in io.Reader, none string) (string, error) {
	text, err := bufio.NewReader(in).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", err //nolint:wrapcheck // it says "read" and the name
	}
	if text = strings.TrimRight(text, "\r\n"); text == "" {
		return "", settings.Misused("%s", none)
	}
	return text, nil
}
