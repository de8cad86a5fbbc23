package cli

import (
	"context"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/muster-mdm/muster/api/client"
)

func devicesPlanCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "plan SERIAL", Short: "Lists what belongs on a device, how far each item is, and which groups bring it.", Args: takes("a SERIAL number"),
	}
	out := withList(cmd)
	return withRemote(cmd, func(ctx context.Context, api *client.Client, args []string) error {
		p, err := ask[client.Plan](api.GetDevicePlan(ctx, args[0]))
		if err != nil {
			return err
		}
		if !p.Current {
			d, err := ask[client.Device](api.GetDevice(ctx, args[0]))
			if err != nil {
				return err
			}
			cmd.PrintErrln(whyOld(d))
		}
		return out.show(p.Items, func(w io.Writer) { tableOfItems(w, p.Items, out.wide()) })
	})
}

// whyOld says of a plan that isn't of what is wanted why it isn't.
func whyOld(d client.Device) string {
	switch {
	case d.Status == client.StatusWithdrawn || d.Status == client.StatusReleased:
		return "Nothing is planned for a device that is " + string(d.Status) + "."
	case d.Management == client.Staged:
		return "The device isn't enrolled yet: what its groups bring is planned when it is."
	case d.Management == client.Unmanaged:
		return "The device isn't managed now: it is " + string(d.Status) + ". What is listed belongs to its last enrollment."
	case d.Status == client.StatusAwaiting:
		return "Nobody is assigned to the device: what groups bring is planned when somebody is."
	case d.BlockedBy != nil:
		return "What is wanted was changed; that is worked in when the device isn't blocked any more (" + string(*d.BlockedBy) + ")."
	}
	return "What is wanted was changed a moment ago; that is being worked in."
}

func tableOfItems(w io.Writer, items []client.PlanItem, wide bool) {
	header := []string{"ITEM", "STAGE", "STATE", "GROUPS", "DETAIL"}
	if wide {
		header = append(header, "IDENTIFIER", "VERSION", "ATTEMPT", "UPDATED", "TRIED AGAIN")
	}
	row(w, header...)
	for _, i := range items {
		cells := []string{i.Kind + " " + i.Name, string(i.Stage), string(i.State), orNone(strings.Join(i.Groups, "/")), orNone(i.Detail)}
		if wide {
			cells = append(cells, orNone(i.Identifier), number(int64(i.Version)), number(int64(i.Attempt)), moment(&i.UpdatedAt), orNone(moment(i.RetryAt)))
		}
		row(w, cells...)
	}
}
