package cli

import (
	"context"
	"io"
	"net/http"

	"github.com/spf13/cobra"

	"github.com/muster-mdm/muster/api/client"
)

func peopleCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "people", Short: "Lists people, and makes them and technicians known.", Long: remoteHelp}
	cmd.AddCommand(peopleListCommand(), peopleAddCommand(), peopleImportCommand())
	return cmd
}

func peopleListCommand() *cobra.Command {
	var q string
	var technicians bool
	cmd := &cobra.Command{Use: "list", Short: "Lists people."}
	out := withList(cmd)
	cmd.Flags().StringVarP(&q, "query", "q", "", "with this in the name or the address")
	cmd.Flags().BoolVar(&technicians, "technicians", false, "only technicians")
	return withRemote(cmd, func(ctx context.Context, api *client.Client, _ []string) error {
		list, err := entire(func(cursor *string) (*http.Response, error) {
			most := 500
			return api.ListPeople(ctx, &client.ListPeopleParams{Q: given(q), Technician: given(technicians), Cursor: cursor, Limit: &most})
		}, func(p client.PersonList) ([]client.Person, *string) { return p.People, p.NextCursor })
		if err != nil {
			return err
		}
		return out.show(list, func(w io.Writer) {
			row(w, "NAME", "DOMAIN", "EMAIL", "TECHNICIAN", "ID")
			for _, p := range list {
				row(w, p.Name, p.Domain, p.Email, yesNo(p.Technician), p.Id)
			}
		})
	})
}

func peopleAddCommand() *cobra.Command {
	var in client.PersonInput
	var domain string
	var technician bool
	cmd := &cobra.Command{Use: "add NAME", Short: "Makes a person known.", Args: takes("the NAME of a person")}
	f := cmd.Flags()
	f.StringVar(&in.Email, "email", "", "e-mail address")
	f.StringVar(&domain, "domain", "", "domain; MDM when empty")
	f.BoolVar(&technician, "technician", false, "may stand in for a user")
	return withThing(cmd, showPerson, func(ctx context.Context, api *client.Client, name string) (*http.Response, error) {
		in.Name, in.Domain, in.Technician = name, given(domain), given(technician)
		return api.CreatePerson(ctx, nil, in)
	})
}

func showPerson(w io.Writer, p client.Person) {
	line(w, "Name", p.Name)
	line(w, "Domain", p.Domain)
	line(w, "E-mail address", p.Email)
	line(w, "Technician", yesNo(p.Technician))
	line(w, "ID", p.Id)
}

func peopleImportCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "import FILE", Short: "Makes many people known from a CSV file, all of them or none.", Args: oneFile,
		Long: `The columns are User Name and Email Address and, if you like, Domain Name and Technician (yes or no). FILE may be "-" for the
standard input.

` + remoteHelp,
	}
	return withRemote(cmd, func(ctx context.Context, api *client.Client, args []string) error {
		file, err := open(args[0], cmd.InOrStdin())
		if err != nil {
			return err
		}
		defer func() { _ = file.Close() }()
		done, err := ask[client.PeopleImported](api.ImportPeopleWithBody(ctx, nil, csvMedia, body(ctx, file)))
		if err != nil {
			return err
		}
		cmd.Printf("%d people were made known or changed.\n", done.People)
		return nil
	})
}
