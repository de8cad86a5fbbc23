package cli

import (
	"github.com/spf13/cobra"

	"github.com/muster-mdm/muster/cmd/muster/serve"
	"github.com/muster-mdm/muster/cmd/muster/settings"
)

func serveCommand(streams Streams) *cobra.Command {
	var s settings.Serve
	cmd := &cobra.Command{
		Use: "serve", Short: "Runs Muster: API, MDM endpoint and worker, or some of them.",
		Long: `Runs Muster until it is told to stop. Every setting is a flag and a MUSTER_… variable of the same name; secrets may
come from a file named by MUSTER_…_FILE. Run as many processes of each role as you need; they share PostgreSQL and
Temporal and nothing else.`,
	}
	bound := settings.Bind(cmd.Flags(), &s, environ())
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if bound != nil {
			return settings.AsMisuse(bound)
		}
		if err := s.Check(); err != nil {
			return settings.AsMisuse(err)
		}
		log := serve.Logger(s.Log, streams.Err)
		svc, err := serve.Start(cmd.Context(), s, log)
		if err != nil {
			return err
		}
		if err := svc.Wait(cmd.Context()); err != nil {
			return err
		}
		return svc.Stop()
	}
	return cmd
}
