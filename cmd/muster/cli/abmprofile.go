package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/muster-mdm/muster/api/client"
)

func abmProfilesCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "profiles", Short: "Lists the device profiles."}
	out := withOutput(cmd)
	return withRemote(cmd, func(ctx context.Context, api *client.Client, _ []string) error {
		list, err := entire(func(cursor *string) (*http.Response, error) {
			return api.ListDeviceProfiles(ctx, &client.ListDeviceProfilesParams{Cursor: cursor})
		}, func(p client.DeviceProfileList) ([]client.DeviceProfile, *string) {
			return p.DeviceProfiles, p.NextCursor
		})
		if err != nil {
			return err
		}
		return out.show(list, func(w io.Writer) {
			row(w, "NAME", "ACTIVATION", "CONTENT", "CHANGED", "DESCRIPTION")
			for _, p := range list {
				row(w, p.Name, string(p.ActivationMode), strconv.Itoa(p.Content), moment(&p.UpdatedAt), orNone(p.Description))
			}
		})
	})
}

func abmProfileCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "profile", Short: "Shows and edits a device profile: what Apple tells a device that is switched on."}
	cmd.AddCommand(abmProfileShowCommand(), abmProfilePutCommand(), abmProfileDeleteCommand())
	return cmd
}

func abmProfileShowCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "show NAME", Short: "Shows a device profile.", Args: takes("the NAME of a device profile")}
	return withThing(cmd, showProfile, func(ctx context.Context, api *client.Client, name string) (*http.Response, error) {
		return api.GetDeviceProfile(ctx, name)
	})
}

func abmProfilePutCommand() *cobra.Command {
	var description, mode string
	cmd := &cobra.Command{
		Use: "put NAME FILE", Short: "Makes a device profile or gives it new content: Apple's fields, as JSON.",
		Long: `FILE holds Apple's fields by Apple's names as a JSON object, such as

  {"is_supervised": true, "await_device_configured": true, "skip_setup_items": ["AppleID", "Siri"]}

and may be "-" for the standard input. What isn't given by flags stays as it is.`,
		Args: takes("the NAME of a device profile", "a FILE"),
	}
	cmd.Flags().StringVar(&description, "description", "", "what the profile is for")
	cmd.Flags().StringVar(&mode, "activation-mode", "", "by_admin (nobody is asked) or by_user (somebody signs in)")
	out := withOutput(cmd)
	return withRemote(cmd, func(ctx context.Context, api *client.Client, args []string) error {
		in, params, err := profileOver(ctx, api, args[0])
		if err != nil {
			return err
		}
		if cmd.Flags().Changed("description") {
			in.Description = &description
		}
		if cmd.Flags().Changed("activation-mode") {
			chosen := client.ActivationMode(mode)
			in.ActivationMode = &chosen
		}
		if in.Fields, err = fieldsIn(args[1], cmd.InOrStdin()); err != nil {
			return err
		}
		p, err := ask[client.DeviceProfile](api.PutDeviceProfile(ctx, args[0], params, in))
		if err != nil {
			return err
		}
		return out.show(p, func(w io.Writer) { showProfile(w, p) })
	})
}

// profileOver begins an edit with what the profile is, so that nobody else's edit is lost.
func profileOver(ctx context.Context, api *client.Client, name string) (client.DeviceProfileInput, *client.PutDeviceProfileParams, error) {
	is, err := ask[client.DeviceProfile](api.GetDeviceProfile(ctx, name))
	var refused *refusedError
	if errors.As(err, &refused) && refused.status == http.StatusNotFound {
		only := client.PutDeviceProfileParamsIfNoneMatchAsterisk
		return client.DeviceProfileInput{}, &client.PutDeviceProfileParams{IfNoneMatch: &only}, nil
	}
	in := client.DeviceProfileInput{Description: &is.Description, ActivationMode: &is.ActivationMode}
	return in, &client.PutDeviceProfileParams{IfMatch: etag(is.Version)}, err
}

func fieldsIn(path string, stdin io.Reader) (map[string]any, error) {
	file, err := open(path, stdin)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	var fields map[string]any
	if err := json.NewDecoder(file).Decode(&fields); err != nil || fields == nil {
		return nil, fmt.Errorf("%s is not a JSON object with Apple's fields of a device profile", path)
	}
	return fields, nil
}

func abmProfileDeleteCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "delete NAME", Short: "Deletes a device profile that nothing has.", Args: takes("the NAME of a device profile")}
	return withDelete(cmd, "Device profile", func(ctx context.Context, api *client.Client, name string) (*http.Response, error) {
		return api.DeleteDeviceProfile(ctx, name, nil)
	})
}

func showProfile(w io.Writer, p client.DeviceProfile) {
	line(w, "Name", p.Name)
	line(w, "Description", p.Description)
	line(w, "Activation", string(p.ActivationMode))
	line(w, "Content", strconv.Itoa(p.Content))
	line(w, "Changed", moment(&p.UpdatedAt))
	text, err := json.MarshalIndent(p.Fields, "", "  ")
	if err == nil {
		_, _ = fmt.Fprintf(w, "\n%s\n", text)
	}
}
