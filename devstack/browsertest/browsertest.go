// Package browsertest gives tests in any room a real browser: it opens pages as a device's screen would, and tells what is
// wrong with them, and what is read to people who don't see them.
//
// Each test starts a browser of its own, which keeps all it writes in a throw-away folder and ends with the test. A browser that is
// missing is installed, and what cannot be is a failure that says how to get it, never a skip.
package browsertest

import (
	"context"
	_ "embed"
	"maps"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/muster-mdm/muster/devstack"
)

// The script is a file of its own because continuous integration runs it, too.
//
//go:embed install_browser.sh
var installScript string

var need = devstack.Need{
	Programs: []string{"chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "Google Chrome", "Chromium"}, Any: true,
	What: "a browser", Script: installScript, ScriptFile: "devstack/browsertest/install_browser.sh",
}

const (
	// startLimit bounds installing and starting a browser.
	startLimit = 10 * time.Minute
	// pageLimit bounds all that a test does in one tab.
	pageLimit = 2 * time.Minute
)

// Browser is a running browser of one test.
type Browser struct {
	t   testing.TB
	ctx context.Context
}

// Start starts a browser, which trusts every certificate.
func Start(t testing.TB) *Browser {
	t.Helper()
	finding, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	found, err := devstack.FindPrograms(finding, need, func(sentence string) { t.Log(sentence) })
	if err != nil {
		t.Fatalf("starting a browser for the test: %v", err)
	}
	program := slices.Collect(maps.Values(found))[0]
	options := append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]), chromedp.ExecPath(program), chromedp.IgnoreCertErrors, chromedp.UserDataDir(t.TempDir()))
	if os.Geteuid() == 0 {
		options = append(options, chromedp.NoSandbox) // root can't have one
	}
	allocated, stop := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, closeBrowser := chromedp.NewContext(allocated)
	t.Cleanup(func() {
		closeBrowser()
		stop()
	})
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("starting the browser %s for the test: %v", program, err)
	}
	return &Browser{t, ctx}
}
