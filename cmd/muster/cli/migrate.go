package cli

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/muster-mdm/muster/cmd/muster/settings"
	"github.com/muster-mdm/muster/store"
)

func migrateCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "migrate", Short: "Brings the database's schema up to date."}
	cmd.AddCommand(
		withDatabase(&cobra.Command{Use: "up", Short: "Applies the migrations that are pending."}, migrateUp),
		withDatabase(&cobra.Command{Use: "status", Short: "Lists all migrations, applied and pending."}, migrateStatus),
	)
	return cmd
}

// withDatabase gives a command the database settings and runs it when they are complete.
func withDatabase(cmd *cobra.Command, run func(*cobra.Command, settings.Database) error) *cobra.Command {
	var s settings.Database
	bound := settings.Bind(cmd.Flags(), &s, environ())
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if bound != nil {
			return settings.AsMisuse(bound)
		}
		if err := s.Check(); err != nil {
			return settings.AsMisuse(err)
		}
		return run(cmd, s)
	}
	return cmd
}

func migrateUp(cmd *cobra.Command, s settings.Database) error {
	applied, err := store.Migrate(cmd.Context(), s.DatabaseURL)
	if err != nil {
		return err
	}
	if len(applied) == 0 {
		cmd.Println("The schema is up to date; nothing was to be done.")
		return nil
	}
	for _, m := range applied {
		cmd.Printf("Applied %s.\n", m.Name)
	}
	return nil
}

func migrateStatus(cmd *cobra.Command, s settings.Database) error {
	all, err := store.MigrationStatus(cmd.Context(), s.DatabaseURL)
	if err != nil {
		return err
	}
	for _, m := range all {
		state := "pending"
		if !m.AppliedAt.IsZero() {
			state = "applied " + m.AppliedAt.UTC().Format(time.RFC3339)
		}
		_, _ = fmt.Fprintf(cmd.OutOrStdout(), "%-40s %s\n", m.Name, state)
	}
	return nil
}
