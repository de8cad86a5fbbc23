// Package cli holds muster's commands. Each is a thin shell: it reads settings, calls a room, and says what happened.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/muster-mdm/muster/cmd/muster/bench"
	"github.com/muster-mdm/muster/cmd/muster/dev"
	"github.com/muster-mdm/muster/cmd/muster/rehearse"
	"github.com/muster-mdm/muster/cmd/muster/settings"
)

// Streams are what a command reads and writes.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
}

// saidError was told to people already and only carries an exit code. Its method isn't named ExitCode, which the error of
// a child process has, too.
type saidError interface{ AlreadySaid() (exitCode int) }

// Main runs the command that args name and returns the exit code: 0 when it did its job, 1 when not, 2 for a call that
// can't be understood. Errors are one sentence on Err.
func Main(ctx context.Context, args []string, s Streams) int {
	root := command(s) //nolint:contextcheck // cobra hands the context to each command
	root.SetArgs(args)
	root.SetIn(s.In)
	root.SetOut(s.Out)
	root.SetErr(s.Err)
	ran, err := root.ExecuteContextC(ctx)
	if err == nil {
		return 0
	}
	var misuse *settings.MisuseError
	if errors.As(err, &misuse) {
		_, _ = fmt.Fprintf(s.Err, "muster: %v\nSee %s --help.\n", err, ran.CommandPath())
		return 2
	}
	var said saidError
	if errors.As(err, &said) {
		return said.AlreadySaid()
	}
	_, _ = fmt.Fprintf(s.Err, "muster: %v\n", err)
	return 1
}

func command(s Streams) *cobra.Command {
	root := &cobra.Command{
		Use:           "muster",
		Short:         `Takes every Apple device of an organisation to "Enrolled".`,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return settings.AsMisuse(err) })
	root.AddCommand(
		serveCommand(s), dev.Command(), migrateCommand(), tokenCommand(), keyringCommand(), doctorCommand(), healthcheckCommand(), versionCommand(),
		loginCommand(), devicesCommand(), assignCommand(), unassignCommand(), importCommand(), operationsCommand(), peopleCommand(), groupsCommand(), applyCommand(),
		abmCommand(), directoriesCommand(), docsCommand(), rehearse.Command(), bench.Command(),
	)
	strict(root)
	return root
}

// strict lets no command pass over words that it doesn't know: a misspelled "migrate up" must not look like success.
// Commands that take arguments say so in their Use, and check them by their own Args.
func strict(cmd *cobra.Command) {
	if !strings.Contains(cmd.Use, " ") {
		cmd.Args = noArgs
	}
	if !cmd.Runnable() {
		cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	}
	for _, sub := range cmd.Commands() {
		strict(sub)
	}
}

func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return settings.Misused("%q is no command of %q", args[0], cmd.CommandPath())
	}
	return nil
}

func environ() []string { return os.Environ() }
