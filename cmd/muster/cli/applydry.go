package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/muster-mdm/muster/api/client"
)

// dryRun has Muster try things that nobody wants to make yet.
type dryRun struct {
	// made are the things that would be made, in the form of the API's assume, by their names for people.
	made map[string]string
	// failed are the things that would be refused; refused says why.
	failed  map[string]bool
	refused []error
	// mayNot: the token isn't one that things may be made with, so Muster said nothing of them.
	mayNot bool
}

func newDryRun() *dryRun { return &dryRun{made: map[string]string{}, failed: map[string]bool{}} }

// try has Muster refuse a thing as it would. Of one that names a refused thing nothing is known before that is mended.
func (d *dryRun) try(ctx context.Context, api *client.Client, t thing, version int64) error {
	how := putting{version: version, dry: true}
	for _, n := range t.names() {
		if d.failed[n.String()] {
			d.failed[t.String()] = true
			d.refused = append(d.refused, fmt.Errorf("%s: not tried, because it names %s", t, n))
			return nil
		}
		if made, ok := d.made[n.String()]; ok {
			how.assume = append(how.assume, made)
		}
	}
	how.assume = append(how.assume, d.rivals(t)...)
	is, err := t.put(ctx, api, how)
	var refused *refusedError
	switch {
	case errors.As(err, &refused) && refused.status == http.StatusForbidden:
		d.mayNot = true // whoever may only look can still see the differences
		return nil
	case errors.As(err, &refused):
		d.failed[t.String()] = true
		d.refused = append(d.refused, fmt.Errorf("%s: %w", t, err))
		return nil
	case err != nil:
		return err
	}
	if version == 0 {
		d.made[t.String()], err = assumedAs(t, is)
	}
	return err
}

// rivals are the things that would be made and that may leave no room for another one: groups of the same name in other letter
// case, and directories, which may have its domain.
func (d *dryRun) rivals(t thing) []string {
	var list []string
	for _, name := range sortedKeys(d.made) {
		if t.kind == "group" && strings.EqualFold(name, t.String()) || t.kind == "directory" && strings.HasPrefix(name, "directory ") {
			list = append(list, d.made[name])
		}
	}
	return list
}

// assumedAs names a thing that would be made, with the identifier that Muster says it has on devices, or its domain.
func assumedAs(t thing, answer []byte) (string, error) {
	var is struct {
		Identifier string `json:"identifier"`
		BundleID   string `json:"bundle_id"`
		Kind       string `json:"kind"`
		Domain     string `json:"domain"`
	}
	if err := json.Unmarshal(answer, &is); err != nil {
		return "", fmt.Errorf("reading what %s would be: %w", t, err)
	}
	if is.Kind == string(client.OpenIDConnect) {
		is.Domain = "" // which other directories may have, too
	}
	name := t.kind + "/" + t.name
	if id := is.Identifier + is.BundleID + is.Domain; id != "" {
		name += "/" + id
	}
	return name, nil
}
