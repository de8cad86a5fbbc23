package cli_test

import (
	"context"
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/muster-mdm/muster/cmd/muster/cli"
	"github.com/muster-mdm/muster/devstack/directorytest"
	"github.com/muster-mdm/muster/devstack/stacktest"
)

func TestMain(m *testing.M) {
	testscript.Main(stacktest.Runner{M: directorytest.Runner{M: m}}, map[string]func(){
		"muster": func() {
			os.Exit(cli.Main(context.Background(), os.Args[1:], cli.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}))
		},
	})
}

// The scripts run muster as people do, in an empty folder of their own.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{Dir: "testdata/script", RequireExplicitExec: true, RequireUniqueNames: true})
}
