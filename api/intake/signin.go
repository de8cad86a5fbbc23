package intake

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/muster-mdm/muster/directory"
	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/store"
)

// How often somebody may try to sign in while a window lasts. An account's is less than what most directories lock it after; a
// school that sets up its devices comes from one address.
const (
	SignInWindow    = 15 * time.Minute
	TriesPerAccount = 5
	TriesPerDevice  = 10
	TriesPerAddress = 100
	// TriesPerToken is for those who test directories by the API.
	TriesPerToken = 10

	shortestHold = 5 * time.Minute
	longestHold  = 30 * 24 * time.Hour
)

// checkSignIns refuses to assign users by signing in where nobody can sign in. A server that does so already keeps doing so.
func (i *Intake) checkSignIns(ctx context.Context, in store.ABMServerInput) error {
	switch in.Conflict {
	case "", provision.KeepReserved, provision.TakeSignedIn, provision.HoldForReview:
	default:
		return provision.Errorf(provision.Invalid, "%.40q is no answer to a conflict; take keep_reserved, take_signed_in or hold_for_review.", string(in.Conflict)).At("sign_in_conflict")
	}
	switch in.HoldChoice {
	case "", provision.KeepReserved, provision.TakeSignedIn:
	case provision.HoldForReview:
		return provision.Errorf(provision.Invalid, "A hold must end: take keep_reserved or take_signed_in.").At("sign_in_hold_choice")
	default:
		return provision.Errorf(provision.Invalid, "%.40q is no end of a hold; take keep_reserved or take_signed_in.", string(in.HoldChoice)).At("sign_in_hold_choice")
	}
	if _, err := bounded("sign_in_hold", in.Hold, provision.DefaultSignInHold, shortestHold, longestHold); err != nil {
		return err
	}
	if !in.AutoAssign {
		return nil
	}
	was, err := i.db.ABMServer(ctx, in.Name)
	if err != nil && provision.CodeOf(err) != provision.NotFound {
		return err
	}
	if was.AutoAssign {
		return nil
	}
	return i.mayAssign(ctx)
}

// SignInOffer is how people may sign in on a device.
type SignInOffer struct {
	// Domains that people sign in to with name and password, sorted.
	Domains []string
	// Providers have pages of their own.
	Providers []SignInProvider
}

// SignInProvider is an OpenID Connect provider; Label is for people.
type SignInProvider struct{ Name, Label string }

// SignInOffer lists what people may choose from.
func (i *Intake) SignInOffer(ctx context.Context) (SignInOffer, error) {
	all, err := i.permitted(ctx)
	var offer SignInOffer
	for _, d := range all {
		if d.Kind != string(directory.OpenIDConnect) {
			offer.Domains = append(offer.Domains, d.Domain)
			continue
		}
		label := d.Description
		if label == "" {
			label = d.Name
		}
		offer.Providers = append(offer.Providers, SignInProvider{d.Name, label})
	}
	return offer, err
}

// SignInTry is a try to sign in with name and password on a device.
type SignInTry struct {
	Serial, Address   string
	Account, Password string
}

// Identified is somebody whom a directory let in.
type Identified struct {
	Person    directory.Person
	Directory store.Directory
}

// Groups are the groups that the directory brings them.
func (id Identified) Groups() []string {
	var groups []string
	for _, g := range id.Directory.Groups {
		if id.Person.MemberOf(directory.Kind(id.Directory.Kind), g.DirectoryGroup) {
			groups = append(groups, g.Group)
		}
	}
	return groups
}

// TrySignIn lets somebody in by the directory of their domain. It fails as [directory.Directories.SignIn] does, and with
// [provision.SignInLocked] when device, account or address have tried too often; the directory isn't asked then.
func (i *Intake) TrySignIn(ctx context.Context, t SignInTry) (Identified, error) {
	if _, _, err := directory.ParseAccount(t.Account); err != nil {
		return Identified{}, err
	}
	account, err := i.accountLimit(ctx, t.Account)
	if err != nil {
		return Identified{}, err
	}
	return i.counted(ctx, append([]store.TryLimit{account}, t.places()...), func() (Identified, error) {
		all, err := i.permitted(ctx)
		if err != nil {
			return Identified{}, err
		}
		return i.identify(ctx, byPassword(all), t.Account, t.Password)
	})
}

