package intake

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/muster-mdm/muster/directory"
	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/store"
)

// DirectoryRequired is the code of a server that is to assign users by signing in where nobody can sign in (R48).
const DirectoryRequired provision.Code = "directory_required"

// DirectorySettings are how a directory is reached and asked, as they are stored: see [directory.LDAPConfig] and
// [directory.OIDCConfig] for what they mean. JSON names are only added, never renamed.
type DirectorySettings struct {
	URLs           []string `json:"urls,omitempty"`
	StartTLS       bool     `json:"start_tls,omitempty"`
	BaseDN         string   `json:"base_dn,omitempty"`
	BindTemplate   string   `json:"bind_template,omitempty"`
	UserFilter     string   `json:"user_filter,omitempty"`
	EmailAttribute string   `json:"email_attribute,omitempty"`
	NestedGroups   bool     `json:"nested_groups,omitempty"`

	Issuer     string           `json:"issuer,omitempty"`
	ClientID   string           `json:"client_id,omitempty"`
	Scopes     []string         `json:"scopes,omitempty"`
	Claims     directory.Claims `json:"claims,omitzero"`
	TrustEmail bool             `json:"trust_email,omitempty"`

	CA            string        `json:"ca,omitempty"`
	InsecurePlain bool          `json:"insecure_plain,omitempty"`
	Timeout       time.Duration `json:"timeout,omitempty"`
}

// SettingsOf reads the settings of a stored directory.
func SettingsOf(d store.Directory) (DirectorySettings, error) {
	var s DirectorySettings
	if err := json.Unmarshal(d.Settings, &s); err != nil {
		return s, fmt.Errorf("reading the settings of directory %s: %w", d.Name, err)
	}
	return s, nil
}

// DirectoryWish is a directory as people want it.
type DirectoryWish struct {
	Name, Description string
	Kind              directory.Kind
	Domain            string
	Settings          DirectorySettings
	Groups            []store.DirectoryGroup
	// Secret is the client secret of an OpenID Connect provider; nil leaves the one that is stored.
	Secret *string
}

// PutDirectory creates or changes a directory, without asking it. It fails with [provision.EditionRefuses],
// [provision.DirectoryInvalid] and all that is wrong, and as [store.DB.PutDirectory] does.
func (i *Intake) PutDirectory(ctx context.Context, w DirectoryWish, how store.Edit) (saved store.Directory, created bool, err error) {
	if !serverName.MatchString(w.Name) {
		return saved, false, provision.Errorf(provision.Invalid, "%.80q can't be the name of a directory: it must be made of up to 63 lower-case letters, digits and hyphens.", w.Name).At("name")
	}
	w.Description, w.Domain = strings.TrimSpace(w.Description), strings.TrimSpace(w.Domain)
	if err := directory.Permits(i.settings.Edition, w.Kind); err != nil {
		return saved, false, err
	}
	if err := errors.Join(i.checkSettings(w), checkMapping(w)); err != nil {
		return saved, false, allProblems(err)
	}
	if err := i.keepsSecret(ctx, w); err != nil {
		return saved, false, err
	}
	d := store.Directory{Name: w.Name, Description: w.Description, Kind: string(w.Kind), Domain: w.Domain, Groups: w.Groups}
	if d.Settings, err = json.Marshal(w.Settings); err != nil {
		return saved, false, fmt.Errorf("writing the settings of a directory: %w", err)
	}
	return i.db.PutDirectory(ctx, d, w.Secret, how)
}

// checkSettings refuses what the kind's own check refuses, and what another kind has.
func (i *Intake) checkSettings(w DirectoryWish) error {
	s, kind := w.Settings, w.Kind
	var foreign map[string]bool
	if kind == directory.OpenIDConnect {
		foreign = map[string]bool{
			"urls": len(s.URLs) > 0, "start_tls": s.StartTLS, "base_dn": s.BaseDN != "", "bind_template": s.BindTemplate != "",
			"user_filter": s.UserFilter != "", "email_attribute": s.EmailAttribute != "", "nested_groups": s.NestedGroups,
		}
	} else {
		foreign = map[string]bool{
			"issuer": s.Issuer != "", "client_id": s.ClientID != "", "client_secret": w.Secret != nil && *w.Secret != "",
			"scopes": len(s.Scopes) > 0, "claims": s.Claims != directory.Claims{}, "trust_email": s.TrustEmail,
		}
	}
	var all []error
	for _, field := range sorted(foreign) {
		if foreign[field] {
			all = append(all, provision.Errorf(provision.DirectoryInvalid, "A directory of the kind %s has no %s.", kind, field).At(field))
		}
	}
	if kind == directory.OpenIDConnect {
		return errors.Join(append(all, i.checkProvider(w))...)
	}
	return errors.Join(append(all, s.server(kind, w.Domain).Check())...)
}

