package cli

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/muster-mdm/muster/api/client"
	"github.com/muster-mdm/muster/cmd/muster/settings"
)

// directoryFlags are the settings of a directory; those not given stay as they are.
type directoryFlags struct {
	cmd                              *cobra.Command
	in                               client.DirectoryInput
	kind, caFile, secretFile         string
	servers, scopes, groups, claimed []string
	noSecret                         bool
}

func newDirectoryFlags(cmd *cobra.Command) *directoryFlags {
	f := &directoryFlags{cmd: cmd, in: client.DirectoryInput{
		Description: new(string), Domain: new(string), BaseDn: new(string), BindTemplate: new(string), UserFilter: new(string),
		EmailAttribute: new(string), Issuer: new(string), ClientId: new(string), Timeout: new(string), StartTls: new(bool),
		NestedGroups: new(bool), TrustEmail: new(bool), InsecurePlain: new(bool),
	}}
	flags := cmd.Flags()
	flags.StringVar(&f.kind, "kind", "", "active_directory, ldap or oidc")
	flags.StringVar(f.in.Description, "description", "", "what people sign in with, if the directory has a page of its own, such as Entra ID")
	flags.StringVar(f.in.Domain, "domain", "", "what people write before the backslash")
	flags.StringArrayVar(&f.servers, "server", nil, "LDAP: server such as ldaps://dc1.zylker.com; repeat it for more")
	flags.BoolVar(f.in.StartTls, "start-tls", false, "LDAP: turn on encryption after connecting by ldap://")
	flags.StringVar(f.in.BaseDn, "base-dn", "", "LDAP: where people and groups are, such as dc=zylker,dc=com")
	flags.StringVar(f.in.BindTemplate, "bind-template", "", "LDAP: the name to sign in by, such as uid={user},ou=people,dc=zylker,dc=com")
	flags.StringVar(f.in.UserFilter, "user-filter", "", "LDAP: finds the user by {user}")
	flags.StringVar(f.in.EmailAttribute, "email-attribute", "", "LDAP: where the e-mail address is, by default mail")
	flags.BoolVar(f.in.NestedGroups, "nested-groups", false, "Active Directory: count the groups, too, that a user's groups are in")
	flags.StringVar(f.in.Issuer, "issuer", "", "OpenID Connect: the provider, spelled as it spells itself")
	flags.StringVar(f.in.ClientId, "client-id", "", "OpenID Connect: Muster's id at the provider")
	flags.StringVar(&f.secretFile, "client-secret-file", "", "OpenID Connect: file with the client secret; - is the standard input, or asks on a terminal")
	flags.BoolVar(&f.noSecret, "remove-client-secret", false, "OpenID Connect: forget the client secret that is stored")
	flags.StringSliceVar(&f.scopes, "scope", nil, "OpenID Connect: what is asked for, separated by commas")
	flags.StringArrayVar(&f.claimed, "claim", nil, "OpenID Connect: what the provider calls something, such as groups=roles; of name, display_name, email, groups")
	flags.BoolVar(f.in.TrustEmail, "trust-email", false, "OpenID Connect: take addresses of which nobody says whether they were verified")
	flags.StringVar(&f.caFile, "ca-file", "", "file with the certificates (PEM) that vouch for the directory; empty are those of the system")
	flags.BoolVar(f.in.InsecurePlain, "insecure-plain", false, "let passwords go over the network unencrypted")
	flags.StringVar(f.in.Timeout, "timeout", "", "how long a server may take, such as 5s")
	flags.StringArrayVarP(&f.groups, "group", "g", nil, "a group, and the directory's group that brings it: drivers=cn=Drivers,dc=zylker,dc=com; all of them, one by one")
	_ = cmd.RegisterFlagCompletionFunc("kind", cobra.FixedCompletions([]string{"active_directory", "ldap", "oidc"}, cobra.ShellCompDirectiveNoFileComp)) // it fails for flags that aren't there
	return f
}

// lay lays the flags that were given over what the directory is.
func (f *directoryFlags) lay(ctx context.Context, in *client.DirectoryInput) error {
	given := f.cmd.Flags().Changed
	if given("kind") {
		in.Kind = client.DirectoryKind(f.kind)
	}
	setGiven(f.cmd, map[string]laid[string]{
		"description": {f.in.Description, &in.Description}, "domain": {f.in.Domain, &in.Domain}, "base-dn": {f.in.BaseDn, &in.BaseDn},
		"bind-template": {f.in.BindTemplate, &in.BindTemplate}, "user-filter": {f.in.UserFilter, &in.UserFilter},
		"email-attribute": {f.in.EmailAttribute, &in.EmailAttribute}, "issuer": {f.in.Issuer, &in.Issuer},
		"client-id": {f.in.ClientId, &in.ClientId}, "timeout": {f.in.Timeout, &in.Timeout},
	})
	setGiven(f.cmd, map[string]laid[bool]{
		"start-tls": {f.in.StartTls, &in.StartTls}, "nested-groups": {f.in.NestedGroups, &in.NestedGroups},
		"trust-email": {f.in.TrustEmail, &in.TrustEmail}, "insecure-plain": {f.in.InsecurePlain, &in.InsecurePlain},
	})
	setGiven(f.cmd, map[string]laid[[]string]{"server": {&f.servers, &in.Urls}, "scope": {&f.scopes, &in.Scopes}})
	return errors.Join(f.layGroups(in), f.layClaims(in), f.layFiles(ctx, in))
}

