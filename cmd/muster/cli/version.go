package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/muster-mdm/muster/cmd/muster/serve"
)

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Prints the version.",
		Run: func(cmd *cobra.Command, _ []string) {
			_, _ = fmt.Fprintln(cmd.OutOrStdout(), "muster", serve.Version())
		},
	}
}
