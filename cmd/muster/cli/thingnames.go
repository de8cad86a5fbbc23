package cli

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/muster-mdm/muster/api/client"
)

// names are the things that a thing can't be made without: a group's items, what those depend on, and its device profile; a
// directory's groups.
func (t thing) names() []thing {
	var list []thing
	switch t.kind {
	case "group":
		in, _ := as[client.GroupInput](t) // it was read before
		for _, it := range in.Items {
			list = append(list, thing{kind: string(it.Kind), name: it.Name})
			for _, dep := range value(it.DependsOn) {
				list = append(list, thing{kind: string(dep.Kind), name: dep.Name})
			}
		}
		if p := value(in.DeviceProfile); p != "" {
			list = append(list, thing{kind: "device_profile", name: p})
		}
	case "directory":
		in, _ := t.directory()
		for _, g := range value(in.Groups) {
			list = append(list, thing{kind: "group", name: g.Group})
		}
	}
	return list
}

// checkNames says which things are named and are neither in the files nor on the server, before anything is made: so a dry run finds
// it, too, and nothing is left half done.
func checkNames(ctx context.Context, api *client.Client, things []thing) error {
	there := map[string]bool{}
	for _, t := range things {
		there[t.String()] = true
	}
	var lost []error
	for _, t := range things {
		for _, n := range t.names() {
			if there[n.String()] {
				continue
			}
			there[n.String()] = true // said once
			_, _, err := n.current(ctx, api)
			var refused *refusedError
			switch {
			case errors.As(err, &refused) && refused.status == http.StatusNotFound:
				lost = append(lost, fmt.Errorf("%s: %s names %s, which is neither in the files nor in Muster", t.from, t, n))
			case err != nil:
				return fmt.Errorf("%s: %w", n, err)
			}
		}
	}
	return errors.Join(lost...)
}
