package cli

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/muster-mdm/muster/api/client"
)

func abmDeviceCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "device SERIAL", Short: "Shows what Apple Business Manager says of a device.", Args: takes("a SERIAL number")}
	return withThing(cmd, showInABM, func(ctx context.Context, api *client.Client, name string) (*http.Response, error) {
		return api.GetDeviceAbm(ctx, name)
	})
}

func showInABM(w io.Writer, d client.DeviceAbm) {
	line(w, "Serial number", d.Serial)
	line(w, "Stands", orNone(string(value(d.AbmState))))
	line(w, "Server", value(d.Server))
	line(w, "Other server", value(d.OtherServer))
	line(w, "Should have", orNone(wanted(d.DeviceProfile)))
	line(w, "Provisional", provisional(d.Provisional))
	for _, s := range d.Servers {
		row(w, "")
		showListing(w, s)
	}
	if len(d.Duties) > 0 {
		row(w, "")
		row(w, "APPLE IS TO BE ASKED", "BY", "PROFILE", "TRIES", "NEXT", "LAST ANSWER")
		for _, t := range d.Duties {
			row(w, string(t.Verb), t.Server, orNone(value(t.Profile)), strconv.Itoa(t.Tries), moment(&t.DueAt), orNone(t.Result))
		}
	}
	if len(d.Requests) > 0 {
		row(w, "")
		row(w, "APPLE WAS ASKED", "PROFILE", "OUTCOME", "ANSWERED", "ANSWER")
		for _, r := range d.Requests {
			row(w, string(r.Verb), orNone(value(r.Profile)), orElse(string(value(r.Outcome)), "waits"), orNone(moment(r.AnsweredAt)), orNone(r.Result))
		}
	}
}

func showListing(w io.Writer, s client.AbmListing) {
	stands := "lists it"
	if !s.Listed {
		stands = "lists it no more, since " + moment(s.GoneAt)
	}
	line(w, "Server "+s.Server, stands)
	line(w, "  Model", s.Model)
	line(w, "  Description", s.Description)
	line(w, "  Color", s.Color)
	line(w, "  Asset tag", s.AssetTag)
	line(w, "  Family", s.Family)
	line(w, "  Assigned by", s.AssignedBy)
	line(w, "  Assigned", moment(s.AssignedAt))
	line(w, "  Profile", profileThere(s))
	line(w, "  Last change", lastChange(s))
	line(w, "  Seen", moment(&s.SeenAt))
	line(w, "  Came by", s.Source)
	line(w, "  Added", moment(s.AddedAt))
}

func profileThere(s client.AbmListing) string {
	switch {
	case s.Profile != nil:
		return fmt.Sprintf("%s, %s", *s.Profile, s.ProfileStatus)
	case s.ProfileUuid != "":
		return fmt.Sprintf("%s, none of Muster's, %s", s.ProfileUuid, s.ProfileStatus)
	}
	return s.ProfileStatus
}

func lastChange(s client.AbmListing) string {
	if s.OpType == "" {
		return ""
	}
	return s.OpType + " " + moment(s.OpDate)
}

func wanted(p *client.WantedProfile) string {
	switch {
	case p == nil:
		return ""
	case p.By == client.ByDevice:
		return p.Name + ", its own device profile"
	}
	return fmt.Sprintf("%s, by %s %s", p.Name, p.By, value(p.Of))
}

func provisional(p *client.Provisional) string {
	switch {
	case p == nil:
		return ""
	case p.Until == nil:
		return "its holder may take it out of the organisation for 30 days from its first enrollment"
	}
	return "its holder may take it out of the organisation until " + moment(p.Until)
}
