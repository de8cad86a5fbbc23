package browsertest

import (
	"context"
	_ "embed"
	"fmt"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// View is a screen, and how its owner set it up.
type View struct {
	Width, Height int64
	Dark          bool
	// Text is the size of normal text in pixels; 0 = 16.
	Text int64
	// Scripts are switched on.
	Scripts bool
}

// Tab is an open page.
type Tab struct {
	t        testing.TB
	ctx      context.Context
	text     int64
	requests chan string
}

// Open opens an empty tab.
func (b *Browser) Open(t testing.TB, v View) *Tab {
	t.Helper()
	ctx, closeTab := chromedp.NewContext(b.ctx)
	ctx, cancel := context.WithTimeout(ctx, pageLimit)
	t.Cleanup(func() {
		cancel()
		closeTab()
	})
	tab := &Tab{t: t, ctx: ctx, text: v.Text, requests: make(chan string, 1000)}
	scheme := "light"
	if v.Dark {
		scheme = "dark"
	}
	tab.must(chromedp.Do(ctx, chromedp.EmulateViewport(v.Width, v.Height, chromedp.EmulateScale(2), chromedp.EmulateMobile, chromedp.EmulateTouch)))
	call(tab, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}})
	call(tab, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: !v.Scripts})
	tab.note()
	return tab
}

// note keeps the address of every request that the page makes. Some browsers ask for an icon by themselves.
func (t *Tab) note() {
	events := chromedp.Events(t.ctx, network.RequestWillBeSent)
	go func() {
		for e, err := range events {
			if err != nil {
				return
			}
			if strings.HasSuffix(e.Request.URL, "/favicon.ico") {
				continue
			}
			select {
			case t.requests <- e.Request.URL:
			default:
			}
		}
	}()
}

// Requests are the addresses that were asked for since it was last called.
func (t *Tab) Requests() []string {
	var all []string
	for {
		select {
		case u := <-t.requests:
			all = append(all, u)
		default:
			return all
		}
	}
}

func (t *Tab) must(err error) {
	t.t.Helper()
	if err != nil {
		t.t.Fatalf("in the browser: %v", err)
	}
}

// Go opens an address; the request has these headers, those after it don't.
func (t *Tab) Go(url string, header map[string]string) {
	t.t.Helper()
	headers := network.Headers{}
	for name, value := range header {
		headers[name] = value
	}
	call(t, network.SetExtraHTTPHeaders, network.SetExtraHTTPHeadersParams{Headers: headers})
	t.must(chromedp.Do(t.ctx, chromedp.Navigate(url)))
	t.enlarge()
	call(t, network.SetExtraHTTPHeaders, network.SetExtraHTTPHeadersParams{Headers: network.Headers{}})
}

// Type types into the field with an id, in place of what it holds.
func (t *Tab) Type(id, text string) {
	t.t.Helper()
	evaluate[chromedp.Void](t, fmt.Sprintf(`document.getElementById(%q).value = ""`, id))
	t.must(chromedp.Do(t.ctx, chromedp.SendKeys(chromedp.ID(id), text)))
}

// Press clicks on what a CSS selector selects, and waits for the answer: its media type, and the page if it is one.
func (t *Tab) Press(selector string) (media string) {
	t.t.Helper()
	responses := chromedp.Events(t.ctx, network.ResponseReceived)
	loads := chromedp.Events(t.ctx, page.LoadEventFired)
	t.must(chromedp.Do(t.ctx, chromedp.Click(chromedp.CSS(selector))))
	for e, err := range responses {
		t.must(err)
		if e.Type == network.ResourceTypeDocument {
			media = e.Response.MimeType
			break
		}
	}
	if media != "text/html" {
		return media // it is kept as a file, and the page stays
	}
	for _, err := range loads {
		t.must(err)
		break
	}
	t.enlarge()
	return media
}

// enlarge gives the page the size of text that the view has, as Apple's systems do by the font that pages ask for. What has the
// focus stays in sight, as it does when the page comes that large.
func (t *Tab) enlarge() {
	t.t.Helper()
	if t.text != 0 {
		evaluate[chromedp.Void](t, fmt.Sprintf(`document.documentElement.style.fontSize = "%dpx"; document.activeElement.scrollIntoView({block: "nearest"})`, t.text))
	}
}

// Tabulate presses the tabulator key.
func (t *Tab) Tabulate() {
	t.t.Helper()
	t.must(chromedp.Do(t.ctx, chromedp.KeyEvent(kb.Tab)))
}

// Text is what the page shows.
func (t *Tab) Text() string {
	t.t.Helper()
	return evaluate[string](t, `document.body.innerText`)
}

// Screenshot is the whole page as PNG.
func (t *Tab) Screenshot() []byte {
	t.t.Helper()
	const lossless = 100
	png, err := chromedp.Run(t.ctx, chromedp.FullScreenshot(lossless))
	t.must(err)
	return png
}

// measures has functions that say what is wrong with a page.
//
//go:embed measures.js
var measures string

// Faults are what is wrong with the page as people see and touch it: each a sentence.
func (t *Tab) Faults() []string {
	t.t.Helper()
	return evaluate[[]string](t, measures+"\nfaults()")
}

// FocusFaults are what is wrong with how what has the keyboard's focus shows it.
func (t *Tab) FocusFaults() []string {
	t.t.Helper()
	return evaluate[[]string](t, measures+"\nfocusFaults()")
}
