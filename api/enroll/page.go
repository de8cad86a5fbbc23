package enroll

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"strings"

	"github.com/muster-mdm/muster/api/intake"
	"github.com/muster-mdm/muster/apple/identity"
	"github.com/muster-mdm/muster/directory"
	"github.com/muster-mdm/muster/store"
)

//go:embed pages
var pages embed.FS

var (
	signInTemplate = template.Must(template.ParseFS(pages, "pages/layout.html", "pages/signin.html"))
	stopTemplate   = template.Must(template.ParseFS(pages, "pages/layout.html", "pages/stop.html"))
	style          = readStyle()
	pagePolicy     = "default-src 'none'; style-src 'sha256-" + hashed(style) + "'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)

func readStyle() string {
	css, err := pages.ReadFile("pages/style.css")
	if err != nil {
		panic(err) // it is in the binary
	}
	return string(css)
}

func hashed(text string) string {
	sum := sha256.Sum256([]byte(text))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// frame is what all pages show.
type frame struct {
	Organization, Product string
	// Support says whom to ask, and how.
	Support []string
	// Alert is what went wrong, where it is nothing that was typed.
	Alert string
	Style template.CSS
}

// signInPage is the page with the form.
type signInPage struct {
	frame
	Action, Token, Form         string
	Domains                     []string
	Providers                   []providerLink
	Account                     string
	AccountError, PasswordError string
}

type providerLink struct{ Label, URL string }

// stopPage is the page that leads nowhere: only the device itself can begin again.
type stopPage struct{ frame }

func (w *Web) frame(m identity.MachineInfo, e store.Entrant) frame {
	return frame{
		Organization: w.door.enroller.organization(), Product: productOf(m), Support: supportOf(e),
		Style: template.CSS(style), //nolint:gosec // our own file
	}
}

func productOf(m identity.MachineInfo) string {
	for prefix, name := range map[string]string{"iPhone": "iPhone", "iPad": "iPad", "iPod": "iPod", "AppleTV": "Apple TV", "Mac": "Mac", "iMac": "Mac"} {
		if strings.HasPrefix(m.Product, prefix) {
			return name
		}
	}
	return "device"
}

func supportOf(e store.Entrant) []string {
	var ways []string
	for _, way := range []string{e.Department, e.SupportPhone, e.SupportEmail} {
		if way != "" {
			ways = append(ways, way)
		}
	}
	return ways
}

// formOf shows how a user name is written: by the domain that there is, if there is one only.
func formOf(o intake.SignInOffer) string {
	if len(o.Domains) == 1 {
		return o.Domains[0] + `\user`
	}
	return directory.AccountForm
}

func linksOf(o intake.SignInOffer) []providerLink {
	links := make([]providerLink, len(o.Providers))
	for i, p := range o.Providers {
		links[i] = providerLink{p.Label, leavePath + "?" + url.Values{"directory": {p.Name}}.Encode()}
	}
	return links
}

// write renders a page, all of it or nothing.
func (w *Web) write(rw http.ResponseWriter, r *http.Request, status int, t *template.Template, page any) {
	var body bytes.Buffer
	if err := t.ExecuteTemplate(&body, "layout.html", page); err != nil {
		w.door.config.Log.ErrorContext(r.Context(), "page not written", "error", fmt.Errorf("rendering: %w", err))
		http.Error(rw, "Something went wrong here. Try again.", http.StatusInternalServerError)
		return
	}
	h := rw.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", pagePolicy)
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	// Without a referrer browsers send no origin with a form either, by which older ones show that the form is ours.
	h.Set("Referrer-Policy", "same-origin")
	rw.WriteHeader(status)
	if _, err := body.WriteTo(rw); err != nil {
		w.door.config.Log.DebugContext(r.Context(), "answer to a device lost", "error", err)
	}
}
