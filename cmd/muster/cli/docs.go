package cli

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

func docsCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "docs", Short: "Writes pages about the commands."}
	cmd.AddCommand(&cobra.Command{
		Use: "man DIR", Short: "Writes a man page for each command into a folder.", Args: takes("the folder DIR"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := os.MkdirAll(args[0], 0o755); err != nil { //nolint:gosec // man pages are for everybody
				return fmt.Errorf("making the folder: %w", err)
			}
			root := cmd.Root()
			root.DisableAutoGenTag = true // the same pages from the same program
			if err := doc.GenManTree(root, &doc.GenManHeader{Title: "MUSTER", Section: "1", Source: "Muster"}, args[0]); err != nil {
				return fmt.Errorf("writing the man pages: %w", err)
			}
			return nil
		},
	})
	return cmd
}
