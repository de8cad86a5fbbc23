package enroll

import (
	"errors"
	"net/http"

	"github.com/muster-mdm/muster/provision"
)

// place is where on the page something is said.
type place int

const (
	aboveForm place = iota + 1
	atAccount
	atPassword
)

// places of what a person can do something about on the page itself.
var places = map[provision.Code]place{
	provision.AccountFormat:        atAccount,
	provision.DomainUnknown:        atAccount,
	provision.SignInRefused:        atPassword,
	provision.PasswordExpired:      atPassword,
	provision.PasswordMustChange:   atPassword,
	provision.AccountDisabled:      aboveForm,
	provision.AccountExpired:       aboveForm,
	provision.AccountLocked:        aboveForm,
	provision.AccountRestricted:    aboveForm,
	provision.EmailMissing:         aboveForm,
	provision.EmailUnverified:      aboveForm,
	provision.SignInLocked:         aboveForm,
	provision.SignInDenied:         aboveForm,
	provision.SignInExpired:        aboveForm,
	provision.SignInStateInvalid:   aboveForm,
	provision.IdentityTokenRefused: aboveForm,
	provision.DirectoryUnavailable: aboveForm,
	provision.StorageUnavailable:   aboveForm,
}

// ofForm reports whether trying again on the page can help.
func ofForm(err error) bool { return places[provision.CodeOf(err)] != 0 }

// blame says what was wrong, next to what was typed where it is that. What administrators must mend is told to them by the log.
func (p *signInPage) blame(wrong error) {
	var rule *provision.Error
	if !errors.As(wrong, &rule) || places[rule.Code] == 0 {
		p.Alert = "Signing in doesn't work here at the moment. Try again later, or ask your administrator."
		return
	}
	switch places[rule.Code] {
	case atAccount:
		p.AccountError = rule.Message
	case atPassword:
		p.PasswordError = rule.Message
	case aboveForm:
		p.Alert = rule.Message
	}
}

// personal are codes whose sentence, or what the directory said of it, names the account or repeats what was typed. People type
// passwords into the wrong field.
var personal = map[provision.Code]bool{
	provision.AccountFormat: true, provision.DomainUnknown: true, provision.SignInRefused: true, provision.AccountDisabled: true,
	provision.AccountExpired: true, provision.AccountLocked: true, provision.AccountRestricted: true, provision.PasswordExpired: true,
	provision.PasswordMustChange: true, provision.EmailMissing: true, provision.EmailUnverified: true,
}

// refused logs and counts a try that failed. Neither who it was nor what they typed is logged.
func (w *Web) refused(r *http.Request, v visit, err error) {
	code := provision.CodeOf(err)
	w.outcomes.WithLabelValues(string(code)).Inc()
	log := w.door.config.Log.With("serial", v.machine.Serial, "remote", r.RemoteAddr, "code", string(code))
	if code == provision.Internal || code == provision.DirectoryInvalid || code == provision.DirectoryUnavailable || code == provision.StorageUnavailable {
		log.ErrorContext(r.Context(), "signing in failed", "error", err)
		return
	}
	if !personal[code] {
		log = log.With("reason", err.Error())
	}
	log.WarnContext(r.Context(), "sign-in refused")
}
