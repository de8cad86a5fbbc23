package browsertest_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/devstack/browsertest"
)

var phone = browsertest.View{Width: 320, Height: 568}

func serve(t *testing.T, body string) string {
	t.Helper()
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/file":
			w.Header().Set("Content-Type", "application/x-apple-aspen-config")
			return
		case "/picture.png":
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = fmt.Fprint(w, "<!doctype html>", body, "<p>Asked by ", r.Header.Get("X-Test"), r.FormValue("name"), "</p>")
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// Whatever is measured is found where it is wrong, else a page without faults would say nothing.
func TestFaultsAreFound(t *testing.T) {
	tab := browsertest.Start(t).Open(t, phone)
	tab.Go(serve(t, `<html><head><meta name="viewport" content="width=device-width, user-scalable=no"><style>
p { color: #999; } .wide { width: 600px; white-space: nowrap; } .small { font-size: 9px; color: #000; }
input { font-size: 12px; border: 1px solid #eee; color: #ccc; } input:focus { outline: none; }
</style></head><body><p>pale</p><p class="wide">a text that is far too long for a phone, so that it must be moved to be read, and nobody does</p>
<p class="small">tiny</p><input id="a" aria-describedby="nowhere"><button id="a">x</button></body></html>`), nil)
	found := fmt.Sprint(tab.Faults())
	for _, fault := range []string{
		"the page is ", "doesn't say its language", "has not one heading", "can't be enlarged", "two elements have one id", "described by nowhere",
		"the text of p has the contrast 2.8", "the text of p.wide runs out of the screen", "the text of p.small is 9px", "input#a is ", "button#a is ",
		"input#a has no label", "makes an iPhone zoom", "the edge of input#a has the contrast 1.1", "what is typed into input#a has the contrast 1.6",
	} {
		require.Contains(t, found, fault)
	}
	require.Equal(t, []string{"nothing has the focus"}, tab.FocusFaults())
	tab.Tabulate()
	require.Contains(t, fmt.Sprint(tab.FocusFaults()), "the focus on input#a doesn't show")
}

const decent = `<html lang="en"><head><meta name="viewport" content="width=device-width, initial-scale=1"><title>x</title><style>
:root { color-scheme: light dark; } html { font: 100% sans-serif; }
body { background: #fff; color: #000; } @media (prefers-color-scheme: dark) { body { background: #000; color: #fff; } }
input, button { min-height: 3rem; font: inherit; border: 1px solid #888; background: inherit; color: inherit; }
:focus-visible { outline: 3px solid #06c; }
</style></head><body><h1>A page</h1><p role="alert">Careful</p>
<form method="post"><label for="name">Name</label><input id="name" name="name" aria-required="true" aria-invalid="true" aria-describedby="why"><p id="why">Because</p><button>Go on</button></form>
<a id="file" href="/file" style="display:block;min-height:3rem;color:inherit">File</a>
<script>document.write("scripts are on")</script></body></html>`

func TestDecentPageHasNoFaults(t *testing.T) {
	b := browsertest.Start(t)
	url := serve(t, decent)
	for _, view := range []browsertest.View{phone, {Width: 320, Height: 568, Dark: true}, {Width: 820, Height: 1180, Text: 32, Scripts: true}} {
		tab := b.Open(t, view)
		tab.Go(url, map[string]string{"X-Test": "a test"})
		require.Empty(t, tab.Faults(), "%+v", view)
		require.Contains(t, tab.Text(), "Asked by a test")
		require.Equal(t, view.Scripts, strings.Contains(tab.Text(), "scripts are on"))
		tab.Tabulate()
		require.Empty(t, tab.FocusFaults(), "%+v", view)
		read := tab.Read()
		require.Contains(t, read, browsertest.Element{Role: "heading", Name: "A page"})
		require.Contains(t, read, browsertest.Element{Role: "textbox", Name: "Name", Description: "Because", Invalid: true, Focused: true, Required: true})
		require.Contains(t, fmt.Sprint(read), "{alert ")

		tab.Type("name", "Ada")
		require.Equal(t, "text/html", tab.Press("button"))
		require.Contains(t, tab.Text(), "Asked by Ada", "and the header went with the first request only")
		require.Equal(t, "application/x-apple-aspen-config", tab.Press("#file"))
		require.Equal(t, []string{url + "/", url + "/", url + "/file"}, tab.Requests())
		require.Equal(t, "\x89PNG", string(tab.Screenshot()[:4]))
	}
}
