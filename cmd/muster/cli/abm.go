package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/muster-mdm/muster/api/client"
)

func abmCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "abm", Short: "Links Apple Business Manager servers and says what they say.",
		Long: "docs/abm.md leads through linking a server.\n\n" + remoteHelp,
	}
	cmd.AddCommand(
		abmServersCommand(), abmShowCommand(), abmAddCommand(), abmEditCommand(), abmDeleteCommand(),
		abmCertificateCommand(), abmRenewKeysCommand(), abmLinkCommand(), abmBusinessCommand(), abmSyncCommand(),
		abmPauseCommand(), abmResumeCommand(), abmProfilesCommand(), abmProfileCommand(), abmDeviceCommand(),
	)
	return cmd
}

func abmServersCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "servers", Short: "Lists the servers."}
	out := withOutput(cmd)
	return withRemote(cmd, func(ctx context.Context, api *client.Client, _ []string) error {
		list, err := entire(func(cursor *string) (*http.Response, error) {
			return api.ListAbmServers(ctx, &client.ListAbmServersParams{Cursor: cursor})
		}, func(p client.AbmServerList) ([]client.AbmServer, *string) { return p.Servers, p.NextCursor })
		if err != nil {
			return err
		}
		return out.show(list, func(w io.Writer) {
			row(w, "NAME", "HEALTH", "DEVICES", "WAITING", "LAST SYNC", "TOKEN UNTIL", "ORGANISATION")
			for _, s := range list {
				row(w, s.Name, serverHealth(s), strconv.Itoa(s.Devices), strconv.Itoa(s.Waiting), orNone(moment(lastSync(s))), orNone(tokenUntil(s)), orNone(organisation(s)))
			}
		})
	})
}

func abmShowCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "show NAME", Short: "Shows a server: its account, its last sync, whether it works.", Args: takes("the NAME of a server")}
	return withThing(cmd, showServer, func(ctx context.Context, api *client.Client, name string) (*http.Response, error) {
		return api.GetAbmServer(ctx, name)
	})
}

// serverFlags are what people decide about a server; those not given stay as they are.
type serverFlags struct {
	cmd *cobra.Command
	in  client.AbmServerInput
}

func newServerFlags(cmd *cobra.Command) *serverFlags {
	f := &serverFlags{cmd: cmd, in: client.AbmServerInput{
		Description: new(string), DefaultProfile: new(string), SyncEvery: new(string), FullEvery: new(string), AutoAssignUsers: new(bool),
		SignInConflict: new(client.SignInConflict), SignInHold: new(string), SignInHoldChoice: new(client.SignInHoldChoice),
	}}
	flags := cmd.Flags()
	flags.StringVar(f.in.Description, "description", "", "what the server is for")
	flags.StringVar(f.in.DefaultProfile, "default-profile", "", "device profile of devices that have none of their own nor by a group")
	flags.StringVar(f.in.SyncEvery, "sync-every", "", "how often what changed is asked for, such as 5m")
	flags.StringVar(f.in.FullEvery, "full-every", "", "how often all devices are listed anew, such as 24h")
	flags.BoolVar(f.in.AutoAssignUsers, "auto-assign-users", false, "whoever signs in on a device during setup is its user")
	flags.StringVar((*string)(f.in.SignInConflict), "sign-in-conflict", "", "when it is reserved for somebody else: hold_for_review, keep_reserved or take_signed_in")
	flags.StringVar(f.in.SignInHold, "sign-in-hold", "", "how long a technician has to decide, such as 8h")
	flags.StringVar((*string)(f.in.SignInHoldChoice), "sign-in-hold-choice", "", "what is decided then: keep_reserved or take_signed_in")
	return f
}

// over lays the flags that were given over what the server is; nil is a new one.
func (f *serverFlags) over(is *client.AbmServer) client.AbmServerInput {
	in := client.AbmServerInput{}
	if is != nil {
		in = client.AbmServerInput{
			Description: &is.Description, DefaultProfile: is.DefaultProfile, SyncEvery: &is.SyncEvery, FullEvery: &is.FullEvery,
			AutoAssignUsers: &is.AutoAssignUsers, SignInConflict: &is.SignInConflict, SignInHold: &is.SignInHold, SignInHoldChoice: &is.SignInHoldChoice,
		}
	}
	setGiven(f.cmd, map[string]laid[string]{
		"description": {f.in.Description, &in.Description}, "default-profile": {f.in.DefaultProfile, &in.DefaultProfile},
		"sync-every": {f.in.SyncEvery, &in.SyncEvery}, "full-every": {f.in.FullEvery, &in.FullEvery}, "sign-in-hold": {f.in.SignInHold, &in.SignInHold},
	})
	setGiven(f.cmd, map[string]laid[bool]{"auto-assign-users": {f.in.AutoAssignUsers, &in.AutoAssignUsers}})
	setGiven(f.cmd, map[string]laid[client.SignInConflict]{"sign-in-conflict": {f.in.SignInConflict, &in.SignInConflict}})
	setGiven(f.cmd, map[string]laid[client.SignInHoldChoice]{"sign-in-hold-choice": {f.in.SignInHoldChoice, &in.SignInHoldChoice}})
	return in
}

func abmAddCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "add NAME", Short: "Makes a server, to be linked next.", Args: takes("a NAME for the server")}
	out, flags := withOutput(cmd), newServerFlags(cmd)
	return withRemote(cmd, func(ctx context.Context, api *client.Client, args []string) error {
		only := client.PutAbmServerParamsIfNoneMatchAsterisk
		s, err := ask[client.AbmServer](api.PutAbmServer(ctx, args[0], &client.PutAbmServerParams{IfNoneMatch: &only}, flags.over(nil)))
		var refused *refusedError
		if errors.As(err, &refused) && refused.status == http.StatusPreconditionFailed {
			return fmt.Errorf("there is a server %q already; change it with muster abm edit", args[0])
		}
		if err != nil {
			return err
		}
		return out.show(s, func(w io.Writer) {
			row(w, fmt.Sprintf("Server %q was made. To link it:", s.Name))
			row(w, "  1. muster abm certificate "+s.Name+" -o "+s.Name+".pem")
			row(w, "  2. Upload "+s.Name+".pem in Apple Business Manager to a device management service, and download its server token.")
			row(w, "  3. muster abm link "+s.Name+" FILE.p7m")
		})
	})
}

func abmEditCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "edit NAME", Short: "Changes what flags are given for.", Args: takes("the NAME of a server")}
	out, flags := withOutput(cmd), newServerFlags(cmd)
	return withRemote(cmd, func(ctx context.Context, api *client.Client, args []string) error {
		is, err := ask[client.AbmServer](api.GetAbmServer(ctx, args[0]))
		if err != nil {
			return err
		}
		s, err := ask[client.AbmServer](api.PutAbmServer(ctx, args[0], &client.PutAbmServerParams{IfMatch: etag(is.Version)}, flags.over(&is)))
		if err != nil {
			return err
		}
		return out.show(s, func(w io.Writer) { showServer(w, s) })
	})
}

func abmDeleteCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "delete NAME", Short: "Deletes a server that lists no devices.", Args: takes("the NAME of a server")}
	return withDelete(cmd, "Server", func(ctx context.Context, api *client.Client, name string) (*http.Response, error) {
		return api.DeleteAbmServer(ctx, name, nil)
	})
}

func abmCertificateCommand() *cobra.Command {
	var file string
	cmd := &cobra.Command{Use: "certificate NAME", Short: "Downloads the certificate that is uploaded at Apple.", Args: takes("the NAME of a server")}
	cmd.Flags().StringVarP(&file, "output", "o", "-", "file to write; - is the standard output")
	return withRemote(cmd, func(ctx context.Context, api *client.Client, args []string) error {
		text, err := answer(api.GetAbmServerCertificate(ctx, args[0]))
		if err != nil {
			return err
		}
		if file == "-" {
			_, err = cmd.OutOrStdout().Write(text)
		} else {
			err = os.WriteFile(file, text, 0o644) //nolint:gosec // it is public
		}
		if err != nil {
			return fmt.Errorf("writing the certificate: %w", err)
		}
		return nil
	})
}

func abmRenewKeysCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "renew-keys NAME", Short: "Makes a server's key pair anew; its certificate must be uploaded at Apple again.",
		Args: takes("the NAME of a server"),
	}
	return withServer(cmd, func(ctx context.Context, api *client.Client, name string) (*http.Response, error) {
		return api.RenewAbmServerKeys(ctx, name, nil)
	})
}

func abmPauseCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "pause NAME", Short: "Stops the syncs of a server.", Args: takes("the NAME of a server")}
	return withServer(cmd, func(ctx context.Context, api *client.Client, name string) (*http.Response, error) {
		return api.PauseAbmServer(ctx, name, nil)
	})
}

func abmResumeCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "resume NAME", Short: "Goes on with the syncs of a server.", Args: takes("the NAME of a server")}
	return withServer(cmd, func(ctx context.Context, api *client.Client, name string) (*http.Response, error) {
		return api.ResumeAbmServer(ctx, name, nil)
	})
}

// withServer is [withThing] for a command that changes a server.
func withServer(cmd *cobra.Command, change func(ctx context.Context, api *client.Client, name string) (*http.Response, error)) *cobra.Command {
	return withThing(cmd, showServer, change)
}

// etag is the ETag of a version.
func etag(version int64) *string {
	tag := strconv.Quote(strconv.FormatInt(version, 10))
	return &tag
}
