package sim

import (
	"io"
	"net/url"
	"strings"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"
)

// Page is what a person sees in a device's web view. Scripts don't run in it.
type Page struct {
	URL    string
	Status int
	// First: the web view has just opened.
	First bool
	Title string
	Text  string // all text that is shown, in one line
	Forms []Form
	Links []Link
}

// Link leads to another page.
type Link struct{ Text, URL string }

// Form is a form of a page, as it comes or filled in.
type Form struct {
	Method string // GET or POST
	URL    string // where it is sent
	Fields []Field
}

// Field is something in a form that has a name. Of buttons, checkboxes and radio buttons only those with Chosen are sent.
type Field struct {
	Name, Type, Value string
	Chosen            bool
}

// Set fills in the first field of a type and reports whether there is one.
func (f *Form) Set(kind, value string) bool {
	for i := range f.Fields {
		if f.Fields[i].Type == kind {
			f.Fields[i].Value = value
			return true
		}
	}
	return false
}

// Has reports whether the form has a field of a type.
func (f Form) Has(kind string) bool {
	for _, field := range f.Fields {
		if field.Type == kind {
			return true
		}
	}
	return false
}

// sent is what is submitted.
func (f Form) sent() url.Values {
	values := url.Values{}
	for _, field := range f.Fields {
		switch field.Type {
		case "checkbox", "radio", "submit", "image", "button", "reset":
			if !field.Chosen {
				continue
			}
		}
		if field.Name != "" {
			values.Add(field.Name, field.Value)
		}
	}
	return values
}

// readPage reads HTML; at is its address.
func readPage(body io.Reader, at *url.URL, status int) (Page, error) {
	root, err := html.Parse(body)
	if err != nil {
		return Page{}, err
	}
	r := &pageReader{page: Page{URL: at.String(), Status: status}, base: at}
	r.walk(root)
	r.page.Text = strings.Join(r.words, " ")
	for i := range r.page.Forms {
		chooseButton(&r.page.Forms[i])
	}
	return r.page, nil
}

// chooseButton presses the first button that submits, as the return key does.
func chooseButton(f *Form) {
	for i := range f.Fields {
		if f.Fields[i].Type == "submit" || f.Fields[i].Type == "image" {
			f.Fields[i].Chosen = true
			return
		}
	}
}

type pageReader struct {
	page  Page
	base  *url.URL
	words []string
	form  int // counts from 1 while inside of one
}

func (r *pageReader) walk(n *html.Node) {
	switch {
	case n.Type == html.TextNode:
		r.words = append(r.words, strings.Fields(n.Data)...)
	case n.Type == html.ElementNode && (n.DataAtom == atom.Script || n.DataAtom == atom.Style || n.DataAtom == atom.Template):
		return
	case n.Type == html.ElementNode:
		r.element(n)
		if n.DataAtom == atom.Head {
			return
		}
	}
	for c := n.FirstChild; c != nil; c = c.NextSibling {
		r.walk(c)
	}
	if n.Type == html.ElementNode && n.DataAtom == atom.Form {
		r.form = 0
	}
}

func (r *pageReader) element(n *html.Node) {
	switch n.DataAtom {
	case atom.Head:
		r.head(n)
	case atom.A:
		if target := attribute(n, "href"); target != "" {
			r.page.Links = append(r.page.Links, Link{textOf(n), r.resolve(target)})
		}
	case atom.Form:
		method := strings.ToUpper(attribute(n, "method"))
		if method != "POST" {
			method = "GET"
		}
		r.page.Forms = append(r.page.Forms, Form{Method: method, URL: r.resolve(attribute(n, "action"))})
		r.form = len(r.page.Forms)
	case atom.Input, atom.Button, atom.Textarea, atom.Select:
		if r.form > 0 {
			f := &r.page.Forms[r.form-1]
			f.Fields = append(f.Fields, fieldOf(n))
		}
	}
}

func (r *pageReader) head(n *html.Node) {
	for c := n.FirstChild; c != nil; c = c.NextSibling {
		switch c.DataAtom {
		case atom.Title:
			r.page.Title = textOf(c)
		case atom.Base:
			if u, err := r.base.Parse(attribute(c, "href")); err == nil {
				r.base = u
			}
		}
	}
}

func (r *pageReader) resolve(target string) string {
	u, err := r.base.Parse(target)
	if err != nil {
		return target
	}
	return u.String()
}

func fieldOf(n *html.Node) Field {
	f := Field{Name: attribute(n, "name"), Type: strings.ToLower(attribute(n, "type")), Value: attribute(n, "value")}
	switch n.DataAtom {
	case atom.Button:
		if f.Type == "" {
			f.Type = "submit"
		}
	case atom.Textarea:
		f.Type, f.Value = "textarea", textOf(n)
	case atom.Select:
		f.Type, f.Value = "select", optionOf(n)
	default:
		if f.Type == "" {
			f.Type = "text"
		}
		if f.Value == "" && (f.Type == "checkbox" || f.Type == "radio") {
			f.Value = "on"
		}
	}
	f.Chosen = has(n, "checked")
	return f
}

// optionOf is the value of the option that is selected, or of the first.
func optionOf(n *html.Node) string {
	value, found := "", false
	for o := range n.Descendants() {
		if o.DataAtom != atom.Option {
			continue
		}
		if selected := has(o, "selected"); selected || !found {
			value, found = textOf(o), true
			if has(o, "value") {
				value = attribute(o, "value")
			}
			if selected {
				return value
			}
		}
	}
	return value
}

func textOf(n *html.Node) string {
	var words []string
	for c := range n.Descendants() {
		if c.Type == html.TextNode {
			words = append(words, strings.Fields(c.Data)...)
		}
	}
	return strings.Join(words, " ")
}

func attribute(n *html.Node, key string) string {
	for _, a := range n.Attr {
		if a.Key == key {
			return a.Val
		}
	}
	return ""
}

func has(n *html.Node, key string) bool {
	for _, a := range n.Attr {
		if a.Key == key {
			return true
		}
	}
	return false
}
