package directorytest

import "strconv"

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
