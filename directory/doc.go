// Package directory lets people sign in against the directories of their organisation: Active Directory and other LDAP servers
// with name and password, OpenID Connect providers by their own pages. It keeps nothing.
//
//	DOMAIN\user, password ──▶ Directories ──▶ LDAP.SignIn: bind as the user ──▶ read the user's entry ──▶ Person
//	OIDC.Begin ──▶ the provider's page ──▶ the browser comes back ──▶ OIDC.Finish: code ──▶ identity token ──▶ Person
//	     └── or an error with a code of provision's, and no Person
//
// A directory that can't answer (provision.DirectoryUnavailable) is never taken for a wrong password
// (provision.SignInRefused), nor the other way round. Errors carry what the directory said behind the sentence for people; that text is
// for the log.
package directory

import (
	"fmt"

	"github.com/muster-mdm/muster/provision"
)

// Person is somebody who signed in, as the directory tells.
type Person struct {
	// Name is the account's name as the directory spells it, however it was typed.
	Name        string
	Domain      string
	DisplayName string
	// Email is never empty: who has none can't sign in.
	Email string
	// Groups are those the directory tells, sorted: distinguished names by LDAP, whatever the provider calls them by OpenID Connect.
	Groups []string
	// Subject is what stays the same when the account is renamed: AD's objectGUID, entryUUID, or the provider's subject. It
	// may be empty for an LDAP server that has no such thing.
	Subject string
}

// because puts what happened, if anything did, behind the sentence that people are told.
func because(told *provision.Error, cause error) error {
	if cause == nil {
		return told
	}
	return fmt.Errorf("%w (%w)", told, cause)
}
