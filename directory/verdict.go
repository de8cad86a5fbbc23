package directory

import (
	"regexp"

	"github.com/go-ldap/ldap/v3"

	"github.com/muster-mdm/muster/provision"
)

// refusal is the same for a name that doesn't exist and a wrong password.
const refusal = "The user name or the password is wrong."

// Sentences about an account, the same for all directories.
const (
	saysDisabled   = `The account %s is disabled. Ask your administrator.`
	saysExpired    = `The account %s has expired. Ask your administrator.`
	saysLocked     = `The account %s is locked after too many wrong passwords. Wait a while, or ask your administrator to unlock it.`
	saysRestricted = `The account %s may not sign in at this time, or not from here. Ask your administrator.`
	saysOld        = `The password of %s has expired. Set a new one on another device of your organisation, then sign in again.`
	saysMustChange = `The password of %s must be changed first. Do that on another device of your organisation, then sign in again.`
)

type saying struct {
	code     provision.Code
	sentence string
}

// subCodes are Windows' error codes in hexadecimal, which Active Directory puts into the text of "invalid credentials".
// [MS-ERREF] 2.2 lists them.
var subCodes = map[string]saying{
	"52f": {provision.AccountRestricted, saysRestricted}, // ERROR_ACCOUNT_RESTRICTION
	"530": {provision.AccountRestricted, saysRestricted}, // ERROR_INVALID_LOGON_HOURS
	"531": {provision.AccountRestricted, saysRestricted}, // ERROR_INVALID_WORKSTATION
	"532": {provision.PasswordExpired, saysOld},          // ERROR_PASSWORD_EXPIRED
	"533": {provision.AccountDisabled, saysDisabled},     // ERROR_ACCOUNT_DISABLED
	"568": {provision.AccountRestricted, saysRestricted}, // ERROR_TOO_MANY_CONTEXT_IDS: in too many groups
	"569": {provision.AccountRestricted, saysRestricted}, // ERROR_LOGON_TYPE_NOT_GRANTED
	"701": {provision.AccountExpired, saysExpired},       // ERROR_ACCOUNT_EXPIRED
	"773": {provision.PasswordMustChange, saysMustChange},
	"775": {provision.AccountLocked, saysLocked}, // ERROR_ACCOUNT_LOCKED_OUT
}

// noLogonServers is the sub-code of a domain controller that can't ask the one that knows the password.
const noLogonServers = "51f"

var subCode = regexp.MustCompile(`\bdata ([0-9a-f]+)\b`)

func subCodeOf(answer *ldap.Error) string {
	if found := subCode.FindStringSubmatch(answer.Err.Error()); found != nil {
		return found[1]
	}
	return ""
}

// verdict is what the answer to a bind says about the account, nil if it says nothing about it.
func (l *LDAP) verdict(answer *ldap.Error, user string) *provision.Error {
	switch answer.ResultCode {
	case ldap.LDAPResultInvalidCredentials:
	case ldap.LDAPResultNoSuchObject, ldap.LDAPResultInappropriateAuthentication: // no such entry, or one without a password
		return provision.Errorf(provision.SignInRefused, refusal)
	default:
		return nil
	}
	code := subCodeOf(answer)
	if code == noLogonServers {
		return nil
	}
	if says, ok := subCodes[code]; ok {
		return l.say(says, user)
	}
	return provision.Errorf(provision.SignInRefused, refusal)
}

// Errors of a password policy, as the response control of draft-behera-ldap-password-policy numbers them.
const (
	policyPasswordExpired  = 0
	policyAccountLocked    = 1
	policyChangeAfterReset = 2
)

// byPolicy is what a plain LDAP server's password policy says about the account. It may say it with a bind that succeeds.
func (l *LDAP) byPolicy(controls []ldap.Control, user string) *provision.Error {
	policy, ok := ldap.FindControl(controls, ldap.ControlTypeBeheraPasswordPolicy).(*ldap.ControlBeheraPasswordPolicy)
	if !ok {
		return nil
	}
	switch policy.Error {
	case policyPasswordExpired:
		return l.say(saying{provision.PasswordExpired, saysOld}, user)
	case policyAccountLocked:
		return l.say(saying{provision.AccountLocked, saysLocked}, user)
	case policyChangeAfterReset:
		return l.say(saying{provision.PasswordMustChange, saysMustChange}, user)
	}
	return nil
}

func (l *LDAP) say(says saying, user string) *provision.Error {
	return provision.Errorf(says.code, says.sentence, l.config.Domain+`\`+user)
}
