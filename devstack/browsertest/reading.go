package browsertest

import (
	"encoding/json"

	"github.com/chromedp/cdproto/accessibility"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/chromedp"
)

// Element is something on the page as a screen reader gets it.
type Element struct {
	Role, Name, Description, Value string
	Invalid, Focused, Required     bool
}

// Read lists what a screen reader gets, in its order, apart from what only groups others and from pieces of text.
func (t *Tab) Read() []Element {
	t.t.Helper()
	tree := call(t, accessibility.GetFullAXTree, accessibility.GetFullAXTreeParams{})
	var all []Element
	for _, n := range tree.Nodes {
		e := Element{Role: textOf(n.Role), Name: textOf(n.Name), Description: textOf(n.Description), Value: textOf(n.Value)}
		switch e.Role {
		case "none", "generic", "InlineTextBox", "StaticText", "":
			continue
		}
		if n.Ignored {
			continue
		}
		for _, p := range n.Properties {
			switch p.Name {
			case accessibility.PropertyNameInvalid:
				e.Invalid = textOf(p.Value) == "true"
			case accessibility.PropertyNameFocused:
				e.Focused = textOf(p.Value) == "true"
			case accessibility.PropertyNameRequired:
				e.Required = textOf(p.Value) == "true"
			default:
			}
		}
		all = append(all, e)
	}
	return all
}

// Alerts are the texts that are read as soon as the page is there.
func (t *Tab) Alerts() string {
	t.t.Helper()
	return evaluate[string](t, `[...document.querySelectorAll("[role=alert]")].map((e) => e.innerText).join("\n")`)
}

func textOf(v *accessibility.Value) string {
	if v == nil {
		return ""
	}
	var text string
	if json.Unmarshal(v.Value, &text) == nil {
		return text
	}
	return string(v.Value)
}

func call[P, R any](t *Tab, command cdp.Command[P, R], params P) R {
	t.t.Helper()
	result, err := chromedp.Call(t.ctx, command, params)
	t.must(err)
	return result
}

func evaluate[T any](t *Tab, script string) T {
	t.t.Helper()
	value, err := chromedp.Run(t.ctx, chromedp.Evaluate[T](script))
	t.must(err)
	return value
}
