package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/muster-mdm/muster/api/bulk"
	"github.com/muster-mdm/muster/cmd/muster/settings"
)

func importCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "import", Short: "Assigns or unassigns many devices by a CSV file.",
		Long: `Uploads a file, shows what is to be known of its rows, and applies it. FILE may be "-" for the standard input; write ./check
for a file that is called like a command. The exit code is 1 when rows are in error or could not be applied, and when somebody
paused or cancelled the import while it was waited for.

` + remoteHelp,
	}
	cmd.AddCommand(importCheckCommand(), importTemplateCommand(), importApplyCommand(), importStatusCommand(), importUndoCommand(), importResultCommand())
	return withUpload(cmd)
}

func importTemplateCommand() *cobra.Command {
	var unassign bool
	cmd := &cobra.Command{
		Use: "template", Short: "Prints an empty file to fill in.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if _, err := cmd.OutOrStdout().Write(formatOf(unassign).Template()); err != nil {
				return fmt.Errorf("writing the template: %w", err)
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&unassign, "unassign", false, "one for unassigning devices")
	return cmd
}

func formatOf(unassign bool) bulk.Format {
	if unassign {
		return bulk.Unassignments
	}
	return bulk.Assignments
}

func importCheckCommand() *cobra.Command {
	var c check
	var unassign bool
	cmd := &cobra.Command{
		Use: "check FILE", Short: "Says what is wrong in a file, without a server.",
		Long: `Reads a CSV file of assignments and gives a verdict on every row: ok, notice (it would be imported, but look at it) or
error. FILE may be "-" for the standard input. Only a server knows which groups exist, so name them, or they aren't checked.

With --json there is one JSON object a line: first what is to be said of the file as a whole, then one for each row, with

  line     of the file, where it begins; the header is line 1, or 2 below a line sep=
  verdict  ok, notice or error
  codes    what is wrong; docs/csv.md explains each
  detail   the same in words

The exit code is 0 when everything would be imported, 1 when the file or a row is in error, 2 when the call can't be
understood.`,
		Args: oneFile,
		RunE: func(cmd *cobra.Command, args []string) error {
			c.format, c.groupsGiven = formatOf(unassign), cmd.Flags().Changed("groups")
			return c.run(cmd.Context(), args[0], Streams{In: cmd.InOrStdin(), Out: cmd.OutOrStdout(), Err: cmd.ErrOrStderr()})
		},
	}
	f := cmd.Flags()
	f.StringSliceVar(&c.groups, "groups", nil, "the groups that exist, separated by commas")
	f.BoolVar(&unassign, "unassign", false, "the file is for unassigning devices")
	f.BoolVar(&c.json, "json", false, "print a JSON object per row")
	f.BoolVar(&c.all, "all", false, fmt.Sprintf("print all problems, not only the first %d", mostProblems))
	return cmd
}

func oneFile(cmd *cobra.Command, args []string) error {
	switch len(args) {
	case 0:
		return settings.Misused("%q needs the name of a file, or - for the standard input", cmd.CommandPath())
	case 1:
		return nil
	}
	return settings.Misused("%q takes one file; %q is one too many", cmd.CommandPath(), args[1])
}
