// Package directories runs real directories to sign in against: Samba as an Active Directory domain controller, and OpenLDAP's
// slapd.
//
// Both keep all they write in throw-away folders, use certificates of an authority of their own, and die with the
// process that started them. What is missing is installed, and what cannot be is an error that says how to get it.
//
// Samba's ports are fixed and low, so it gets a loopback address of its own (127.77.x.y) and must be started by root.
package directories

// The organisation that both directories are of.
const (
	Domain = "ZYLKER" // the part before the backslash
	BaseDN = "dc=zylker,dc=example"
	realm  = "ZYLKER.EXAMPLE"
)

// Accounts of both directories. All have the same password, and all but one an e-mail address at zylker.com.
const (
	Andrew     = "andrew"     // Andrew Fuller; in the group Drivers, which Samba has in the group Staff
	Nomail     = "nomail"     // has no e-mail address
	MustChange = "mustchange" // must change its password at the next sign-in
	Stale      = "stale"      // its password has expired
	Lockable   = "lockable"   // is locked after LockedAfter wrong passwords
)

// Accounts that only Samba has: each is refused in a way of its own.
const (
	Disabled  = "disabled"
	Expired   = "expired"   // the account itself
	Nohours   = "nohours"   // has no hours in which it may sign in
	Elsewhere = "elsewhere" // may sign in at a workstation that isn't here
)

// LockedAfter is how many wrong passwords lock the account Lockable.
const LockedAfter = 3
