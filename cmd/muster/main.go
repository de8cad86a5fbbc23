// Command muster takes every Apple device of an organisation from "known to Apple Business Manager" to "Enrolled".
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/muster-mdm/muster/cmd/muster/cli"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := cli.Main(ctx, os.Args[1:], cli.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr})
	stop()
	os.Exit(code)
}
