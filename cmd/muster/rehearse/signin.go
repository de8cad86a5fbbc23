package rehearse

import (
	"context"
	"errors"

	"github.com/muster-mdm/muster/api/client"
	"github.com/muster-mdm/muster/devstack/directories"
	"github.com/muster-mdm/muster/sim"
)

// brings says which group of Muster's a group of the rehearsed directory brings. Its members are drawn: see [person].
var brings = map[string]string{"fleet": drivers, "shop": sales}

// Person is the one who signs in on a device, with an account of the rehearsed directory.
type Person struct {
	Name string
	// In is the group of the directory that the person is a member of; "" = none.
	In string
}

func (p Person) email() string { return p.Name + "@example.com" }

// groups are what the directory brings the person.
func (p Person) groups() []string {
	if g := brings[p.In]; g != "" {
		return []string{g}
	}
	return nil
}

// Accounts are those of everybody who signs in in some lives.
func Accounts(lives []Life) []directories.Account {
	var all []directories.Account
	for _, l := range lives {
		if p := l.Person; p != nil {
			all = append(all, directories.Account{Name: p.Name, Mail: p.email(), Group: p.In})
		}
	}
	return all
}

// errNoDirectory is a mistake of whoever made the environment.
var errNoDirectory = errors.New("people sign in in these lives, but the environment has no directory: give it their accounts")

// directoryName is what Muster calls the rehearsed directory.
const directoryName = "zylker"

// Connect gives Muster a directory to sign in against, whose groups bring groups of Muster's.
func (c *Customer) Connect(ctx context.Context, name string, d *directories.Slapd, groups map[string]string) error {
	domain, base, template := directories.Domain, directories.BaseDN, "uid={user},"+directories.PeopleDN
	input := client.DirectoryInput{
		Kind: "ldap", Domain: &domain, Urls: &[]string{d.URL}, Ca: &d.CA, BaseDn: &base, BindTemplate: &template, Groups: &[]client.DirectoryGroup{},
	}
	for theirs, ours := range groups {
		*input.Groups = append(*input.Groups, client.DirectoryGroup{DirectoryGroup: "cn=" + theirs + "," + directories.BaseDN, Group: ours})
	}
	_, err := do(ctx, c, "connecting the directory "+name, func(ctx context.Context, key *string) (*client.PutDirectoryResponse, error) {
		return c.api.PutDirectoryWithResponse(ctx, name, &client.PutDirectoryParams{IdempotencyKey: key}, input)
	})
	return err
}

// connect connects the environment's directory, if somebody signs in.
func (r *Rehearsal) connect(ctx context.Context) error {
	if len(Accounts(r.cfg.Lives)) == 0 {
		return nil
	}
	d := r.env.Directory()
	if d == nil {
		return errNoDirectory
	}
	return r.customer.Connect(ctx, directoryName, d, brings)
}

// credentials are what a device's person types; nil when nobody signs in.
func (r *Rehearsal) credentials(l Life) sim.Person {
	if l.Person == nil {
		return nil
	}
	return &sim.Credentials{Account: directories.Domain + `\` + l.Person.Name, Password: r.env.Directory().Password}
}

// Review decides for whom a device is that somebody else signed in on.
func (c *Customer) Review(ctx context.Context, serial, choice string) error {
	_, err := do(ctx, c, "reviewing "+serial, func(ctx context.Context, key *string) (*client.ReviewDeviceResponse, error) {
		return c.api.ReviewDeviceWithResponse(ctx, serial, &client.ReviewDeviceParams{IdempotencyKey: key}, client.ReviewInput{Choice: choice})
	})
	return err
}
