package client

// Input is the wish for a directory as it is, to be changed and put again. Its client secret stays.
func (d Directory) Input() DirectoryInput {
	return DirectoryInput{
		Description: &d.Description, Kind: d.Kind, Domain: &d.Domain, Urls: d.Urls, StartTls: d.StartTls, BaseDn: d.BaseDn,
		BindTemplate: d.BindTemplate, UserFilter: d.UserFilter, EmailAttribute: d.EmailAttribute, NestedGroups: d.NestedGroups,
		Issuer: d.Issuer, ClientId: d.ClientId, Scopes: d.Scopes, Claims: d.Claims, TrustEmail: d.TrustEmail, Ca: d.Ca,
		InsecurePlain: d.InsecurePlain, Timeout: d.Timeout, Groups: &d.Groups,
	}
}
