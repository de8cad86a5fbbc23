package cli

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/muster-mdm/muster/api/client"
)

func directoriesCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "directories", Short: "Sets up and tests the directories that people sign in to on their devices.",
		Long: remoteHelp + ` docs/directories.md says what the settings mean.`,
	}
	cmd.AddCommand(directoriesListCommand(), directoriesShowCommand(), directoriesPutCommand(), directoriesDeleteCommand(), directoriesTestCommand())
	return cmd
}

func directoriesListCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "list", Short: "Lists directories."}
	out := withList(cmd)
	return withRemote(cmd, func(ctx context.Context, api *client.Client, _ []string) error {
		list, err := entire(func(cursor *string) (*http.Response, error) {
			return api.ListDirectories(ctx, &client.ListDirectoriesParams{Cursor: cursor})
		}, func(p client.DirectoryList) ([]client.Directory, *string) { return p.Directories, p.NextCursor })
		if err != nil {
			return err
		}
		return out.show(list, func(w io.Writer) { tableOfDirectories(w, list, out.wide()) })
	})
}

func tableOfDirectories(w io.Writer, list []client.Directory, wide bool) {
	header := []string{"NAME", "KIND", "DOMAIN", "WHERE", "GROUPS"}
	if wide {
		header = append(header, "BASE DN", "TIMEOUT", "OWN CA", "UPDATED", "DESCRIPTION")
	}
	row(w, header...)
	for _, d := range list {
		cells := []string{d.Name, string(d.Kind), orNone(d.Domain), orNone(whereOf(d)), strconv.Itoa(len(d.Groups))}
		if wide {
			cells = append(cells, orNone(value(d.BaseDn)), orNone(value(d.Timeout)), yesNo(d.Ca != nil), moment(&d.UpdatedAt), orNone(d.Description))
		}
		row(w, cells...)
	}
}

func whereOf(d client.Directory) string {
	return strings.Join(append(value(d.Urls), value(d.Issuer)), " ")
}

func directoriesShowCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "show NAME", Short: "Shows the settings of a directory, without secrets.", Args: takes("the NAME of a directory")}
	return withThing(cmd, showDirectory, func(ctx context.Context, api *client.Client, name string) (*http.Response, error) {
		return api.GetDirectory(ctx, name)
	})
}

func showDirectory(w io.Writer, d client.Directory) {
	line(w, "Name", d.Name)
	line(w, "Description", d.Description)
	line(w, "Kind", string(d.Kind))
	line(w, "Domain", d.Domain)
	for _, u := range value(d.Urls) {
		line(w, "Server", u)
	}
	line(w, "Encryption", encryption(d))
	line(w, "Base DN", value(d.BaseDn))
	line(w, "Signs in as", value(d.BindTemplate))
	line(w, "Finds people by", value(d.UserFilter))
	line(w, "E-mail address by", value(d.EmailAttribute))
	line(w, "Groups in groups", onlyYes(d.NestedGroups))
	line(w, "Issuer", value(d.Issuer))
	line(w, "Client id", value(d.ClientId))
	if d.HasClientSecret {
		line(w, "Client secret", "stored")
	}
	line(w, "Scopes", strings.Join(value(d.Scopes), " "))
	c := value(d.Claims)
	line(w, "Claim of the name", value(c.Name))
	line(w, "Claim of the display name", value(c.DisplayName))
	line(w, "Claim of the address", value(c.Email))
	line(w, "Claim of the groups", value(c.Groups))
	line(w, "Trusts unverified addresses", onlyYes(d.TrustEmail))
	if d.Ca != nil {
		line(w, "Trusts", "its own certificates instead of the system's")
	}
	line(w, "Timeout", value(d.Timeout))
	line(w, "Changed", moment(&d.UpdatedAt))
	if len(d.Groups) > 0 {
		row(w, "")
		row(w, "GROUP", "FOR MEMBERS OF")
		for _, g := range d.Groups {
			row(w, g.Group, g.DirectoryGroup)
		}
	}
}

func encryption(d client.Directory) string {
	switch {
	case value(d.InsecurePlain):
		return "NOT REQUIRED: passwords may go over the network in clear"
	case value(d.StartTls):
		return "by StartTLS"
	}
	return ""
}

func onlyYes(p *bool) string {
	if value(p) {
		return "yes"
	}
	return ""
}

func directoriesDeleteCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "delete NAME", Short: "Deletes a directory; nobody can sign in to it any more.", Args: takes("the NAME of a directory")}
	return withDelete(cmd, "Directory", func(ctx context.Context, api *client.Client, name string) (*http.Response, error) {
		return api.DeleteDirectory(ctx, name, nil)
	})
}

func directoriesTestCommand() *cobra.Command {
	var account, file string
	cmd := &cobra.Command{
		Use: "test NAME", Short: "Asks every server of a directory whether people can sign in, and tries an account.",
		Long: `Without an account it asks all that servers tell without a password. With --account that account is signed in, as on a
device: who it is and which groups it would get is printed, and nothing is kept. The password is asked for, or read from the
standard input or a file. The exit code is 0 when all works, and 1 when something keeps people from signing in; then each
line has a code, which docs/troubleshooting.md explains, and a sentence.

` + remoteHelp,
		Args: takes("the NAME of a directory"),
	}
	cmd.Flags().StringVar(&account, "account", "", `account to sign in, such as 'ZYLKER\andrew'`)
	cmd.Flags().StringVar(&file, "password-file", "-", "file with its password; - is the standard input, or asks on a terminal")
	out := withOutput(cmd)
	return withRemote(cmd, func(ctx context.Context, api *client.Client, args []string) error {
		found, err := ask[client.DirectoryTest](api.TestDirectoryWithBody(ctx, args[0], nil, "application/json", nil))
		if err != nil {
			return err
		}
		if account != "" && found.Works {
			password, err := readSecret(ctx, cmd, file, "password")
			if err != nil {
				return err
			}
			in := client.DirectoryTestInput{Account: account, Password: password}
			if found, err = ask[client.DirectoryTest](api.TestDirectory(ctx, args[0], nil, in)); err != nil {
				return err
			}
		}
		if err := out.show(found, func(w io.Writer) { showTest(w, found) }); err != nil {
			return err
		}
		if !found.Works {
			return unfit{}
		}
		return nil
	})
}

func showTest(w io.Writer, found client.DirectoryTest) {
	if !found.Works {
		row(w, "CODE", "WHAT IS WRONG")
		for _, p := range found.Problems {
			row(w, p.Code, p.Detail)
		}
		return
	}
	line(w, "Works", "yes")
	if p := found.Person; p != nil {
		line(w, "Signed in", fmt.Sprintf(`%s\%s`, p.Domain, p.Name))
		line(w, "Name", p.DisplayName)
		line(w, "E-mail address", p.Email)
		for _, g := range p.DirectoryGroups {
			line(w, "Is in", g)
		}
		line(w, "Would get", orElse(strings.Join(p.Groups, "/"), "no groups"))
	}
}

// unfit is a test that found what is wrong, which was shown.
type unfit struct{}

func (unfit) Error() string { return "people can't sign in" }

// AlreadySaid returns the exit code.
func (unfit) AlreadySaid() int { return 1 }