// checkProvider names the setting where the fault is not the wish's: providers send browsers back to the public address.
func (i *Intake) checkProvider(w DirectoryWish) error {
	all, err := sentences(w.Settings.provider(w.Domain, "", i.settings.SignInReturn).Check())
	joined := []error{err}
	for _, mistake := range all {
		if mistake.Field == "redirect_url" {
			mistake = provision.Errorf(provision.DirectoryInvalid, "Identity providers send people back to the public address of this server, which must be https: set MUSTER_PUBLIC_URL. It is %q now.", i.settings.SignInReturn)
		}
		joined = append(joined, mistake)
	}
	return errors.Join(joined...)
}

func checkMapping(w DirectoryWish) error {
	var all []error
	for n, g := range w.Groups {
		var mistake *provision.Error
		if errors.As(directory.CheckGroup(w.Kind, g.DirectoryGroup), &mistake) {
			all = append(all, mistake.At(fmt.Sprintf("groups[%d].%s", n, mistake.Field)))
		}
		if _, err := provision.CheckGroupName(g.Group); err != nil {
			all = append(all, atIndex("groups", n, err))
		}
	}
	return errors.Join(all...)
}

// keepsSecret refuses to hand a stored secret to another provider than it is of.
func (i *Intake) keepsSecret(ctx context.Context, w DirectoryWish) error {
	was, err := i.db.Directory(ctx, w.Name)
	if w.Secret != nil || provision.CodeOf(err) == provision.NotFound {
		return nil
	}
	if err != nil || !was.HasSecret {
		return err
	}
	s, err := SettingsOf(was)
	if err == nil && (s.Issuer != w.Settings.Issuer || w.Kind != directory.OpenIDConnect) {
		err = provision.Errorf(provision.DirectoryInvalid, "The client secret that is stored is that of %s. Give the new one, or an empty one.", s.Issuer).At("client_secret")
	}
	return err
}

// DeleteDirectory deletes a directory; people can't sign in to it any more.
func (i *Intake) DeleteDirectory(ctx context.Context, name string, condition store.Condition) error {
	return i.db.DeleteDirectory(ctx, name, condition)
}

// AccountTry is an account to test a directory with.
type AccountTry struct {
	Account, Password string
	By                Actor
}

// DirectoryTested is what a test of a directory found.
type DirectoryTested struct {
	// Problems are sentences for administrators.
	Problems []*provision.Error
	// Who signed in; nil when nobody was to, or could.
	Who *Identified
}

// TestDirectory asks a directory all that it tells without a password, and then signs an account in to it, if one is given. It fails
// with [provision.NotFound], and with [provision.Invalid] for an account of a provider, which asks for passwords itself.
func (i *Intake) TestDirectory(ctx context.Context, name string, try *AccountTry) (tested DirectoryTested, err error) {
	d, err := i.db.Directory(ctx, name)
	if err != nil {
		return tested, err
	}
	if try != nil && d.Kind == string(directory.OpenIDConnect) {
		return tested, provision.Errorf(provision.Invalid, "People sign in to %q at the provider's own page, so it is tested without an account.", name).At("account")
	}
	tested.Problems, err = sentences(i.probe(ctx, d))
	if err != nil || len(tested.Problems) > 0 || try == nil {
		return tested, err
	}
	id, err := i.tryAccount(ctx, d, *try)
	if err == nil {
		tested.Who = &id
	}
	tested.Problems, err = sentences(err)
	return tested, err
}

// probe fails with what keeps people from signing in to the directory.
func (i *Intake) probe(ctx context.Context, d store.Directory) error {
	if err := directory.Permits(i.settings.Edition, directory.Kind(d.Kind)); err != nil {
		return err
	}
	if d.Kind == string(directory.OpenIDConnect) {
		o, err := i.provider(ctx, d)
		if err != nil {
			return err
		}
		_, _, err = o.Begin(ctx)
		return err
	}
	l, err := ldapOf(d)
	if err != nil {
		return err
	}
	return l.Test(ctx)
}

// mayAssign fails with [DirectoryRequired] unless people can sign in to some directory now (R48).
func (i *Intake) mayAssign(ctx context.Context) error {
	all, err := i.db.AllDirectories(ctx)
	if err != nil {
		return err
	}
	var why []string
	for _, d := range all {
		problems, err := sentences(i.probe(ctx, d))
		if err != nil {
			return err
		}
		if len(problems) == 0 {
			return nil
		}
		why = append(why, fmt.Sprintf("%s: %s", d.Name, problems[0].Message))
	}
	if len(all) == 0 {
		why = []string{"None is set up; set one up first."}
	}
	return provision.Errorf(DirectoryRequired, "Users can't be assigned by signing in, because no directory works. %s", strings.Join(why, " ")).At("auto_assign_users")
}
