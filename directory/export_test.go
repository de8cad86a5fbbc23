package directory

// BindName and Filter are what a user's name becomes.
func (l *LDAP) BindName(user string) string { return l.config.bindName(user) }

func (l *LDAP) Filter(user string) string { return l.config.filter(user) }

// GUID is an objectGUID in words.
func GUID(raw []byte) string { return guid(raw) }
