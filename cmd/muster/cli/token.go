package cli

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/muster-mdm/muster/cmd/muster/settings"
	"github.com/muster-mdm/muster/store"
)

func tokenCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "token", Short: "Makes tokens for the API."}
	cmd.AddCommand(tokenCreateCommand(), &cobra.Command{
		Use: "secret", Short: "Prints a new secret for MUSTER_BOOTSTRAP_TOKEN; nothing is stored.",
		Run: func(cmd *cobra.Command, _ []string) { _, _ = fmt.Fprintln(cmd.OutOrStdout(), store.NewSecret()) },
	})
	return cmd
}

func tokenCreateCommand() *cobra.Command {
	var name, role string
	var valid time.Duration
	cmd := withDatabase(
		&cobra.Command{Use: "create", Short: "Makes a token in the database and prints its secret, once."},
		func(cmd *cobra.Command, s settings.Database) error {
			db, err := store.Open(cmd.Context(), store.Config{URL: s.DatabaseURL, MaxConns: 2})
			if err != nil {
				return err
			}
			defer db.Close()
			var expires *time.Time
			if valid > 0 {
				at := db.Now().Add(valid)
				expires = &at
			}
			t, secret, err := db.CreateToken(cmd.Context(), name, store.Role(role), expires)
			if err != nil {
				return err
			}
			cmd.PrintErrf("Token %q (%s, role %s) was made. Its secret is shown only now:\n", t.Name, t.ID, t.Role)
			_, _ = fmt.Fprintln(cmd.OutOrStdout(), secret)
			return nil
		})
	cmd.Flags().StringVar(&name, "name", "", "what the token is for (required)")
	cmd.Flags().StringVar(&role, "role", "viewer", "viewer, technician or admin")
	cmd.Flags().DurationVar(&valid, "valid-for", 0, "how long it is valid, such as 720h; 0 = until it is revoked")
	return cmd
}