// laid is a flag's value and where it belongs.
type laid[T any] struct {
	from *T
	to   **T
}

// setGiven sets what flags were given for.
func setGiven[T any](cmd *cobra.Command, all map[string]laid[T]) {
	for name, l := range all {
		if cmd.Flags().Changed(name) {
			*l.to = l.from
		}
	}
}

func (f *directoryFlags) layGroups(in *client.DirectoryInput) error {
	if !f.cmd.Flags().Changed("group") {
		return nil
	}
	mapping := make([]client.DirectoryGroup, 0, len(f.groups))
	for _, text := range f.groups {
		if text == "" {
			continue // takes all away
		}
		group, theirs, ok := strings.Cut(text, "=")
		if !ok || theirs == "" {
			return settings.Misused("--group %q is not of the form GROUP=DIRECTORY_GROUP", text)
		}
		mapping = append(mapping, client.DirectoryGroup{Group: group, DirectoryGroup: theirs})
	}
	in.Groups = &mapping
	return nil
}

func (f *directoryFlags) layClaims(in *client.DirectoryInput) error {
	claims := value(in.Claims)
	for _, text := range f.claimed {
		what, claim, _ := strings.Cut(text, "=")
		at := map[string]**string{"name": &claims.Name, "display_name": &claims.DisplayName, "email": &claims.Email, "groups": &claims.Groups}[what]
		if at == nil {
			return settings.Misused("--claim %q is of nothing that Muster asks for; take name, display_name, email or groups, then = and what the provider calls it", text)
		}
		*at = given(claim)
	}
	if claims != (client.DirectoryClaims{}) || in.Claims != nil {
		in.Claims = &claims
	}
	return nil
}

// layFiles reads the certificates and the secret.
func (f *directoryFlags) layFiles(ctx context.Context, in *client.DirectoryInput) error {
	if f.cmd.Flags().Changed("ca-file") {
		in.Ca = new(string)
		if f.caFile != "" {
			text, err := os.ReadFile(f.caFile)
			if err != nil {
				return err //nolint:wrapcheck // it says "open" and the name
			}
			*in.Ca = string(text)
		}
	}
	switch {
	case f.noSecret && f.secretFile != "":
		return settings.Misused("--remove-client-secret takes the secret away; it doesn't go with --client-secret-file")
	case f.noSecret:
		in.ClientSecret = new(string)
	case f.secretFile != "":
		secret, err := readSecret(ctx, f.cmd, f.secretFile, "client secret")
		if err != nil {
			return err
		}
		in.ClientSecret = &secret
	}
	return nil
}

func directoriesPutCommand() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use: "put NAME", Short: "Makes a directory or changes what flags are given for.",
		Long: `What isn't given by flags stays as it is. With -f a YAML file says all there is, as for muster apply, and flags go before it:

  kind: directory
  name: zylker
  type: active_directory     ldap, oidc
  domain: ZYLKER
  urls: ["ldaps://dc1.zylker.com"]
  base_dn: dc=zylker,dc=com
  ca_file: ca.pem            relative to the YAML file, as is client_secret_file
  groups:
    - {directory_group: "cn=Drivers,ou=Groups,dc=zylker,dc=com", group: drivers}

The directory itself isn't asked; muster directories test does that.

` + remoteHelp,
		Args: takes("a NAME for the directory"),
	}
	cmd.Flags().StringVarP(&file, "file", "f", "", "YAML file that describes the directory; - is the standard input")
	out, flags := withOutput(cmd), newDirectoryFlags(cmd)
	return withRemote(cmd, func(ctx context.Context, api *client.Client, args []string) error {
		in, params, err := directoryOver(ctx, api, args[0])
		if err != nil {
			return err
		}
		if file != "" {
			if in, err = directoryIn(file, args[0], cmd.InOrStdin()); err != nil {
				return err
			}
		}
		if err := flags.lay(ctx, &in); err != nil {
			return err
		}
		if in.Kind == "" {
			return settings.Misused("say what %q shall be: --kind active_directory, ldap or oidc", args[0])
		}
		d, err := ask[client.Directory](api.PutDirectory(ctx, args[0], params, in))
		if err != nil {
			return err
		}
		return out.show(d, func(w io.Writer) { showDirectory(w, d) })
	})
}

// directoryOver begins an edit with what the directory is, so that nobody else's edit is lost.
func directoryOver(ctx context.Context, api *client.Client, name string) (client.DirectoryInput, *client.PutDirectoryParams, error) {
	is, err := ask[client.Directory](api.GetDirectory(ctx, name))
	var refused *refusedError
	if errors.As(err, &refused) && refused.status == http.StatusNotFound {
		only := client.PutDirectoryParamsIfNoneMatchAsterisk
		return client.DirectoryInput{}, &client.PutDirectoryParams{IfNoneMatch: &only}, nil
	}
	return is.Input(), &client.PutDirectoryParams{IfMatch: etag(is.Version)}, err
}

// directoryIn reads the one document of a file.
func directoryIn(path, name string, stdin io.Reader) (client.DirectoryInput, error) {
	things, err := readFile(path, stdin)
	if err != nil {
		return client.DirectoryInput{}, err
	}
	if len(things) != 1 || things[0].kind != "directory" || things[0].name != name {
		return client.DirectoryInput{}, settings.Misused("%s must hold one document, of kind directory and name %s; muster apply takes several", path, name)
	}
	return things[0].directory()
}
