package cli

import (
	"context"
	"fmt"
	"io"
	"net/http"

	"github.com/spf13/cobra"

	"github.com/muster-mdm/muster/api/client"
	"github.com/muster-mdm/muster/cmd/muster/settings"
)

// largestKey is many times a private key's size.
const largestKey = 64 << 10

func abmBusinessCommand() *cobra.Command {
	var id, key, file string
	var remove bool
	cmd := &cobra.Command{
		Use: "business NAME", Short: "Gives a server the API account of Apple Business by which devices are unassigned and released.",
		Args: takes("the NAME of a server"),
	}
	cmd.Flags().StringVar(&id, "client-id", "", "client id of the API account")
	cmd.Flags().StringVar(&key, "key-id", "", "id of its key")
	cmd.Flags().StringVar(&file, "key-file", "", "private key (PEM) that Apple gave once; - is the standard input")
	cmd.Flags().BoolVar(&remove, "remove", false, "take the account away")
	return withServer(cmd, func(ctx context.Context, api *client.Client, name string) (*http.Response, error) {
		switch {
		case remove && id+key+file != "":
			return nil, settings.Misused("--remove takes the account away; it goes with no other flag")
		case remove:
			return api.DeleteAbmServerBusinessAccount(ctx, name, nil)
		case id == "" || key == "" || file == "":
			return nil, settings.Misused("%q needs --client-id, --key-id and --key-file", cmd.CommandPath())
		}
		private, err := open(file, cmd.InOrStdin())
		if err != nil {
			return nil, err
		}
		defer func() { _ = private.Close() }()
		text, err := io.ReadAll(io.LimitReader(private, largestKey))
		if err != nil {
			return nil, fmt.Errorf("reading the private key: %w", err)
		}
		return api.PutAbmServerBusinessAccount(ctx, name, nil, client.AbmBusinessAccountInput{ClientId: id, KeyId: key, PrivateKey: string(text)})
	})
}
