package directories

import (
	"maps"
	"slices"
	"strconv"
	"strings"
)

// slapdSettings is slapd.conf; its verb is the folder. Strangers are told that the base exists, and nothing else. The overlay counts wrong passwords in the name of the rootdn, who has none.
const slapdSettings = `include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
include /etc/ldap/schema/nis.schema
modulepath /usr/lib/ldap
moduleload back_mdb
moduleload ppolicy
loglevel 0
pidfile %[1]s/slapd.pid
argsfile %[1]s/slapd.args
TLSCACertificateFile %[1]s/ca.pem
TLSCertificateFile %[1]s/cert.pem
TLSCertificateKeyFile %[1]s/key.pem
security simple_bind=128
database mdb
maxsize 16777216
suffix "` + BaseDN + `"
rootdn "cn=policy,` + BaseDN + `"
directory %[1]s/data
access to attrs=userPassword by anonymous auth by * none
access to dn.base="` + BaseDN + `" by users read by * disclose
access to * by users read by * none
overlay ppolicy
ppolicy_default "cn=policy,` + BaseDN + `"
ppolicy_use_lockout
`

// slapdEntries has groups of all three kinds, which name their members: nobody keeps memberOf here, as is the default.
var slapdEntries = `dn: ` + BaseDN + `
objectClass: dcObject
objectClass: organization
o: Zylker

dn: cn=policy,` + BaseDN + `
objectClass: device
objectClass: pwdPolicy
pwdAttribute: userPassword
pwdMaxAge: 157680000
pwdMustChange: TRUE
pwdLockout: TRUE
pwdMaxFailure: ` + strconv.Itoa(LockedAfter) + `

dn: ` + PeopleDN + `
objectClass: organizationalUnit

` + slapdPerson(Andrew, "Andrew Fuller", "mail: andrew@zylker.com") +
	slapdPerson(Nomail, "Nomail") +
	slapdPerson(Lockable, "Lockable", "mail: lockable@zylker.com") +
	slapdPerson(MustChange, "Must Change", "mail: mustchange@zylker.com", "pwdReset: TRUE") +
	slapdPerson(Stale, "Stale", "mail: stale@zylker.com", "pwdChangedTime: 20030101000000Z") +
	`dn: cn=drivers,` + BaseDN + `
objectClass: groupOfNames
member: uid=` + Andrew + `,` + PeopleDN + `

dn: cn=cyclists,` + BaseDN + `
objectClass: groupOfUniqueNames
uniqueMember: uid=` + Andrew + `,` + PeopleDN + `

dn: cn=staff,` + BaseDN + `
objectClass: posixGroup
gidNumber: 1000
memberUid: ` + Andrew + `

dn: cn=others,` + BaseDN + `
objectClass: groupOfNames
member: uid=` + Nomail + `,` + PeopleDN + `
`

// slapdPerson is an account whose password is the verb of fmt that stands for it.
func slapdPerson(uid, name string, more ...string) string {
	text := "dn: uid=" + uid + "," + PeopleDN + "\nobjectClass: inetOrgPerson\ncn: " + name + "\nsn: " + name + "\nuserPassword: %[1]s\n"
	for _, line := range more {
		text += line + "\n"
	}
	return text + "\n"
}

// Account is somebody whom a slapd has beside the usual accounts. The password is the same.
type Account struct {
	Name, Mail string
	// Group is the common name of a group whose members are the accounts that name it; "" = none.
	Group string
}

// entriesOf are accounts, and the groups they name.
func entriesOf(accounts []Account) string {
	var text strings.Builder
	text.WriteString("\n")
	members := map[string][]string{}
	for _, a := range accounts {
		text.WriteString(slapdPerson(a.Name, a.Name, "mail: "+a.Mail))
		if a.Group != "" {
			members[a.Group] = append(members[a.Group], a.Name)
		}
	}
	for _, group := range slices.Sorted(maps.Keys(members)) {
		text.WriteString("dn: cn=" + group + "," + BaseDN + "\nobjectClass: groupOfNames\n")
		for _, name := range members[group] {
			text.WriteString("member: uid=" + name + "," + PeopleDN + "\n")
		}
		text.WriteString("\n")
	}
	return text.String()
}