// tryAccount lets an account in by one directory, with the limits of devices: whoever has a token must not guess faster.
func (i *Intake) tryAccount(ctx context.Context, d store.Directory, t AccountTry) (Identified, error) {
	if _, _, err := directory.ParseAccount(t.Account); err != nil {
		return Identified{}, err
	}
	account, err := i.accountLimit(ctx, t.Account)
	if err != nil {
		return Identified{}, err
	}
	return i.counted(ctx, []store.TryLimit{account, {Subject: "token/" + t.By.ID, Tries: TriesPerToken}}, func() (Identified, error) {
		return i.identify(ctx, []store.Directory{d}, t.Account, t.Password)
	})
}

// counted counts a try for its subjects, the account first, before it is made.
func (i *Intake) counted(ctx context.Context, limits []store.TryLimit, try func() (Identified, error)) (Identified, error) {
	if err := i.db.CountTry(ctx, SignInWindow, limits...); err != nil {
		return Identified{}, err
	}
	subjects := make([]string, len(limits))
	for n, l := range limits {
		subjects[n] = l.Subject
	}
	id, err := try()
	switch code := provision.CodeOf(err); code {
	case "":
		return id, errors.Join(i.db.ForgetTries(ctx, subjects[0]), i.db.ReturnTry(ctx, subjects[1:]...))
	case provision.DirectoryUnavailable, provision.DirectoryInvalid, provision.StorageUnavailable, provision.Internal:
		// Nothing was said of the password. A person who hung up has no try less for it.
		return Identified{}, errors.Join(err, i.db.ReturnTry(context.WithoutCancel(ctx), subjects...))
	}
	return Identified{}, err
}

// places of a try: device and address.
func (t SignInTry) places() []store.TryLimit {
	return []store.TryLimit{
		{Subject: "device/" + t.Serial, Tries: TriesPerDevice},
		{Subject: "address/" + t.Address, Tries: TriesPerAddress},
	}
}

// accountLimit keeps an account as a hash, for people type passwords into its field. All its spellings are one account.
func (i *Intake) accountLimit(ctx context.Context, account string) (store.TryLimit, error) {
	name, err := i.db.FoldName(ctx, account)
	sum := sha256.Sum256([]byte(name))
	return store.TryLimit{Subject: "account/" + hex.EncodeToString(sum[:]), Tries: TriesPerAccount}, err
}

// identify lets an account in by the one of some directories that has its domain.
func (i *Intake) identify(ctx context.Context, some []store.Directory, account, password string) (Identified, error) {
	var err error
	configs := make([]directory.LDAPConfig, len(some))
	for n, d := range some {
		if configs[n], err = configOf(d); err != nil {
			return Identified{}, err
		}
	}
	directories, err := directory.NewDirectories(i.settings.Edition, configs...)
	if err != nil {
		return Identified{}, err
	}
	p, err := directories.SignIn(ctx, account, password)
	if err != nil {
		return Identified{}, err
	}
	for _, d := range some {
		if strings.EqualFold(d.Domain, p.Domain) {
			return Identified{p, d}, nil
		}
	}
	return Identified{}, fmt.Errorf("no directory has the domain %q of who signed in", p.Domain)
}

// BeginSignIn sends somebody to a provider's page: where, and what to keep until they come back. It fails with
// [provision.NotFound], and as [directory.OIDC.Begin] does.
func (i *Intake) BeginSignIn(ctx context.Context, provider string) (redirect string, flow json.RawMessage, err error) {
	o, _, err := i.providerNamed(ctx, provider)
	if err != nil {
		return "", nil, err
	}
	redirect, f, err := o.Begin(ctx)
	if err != nil {
		return "", nil, err
	}
	flow, err = json.Marshal(f)
	return redirect, flow, err
}

// FinishSignIn lets somebody in who comes back; query is what the browser brings. It fails as [directory.OIDC.Finish] does.
func (i *Intake) FinishSignIn(ctx context.Context, provider string, flow json.RawMessage, query map[string][]string) (Identified, error) {
	o, d, err := i.providerNamed(ctx, provider)
	if err != nil {
		return Identified{}, err
	}
	var f directory.Flow
	if err := json.Unmarshal(flow, &f); err != nil {
		return Identified{}, fmt.Errorf("reading a sign-in at %s: %w", provider, err)
	}
	p, err := o.Finish(ctx, f, query)
	return Identified{p, d}, err
}

func (i *Intake) providerNamed(ctx context.Context, name string) (*directory.OIDC, store.Directory, error) {
	d, err := i.db.Directory(ctx, name)
	if err != nil {
		return nil, d, err
	}
	if d.Kind != string(directory.OpenIDConnect) {
		return nil, d, provision.Errorf(provision.NotFound, "Directory %q has no page to sign in at.", name)
	}
	if err := directory.Permits(i.settings.Edition, directory.OpenIDConnect); err != nil {
		return nil, d, err
	}
	o, err := i.provider(ctx, d)
	return o, d, err
}
