package cli

import (
	"fmt"
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/muster-mdm/muster/apple/mdm"
	"github.com/muster-mdm/muster/cmd/muster/settings"
	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/store"
	"github.com/muster-mdm/muster/store/keyring"
)

func keyringCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "keyring", Short: "Makes and replaces the keys that seal secrets in the database."}
	cmd.AddCommand(&cobra.Command{
		Use: "new", Short: "Prints a new key for MUSTER_KEYRING; nothing is stored.",
		Run: func(cmd *cobra.Command, _ []string) { _, _ = fmt.Fprintln(cmd.OutOrStdout(), keyring.NewKey()) },
	}, keyringRotateCommand())
	return cmd
}

// keyringSettings are those of commands that read or write sealed secrets.
type keyringSettings struct {
	settings.Database
	settings.Secrets
}

func keyringRotateCommand() *cobra.Command {
	var s keyringSettings
	cmd := &cobra.Command{
		Use: "rotate", Short: "Seals all secrets in the database with the keyring's first key.",
		Long: "Seals all secrets in the database with the keyring's first key, those too that lie in clear. Put the new key before the others\n" +
			"in MUSTER_KEYRING, restart all processes, run this, and take the old keys out when it has succeeded.",
	}
	bound := settings.Bind(cmd.Flags(), &s, environ())
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if bound != nil {
			return settings.AsMisuse(bound)
		}
		if err := s.Check(); err != nil {
			return settings.AsMisuse(err)
		}
		ring, err := s.Ring()
		if err != nil {
			return settings.AsMisuse(err)
		}
		if ring == nil {
			return settings.AsMisuse(provision.Errorf(provision.KeyringMissing, "no keyring is set: give MUSTER_KEYRING or MUSTER_KEYRING_FILE"))
		}
		return rotate(cmd, s, ring)
	}
	return cmd
}

func rotate(cmd *cobra.Command, s keyringSettings, ring *keyring.Keyring) error {
	db, err := store.Open(cmd.Context(), store.Config{URL: s.DatabaseURL, MaxConns: 2}, store.WithSealer(ring))
	if err != nil {
		return err
	}
	defer db.Close()
	storage, err := mdm.NewStorage(db.NanoMDM(), slog.New(slog.DiscardHandler), mdm.WithSealer(ring))
	if err != nil {
		return err
	}
	secrets, err := db.Reseal(cmd.Context())
	if err != nil {
		return err
	}
	push, err := storage.ResealKeys(cmd.Context())
	if err != nil {
		return err
	}
	cmd.Printf("Sealed with key %q: secrets of ABM servers and the certificate authority: %d anew; keys of push certificates: %d.\n", ring.Primary(), secrets, push)
	return nil
}
