package directory

import "github.com/muster-mdm/muster/provision"

// Kind is how a directory is spoken to.
type Kind string

// The kinds of directories.
const (
	ActiveDirectory Kind = "active_directory"
	PlainLDAP       Kind = "ldap"
	OpenIDConnect   Kind = "oidc"
)

// Edition is the edition of Muster that runs.
type Edition string

// The editions.
const (
	OnPremises    Edition = "on_premises"
	Cloud         Edition = "cloud"
	OnPremisesMSP Edition = "on_premises_msp"
	CloudMSP      Edition = "cloud_msp"
)

// Permits fails with [provision.EditionRefuses] when the edition doesn't have that kind of directory (R51, R52), and with
// [provision.Invalid] for what is no edition or no kind.
func Permits(edition Edition, kind Kind) error {
	switch edition {
	case OnPremises, Cloud, OnPremisesMSP, CloudMSP:
	default:
		return provision.Errorf(provision.Invalid, "%.40q is no edition; take on_premises, cloud, on_premises_msp or cloud_msp.", string(edition)).At("edition")
	}
	switch kind {
	case ActiveDirectory, PlainLDAP, OpenIDConnect:
	default:
		return provision.Errorf(provision.Invalid, "%.40q is no kind of directory; take active_directory, ldap or oidc.", string(kind)).At("kind")
	}
	if edition == CloudMSP && kind == ActiveDirectory {
		return provision.Errorf(provision.EditionRefuses, "The edition cloud_msp has no sign-in by Active Directory; use OpenID Connect.").At("kind")
	}
	return nil
}
