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

The other fields are those of the API. What no file speaks of stays as it is; nothing is deleted. Muster tries all of it without
keeping anything first: when one thing would be refused, nothing is changed, and the exit code is 1. With --dry-run that is all, and
the differences are printed; the exit code is 2 when there are any.

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
		if dry {
			return (&application{api: api, dry: newDryRun(), say: cmd.Printf, warn: cmd.PrintErrln}).run(ctx, things)
		}
		if err := tryFirst(ctx, api, things); err != nil {
			return err
		}
		return (&application{api: api, say: cmd.Printf, warn: cmd.PrintErrln}).run(ctx, things)
	})
}

// tryFirst fails with all that Muster would refuse, so that one thing isn't made while another that belongs to it can't be.
func tryFirst(ctx context.Context, api *client.Client, things []thing) error {
	tried := &application{api: api, dry: newDryRun(), say: func(string, ...any) {}, warn: func(...any) {}}
	err := tried.run(ctx, things)
	switch {
	case len(tried.dry.refused) > 0:
		return errors.Join(err, errors.New("nothing was changed"))
	case errors.Is(err, differs{}):
		return nil
	}
	return err
}

// application is a run of muster apply.
type application struct {
	api *client.Client
	dry *dryRun // nil = it is meant
	// say prints what is or would be done, warn what else there is to know.
	say  func(format string, args ...any)
	warn func(args ...any)
}

func (a *application) run(ctx context.Context, things []thing) error {
	changes := 0
	for _, t := range things {
		changed, err := a.apply(ctx, t)
		if err != nil {
			return fmt.Errorf("%s: %w", t, err)
		}
		if changed {
			changes++
		}
	}
	if a.dry != nil && a.dry.mayNot {
		a.warn("The token may not make or edit things, so Muster was not asked whether it would take them.")
	}
	switch {
	case a.dry != nil && len(a.dry.refused) > 0:
		return errors.Join(a.dry.refused...)
	case a.dry != nil && changes > 0:
		return differs{}
	case changes == 0:
		a.say("Everything is as the files say.\n")
	}
	return nil
}

// differs is a dry run that found differences, which it printed.
type differs struct{}

func (differs) Error() string { return "there are differences" }

// AlreadySaid returns the exit code.
func (differs) AlreadySaid() int { return 2 }

// apply makes or edits a thing, or says how and has Muster try it.
func (a *application) apply(ctx context.Context, t thing) (changed bool, err error) {
	is, version, err := t.current(ctx, a.api)
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
		return false, a.secretAgain(ctx, t, version)
	}
	if a.dry != nil {
		verb := "edit"
		if missing {
			verb, is = "make", ""
		}
		a.say("%s %s\n%s", verb, t, difference(is, wanted))
		return true, a.dry.try(ctx, a.api, t, version)
	}
	if _, err := t.put(ctx, a.api, putting{version: version}); err != nil {
		return false, err
	}
	if missing {
		a.say("%s was made.\n", t)
	} else {
		a.say("%s was edited.\n", t)
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
