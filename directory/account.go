package directory

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/muster-mdm/muster/provision"
)

// The longest names in characters. Active Directory allows 15 and 20; other directories use e-mail addresses as names.
const (
	maxDomain = 64
	maxUser   = 128
)

// AccountForm is how an account is written (R50).
const AccountForm = `DOMAIN\user`

// neverInUser are what Active Directory forbids in account names, and the brackets of search filters.
const neverInUser = `"/\[]:;|=,+*?<>()`

// ParseAccount takes DOMAIN\user apart. Blanks around it don't matter: keyboards of phones add them. It fails with
// [provision.AccountFormat], and a sentence that shows the form.
func ParseAccount(text string) (domain, user string, err error) {
	domain, user, found := strings.Cut(strings.TrimSpace(text), `\`)
	if !found {
		return "", "", malformed("Write the user name as %s, with the domain and a backslash in front.", AccountForm)
	}
	if err := checkDomain(domain); err != nil {
		return "", "", err
	}
	if err := checkUser(user); err != nil {
		return "", "", err
	}
	return domain, user, nil
}

func checkDomain(domain string) error {
	if domain == "" {
		return malformed("The domain in front of the backslash is missing: write the user name as %s.", AccountForm)
	}
	if utf8.RuneCountInString(domain) > maxDomain {
		return malformed("The domain is longer than %d characters: write the user name as %s.", maxDomain, AccountForm)
	}
	for _, r := range domain {
		if !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("-_.", r) || r == utf8.RuneError {
			return malformed("The domain contains %q, which no domain has: write the user name as %s.", r, AccountForm)
		}
	}
	return nil
}

func checkUser(user string) error {
	if user == "" || strings.TrimSpace(user) != user {
		return malformed("The name behind the backslash is missing: write the user name as %s.", AccountForm)
	}
	if utf8.RuneCountInString(user) > maxUser {
		return malformed("The name is longer than %d characters: write the user name as %s.", maxUser, AccountForm)
	}
	for _, r := range user {
		if !unicode.IsPrint(r) || r == utf8.RuneError || strings.ContainsRune(neverInUser, r) {
			return malformed("The name contains %q, which no account has: write the user name as %s.", r, AccountForm)
		}
	}
	return nil
}

func malformed(format string, args ...any) *provision.Error {
	return provision.Errorf(provision.AccountFormat, format, args...).At("account")
}
