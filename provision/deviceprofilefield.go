package provision

import (
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"net/mail"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// fieldCheck keeps the value of a field, or says what is wrong with it.
type fieldCheck func(c *profileCheck, name string, value any)

// profileFields are Apple's fields that can be given, by Apple's names.
var profileFields = map[string]fieldCheck{
	"allow_pairing":                  checkFlag,
	"anchor_certs":                   checkCertificates,
	"auto_advance_setup":             checkFlag,
	"await_device_configured":        checkFlag,
	"department":                     checkText(125),
	"do_not_use_profile_from_backup": checkFlag,
	"is_mandatory":                   checkFlag,
	"is_mdm_removable":               checkFlag,
	"is_multi_user":                  checkFlag,
	"is_return_to_service":           checkFlag,
	"is_supervised":                  checkFlag,
	"language":                       checkForm(language, "a language such as en, or haw where ISO 639-1 has no code of two letters"),
	"org_magic":                      checkText(256),
	"profile_name":                   checkText(125),
	"region":                         checkForm(region, "a country such as US: two capital letters of ISO 3166-1"),
	"skip_setup_items":               checkSkipped,
	"supervising_host_certs":         checkCertificates,
	"support_email_address":          checkEmail,
	"support_phone_number":           checkText(50),
}

var (
	language = regexp.MustCompile(`^[a-z]{2,3}$`)
	region   = regexp.MustCompile(`^[A-Z]{2}$`)
)

func checkFlag(c *profileCheck, name string, value any) {
	if _, ok := value.(bool); !ok {
		c.wrong("fields."+name, "%q must be true or false.", name)
		return
	}
	c.kept[name] = value
}

// text is a value without the blanks around it, if it is one that Apple takes.
func (c *profileCheck) text(name string, value any, most int) (string, bool) {
	at := "fields." + name
	text, ok := value.(string)
	text = strings.TrimSpace(text)
	switch {
	case !ok:
		c.wrong(at, "%q must be text.", name)
	case text == "":
		c.wrong(at, "%q is empty; leave it out instead.", name)
	case utf8.RuneCountInString(text) > most:
		c.wrong(at, "%q is longer than the %d characters that Apple takes.", name, most)
	case strings.ContainsFunc(text, unicode.IsControl):
		c.wrong(at, "%q holds a control character, such as a line break.", name)
	default:
		return text, true
	}
	return "", false
}

func checkText(most int) fieldCheck {
	return func(c *profileCheck, name string, value any) {
		if text, ok := c.text(name, value, most); ok {
			c.kept[name] = text
		}
	}
}

func checkForm(form *regexp.Regexp, what string) fieldCheck {
	return func(c *profileCheck, name string, value any) {
		text, ok := c.text(name, value, 50)
		if ok && !form.MatchString(text) {
			c.wrong("fields."+name, "%q must be %s.", name, what)
			return
		}
		if ok {
			c.kept[name] = text
		}
	}
}

func checkEmail(c *profileCheck, name string, value any) {
	text, ok := c.text(name, value, 250)
	if !ok {
		return
	}
	if address, err := mail.ParseAddress(text); err != nil || address.Address != text {
		c.wrong("fields."+name, "%q must be an e-mail address.", name)
		return
	}
	c.kept[name] = text
}

// each hands over the texts of a list, each with its place.
func (c *profileCheck) each(name string, value any, take func(at, text string)) bool {
	list, ok := value.([]any)
	if !ok {
		c.wrong("fields."+name, "%q must be a list.", name)
		return false
	}
	for i, one := range list {
		at := fmt.Sprintf("fields.%s[%d]", name, i)
		if text, ok := one.(string); ok {
			take(at, text)
			continue
		}
		c.wrong(at, "%q must be a list of texts.", name)
	}
	return true
}

func checkSkipped(c *profileCheck, name string, value any) {
	kept := []string{}
	ok := c.each(name, value, func(at, pane string) {
		switch {
		case !slices.Contains(skipKeys, pane):
			c.wrong(at, "%q is no pane of Setup Assistant that can be skipped%s", clip(pane), meant(nearest(pane, skipKeys)))
		case !slices.Contains(kept, pane):
			kept = append(kept, pane)
		}
	})
	if ok {
		c.kept[name] = kept
	}
}

func checkCertificates(c *profileCheck, name string, value any) {
	kept := []string{}
	ok := c.each(name, value, func(at, text string) {
		if strings.Contains(text, "-----BEGIN ") {
			c.wrong(at, "The certificate is in PEM; Apple takes what stands between BEGIN and END (DER in base64).")
			return
		}
		der, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(text), ""))
		if err != nil {
			c.wrong(at, "The certificate is not in base64.")
			return
		}
		if _, err := x509.ParseCertificate(der); err != nil {
			c.wrong(at, "What the base64 holds is not a certificate in DER.")
			return
		}
		kept = append(kept, base64.StdEncoding.EncodeToString(der))
	})
	if ok {
		c.kept[name] = kept
	}
}

// combinations refuses what Apple refuses, or what would leave a device waiting for what can't happen.
func (c *profileCheck) combinations(mode string) {
	on := func(flag string) bool { return c.kept[flag] == true }
	given := func(name string) bool { return c.given[name] != nil }
	rule := func(broken bool, at, sentence string) {
		if broken {
			c.wrong("fields."+at, "%s", sentence)
		}
	}
	rule(c.kept["is_mdm_removable"] == false && !on("is_supervised"), "is_mdm_removable",
		`"is_mdm_removable" can be false only if "is_supervised" is true: Apple locks the management profile on supervised devices only.`)
	rule(on("is_multi_user") && !on("await_device_configured"), "is_multi_user",
		`"is_multi_user" needs "await_device_configured": a Shared iPad is configured while it waits in Setup Assistant.`)
	rule(on("auto_advance_setup") && (!given("language") || !given("region")), "auto_advance_setup",
		`"auto_advance_setup" needs "language" and "region": a device that goes through Setup Assistant by itself asks nobody for them.`)
	rule(given("region") && !given("language"), "region",
		`"region" needs "language": Apple takes a country only together with a language.`)
	rule(given("supervising_host_certs") && !on("is_supervised"), "supervising_host_certs",
		`"supervising_host_certs" needs "is_supervised": Apple ignores the list otherwise.`)
	rule(on("auto_advance_setup") && mode == ByUser, "auto_advance_setup",
		`"auto_advance_setup" contradicts activation_mode by_user: a device that goes through Setup Assistant by itself lets nobody sign in.`)
}
