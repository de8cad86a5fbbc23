package cli

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/spf13/cobra"

	"github.com/muster-mdm/muster/api/client"
	"github.com/muster-mdm/muster/cmd/muster/settings"
)

const applyHelp = `Reads every .yaml and .yml file of a folder, in one pass whatever their order. A YAML document is one thing:

  kind: configuration        a profile; "file" is relative to the YAML file
  name: wifi
  file: wifi.mobileconfig
  ---
  kind: app                  with bundle_id, and store_id or manifest_url
  ---
  kind: document             a PDF, EPUB or iBooks "file", or a media_url; with title and author
  name: handbook
  file: handbook.pdf
  ---
  kind: device_profile       with activation_mode and fields
  ---
  kind: group
  name: drivers
  items:
    - {kind: configuration, name: wifi, stage: before_release}
  ---
  kind: directory            "type" is the API's kind; secrets are in files: client_secret_file, and ca_file if you like
  name: zylker
  type: ldap

The other fields are those of the API. What no file speaks of stays as it is; nothing is deleted. With --dry-run the
differences are printed, and the exit code is 2 when there are any.

` + remoteHelp

func applyCommand() *cobra.Command {
	var paths []string
	var dry bool
	cmd := &cobra.Command{
		Use: "apply", Short: "Makes and edits groups, what they bring, and directories as YAML files say.",
		Long: applyHelp,
	}
	cmd.Flags().StringSliceVarP(&paths, "file", "f", nil, "folder or file to read; - is the standard input")
	cmd.Flags().BoolVar(&dry, "dry-run", false, "print the differences and change nothing")
	return withRemote(cmd, func(ctx context.Context, api *client.Client, _ []string) error {
		if len(paths) == 0 {
			return settings.Misused("say what to apply: -f FOLDER")
		}
		things, err := typed(ctx, func() ([]thing, error) { return readThings(paths, cmd.InOrStdin()) })
		if err != nil {
			return err
		}
		if err := checkNames(ctx, api, things); err != nil {
			return err
		}
		changes := 0
		for _, t := range things {
			changed, err := applyThing(ctx, cmd, api, t, dry)
			if err != nil {
				return fmt.Errorf("%s: %w", t, err)
			}
			if changed {
				changes++
			}
		}
		switch {
		case dry && changes > 0:
			return differs{}
		case changes == 0:
			cmd.Println("Everything is as the files say.")
		}
		return nil
	})
}

// differs is a dry run that found differences, which it printed.
type differs struct{}

func (differs) Error() string { return "there are differences" }

// AlreadySaid returns the exit code.
func (differs) AlreadySaid() int { return 2 }

// applyThing makes or edits a thing, or says how.
func applyThing(ctx context.Context, cmd *cobra.Command, api *client.Client, t thing, dry bool) (changed bool, err error) {
	is, version, err := t.current(ctx, api)
	var refused *refusedError
	missing := errors.As(err, &refused) && refused.status == http.StatusNotFound
	if err != nil && !missing {
		return false, err
	}
	wanted, err := t.text()
	if err != nil {
		return false, err
	}
	if !missing && is == wanted {
		return false, t.secretAgain(ctx, cmd, api, applied{dry, version})
	}
	if dry {
		verb := "edit"
		if missing {
			verb, is = "make", ""
		}
		cmd.Printf("%s %s\n%s", verb, t, difference(is, wanted))
		return true, nil
	}
	if err := t.put(ctx, api, version); err != nil {
		return false, err
	}
	if missing {
		cmd.Printf("%s was made.\n", t)
	} else {
		cmd.Printf("%s was edited.\n", t)
	}
	return true, nil
}

// difference lists the lines that go and come, with those that stay between them.
func difference(is, wanted string) string {
	a, b := linesOf(is), linesOf(wanted)
	// common[i][j] is how many lines a[i:] and b[j:] share in their order.
	common := make([][]int, len(a)+1)
	for i := range common {
		common[i] = make([]int, len(b)+1)
	}
	for i := len(a) - 1; i >= 0; i-- {
		for j := len(b) - 1; j >= 0; j-- {
			if a[i] == b[j] {
				common[i][j] = common[i+1][j+1] + 1
			} else {
				common[i][j] = max(common[i+1][j], common[i][j+1])
			}
		}
	}
	var out strings.Builder
	for i, j := 0, 0; i < len(a) || j < len(b); {
		switch {
		case i < len(a) && j < len(b) && a[i] == b[j]:
			out.WriteString("    " + a[i] + "\n")
			i, j = i+1, j+1
		case i < len(a) && (j == len(b) || common[i+1][j] >= common[i][j+1]):
			out.WriteString("  - " + a[i] + "\n")
			i++
		default:
			out.WriteString("  + " + b[j] + "\n")
			j++
		}
	}
	return out.String()
}

func linesOf(text string) []string {
	if text == "" {
		return nil
	}
	return strings.Split(strings.TrimSuffix(text, "\n"), "\n")
}
