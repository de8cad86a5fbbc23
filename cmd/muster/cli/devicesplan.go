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
			cmd.PrintErrln("What is wanted was changed a moment ago; that is being worked in.")
		}
		return out.show(p.Items, func(w io.Writer) { tableOfItems(w, p.Items, out.wide()) })
	})
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
