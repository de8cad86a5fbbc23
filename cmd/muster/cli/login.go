package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/muster-mdm/muster/api/client"
	"github.com/muster-mdm/muster/cmd/muster/settings"
)

// login is what a login keeps: which Muster, and a token for it.
type login struct {
	URL   string `json:"url"`
	Token string `json:"token"`
}

// loginFile is where it is kept: for the user alone.
func loginFile() (string, error) {
	folder, err := os.UserConfigDir()
	if err != nil {
		return "", fmt.Errorf("finding the folder for settings: %w", err)
	}
	return filepath.Join(folder, "muster", "login.json"), nil
}

func loginCommand() *cobra.Command {
	var s settings.Client
	cmd := &cobra.Command{
		Use: "login", Short: "Keeps the address of a Muster and a token for it, for the commands that follow.",
		Long: `Asks for a token, tries it, and keeps it with the address in a file that only you can read. The token is read from
the standard input unless --token, MUSTER_TOKEN or MUSTER_TOKEN_FILE gives it; those also go before the file later.`,
	}
	bound := settings.Bind(cmd.Flags(), &s, environ())
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if bound != nil {
			return settings.AsMisuse(bound)
		}
		if s.Token == "" {
			token, err := readSecret(cmd.Context(), cmd, "-", "token")
			if err != nil {
				return err
			}
			s.Token = strings.TrimSpace(token)
		}
		if err := s.Check(); err != nil {
			return settings.AsMisuse(err)
		}
		if err := tryLogin(cmd.Context(), s); err != nil {
			return err
		}
		file, err := keepLogin(login{URL: s.URL, Token: s.Token})
		if err != nil {
			return err
		}
		cmd.Printf("Logged in at %s; kept in %s.\n", s.URL, file)
		return nil
	}
	return cmd
}

func tryLogin(ctx context.Context, s settings.Client) error {
	api, err := client.NewClient(strings.TrimSuffix(s.URL, "/"), client.WithToken(s.Token))
	if err != nil {
		return settings.AsMisuse(err)
	}
	one := 1
	_, err = ask[client.DeviceList](api.ListDevices(ctx, &client.ListDevicesParams{Limit: &one}))
	return err
}

func keepLogin(l login) (file string, err error) {
	if file, err = loginFile(); err != nil {
		return "", err
	}
	raw, err := json.Marshal(l)
	if err != nil {
		return "", fmt.Errorf("writing the login: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return "", fmt.Errorf("writing the login: %w", err)
	}
	// A new file, because the rights of an old one would stay.
	if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("writing the login: %w", err)
	}
	if err := os.WriteFile(file, raw, 0o600); err != nil {
		return "", fmt.Errorf("writing the login: %w", err)
	}
	return file, nil
}

// fromLogin fills in what neither flags nor variables say. A token is only ever sent to the address it was kept for.
func fromLogin(s *settings.Client, urlGiven bool) error {
	if s.Token != "" {
		return nil
	}
	file, err := loginFile()
	if err != nil {
		return nil //nolint:nilerr // without such a folder nobody can have logged in
	}
	raw, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var l login
	if err == nil {
		err = json.Unmarshal(raw, &l)
	}
	if err != nil {
		return fmt.Errorf("reading the login in %s: %w; log in again", file, err)
	}
	if urlGiven && strings.TrimSuffix(l.URL, "/") != strings.TrimSuffix(s.URL, "/") {
		return nil
	}
	s.URL, s.Token = l.URL, l.Token
	return nil
}
