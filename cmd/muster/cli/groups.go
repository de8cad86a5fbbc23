package cli

import (
	"context"
	"io"
	"net/http"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/muster-mdm/muster/api/client"
)

func groupsCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "groups", Short: "Lists, shows and deletes groups; muster apply makes and edits them.", Long: remoteHelp}
	cmd.AddCommand(groupsListCommand(), groupsShowCommand(), groupsDeleteCommand())
	return cmd
}

func groupsListCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "list", Short: "Lists groups."}
	out := withList(cmd)
	return withRemote(cmd, func(ctx context.Context, api *client.Client, _ []string) error {
		list, err := entire(func(cursor *string) (*http.Response, error) {
			return api.ListGroups(ctx, &client.ListGroupsParams{Cursor: cursor})
		}, func(p client.GroupList) ([]client.Group, *string) { return p.Groups, p.NextCursor })
		if err != nil {
			return err
		}
		return out.show(list, func(w io.Writer) {
			row(w, "NAME", "ITEMS", "DEVICE PROFILE", "UPDATED", "DESCRIPTION")
			for _, g := range list {
				row(w, g.Name, strconv.Itoa(len(g.Items)), orNone(value(g.DeviceProfile)), moment(&g.UpdatedAt), orNone(g.Description))
			}
		})
	})
}

func groupsShowCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "show NAME", Short: "Shows a group and what it brings.", Args: takes("the NAME of a group")}
	out := withOutput(cmd)
	return withRemote(cmd, func(ctx context.Context, api *client.Client, args []string) error {
		g, err := ask[client.Group](api.GetGroup(ctx, args[0]))
		if err != nil {
			return err
		}
		return out.show(g, func(w io.Writer) {
			line(w, "Group", g.Name)
			line(w, "Description", g.Description)
			line(w, "Device profile", value(g.DeviceProfile))
			for i, it := range g.Items {
				after := ""
				for _, d := range value(it.DependsOn) {
					after += " after " + d.Name
				}
				line(w, "  "+strconv.Itoa(i+1), string(it.Kind)+" "+it.Name+", "+string(value(it.Stage))+after)
			}
		})
	})
}

func groupsDeleteCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "delete NAME", Short: "Deletes a group that no device is in.", Args: takes("the NAME of a group")}
	return withDelete(cmd, "Group", func(ctx context.Context, api *client.Client, name string) (*http.Response, error) {
		return api.DeleteGroup(ctx, name, nil)
	})
}
