package cli

import (
	"context"
	"net/http"

	"github.com/spf13/cobra"

	"github.com/muster-mdm/muster/api/client"
	"github.com/muster-mdm/muster/cmd/muster/settings"
)

// deviceVerb is something that is asked for one device, of which only its serial number is to be said.
type deviceVerb struct {
	name, short string
	request     func(ctx context.Context, api *client.Client, serial string) (*http.Response, error)
}

var deviceVerbs = []deviceVerb{
	{"cancel-release", "Takes a release back, while there is time.", func(ctx context.Context, api *client.Client, serial string) (*http.Response, error) {
		return api.CancelDeviceRelease(ctx, serial, nil)
	}},
	{"resume", "Ends a device's hold.", func(ctx context.Context, api *client.Client, serial string) (*http.Response, error) {
		return api.ResumeDevice(ctx, serial, nil)
	}},
	{"retry", "Has a device's failed items tried again now.", func(ctx context.Context, api *client.Client, serial string) (*http.Response, error) {
		return api.RetryDevice(ctx, serial, nil)
	}},
}

func (v deviceVerb) command() *cobra.Command {
	cmd := &cobra.Command{Use: v.name + " SERIAL", Short: v.short, Args: takes("a SERIAL number")}
	return withThing(cmd, showDevice, v.request)
}

func devicesHoldCommand() *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use: "hold SERIAL", Short: "Has a device sent nothing new until muster devices resume.", Args: takes("a SERIAL number"),
	}
	cmd.Flags().StringVar(&reason, "reason", "", "shown to everybody who asks what the device waits for: nothing personal")
	return withThing(cmd, showDevice, func(ctx context.Context, api *client.Client, serial string) (*http.Response, error) {
		if reason == "" {
			return nil, settings.Misused("say by --reason what the device waits for")
		}
		return api.HoldDevice(ctx, serial, nil, client.HoldInput{Reason: reason})
	})
}
