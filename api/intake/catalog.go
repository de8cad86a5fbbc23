package intake

import (
	"context"
	"fmt"
	"net/url"
	"regexp"
	"strings"

	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/store"
)

// edits is how this actor edits the catalog.
func (a Actor) edits(how store.Edit) store.Edit {
	how.By = a.fact(provision.CatalogChanged)
	return how
}

// PutGroup creates a group or replaces its description and items; devices of the group get the difference. created tells
// which it was. Stages default to required.
func (i *Intake) PutGroup(ctx context.Context, by Actor, g store.Group, how store.Edit) (saved store.Group, created bool, err error) {
	if g.Name, err = provision.CheckGroupName(g.Name); err != nil {
		return g, false, err
	}
	g.Description = strings.TrimSpace(g.Description)
	seen := map[provision.ItemKey]bool{}
	for n := range g.Items {
		if err := checkItem(&g.Items[n], n, seen); err != nil {
			return g, false, err
		}
	}
	return i.db.PutGroup(ctx, g, by.edits(how))
}

func checkItem(it *provision.Item, n int, seen map[provision.ItemKey]bool) error {
	if it.Stage == "" {
		it.Stage = provision.Required
	}
	if len(it.DependsOn) == 0 {
		it.DependsOn = nil
	}
	at := fmt.Sprintf("items[%d]", n)
	switch {
	case !provision.ValidStage(it.Stage):
		return provision.Errorf(provision.Invalid, "%.40q is no stage.", string(it.Stage)).At(at + ".stage")
	case !groupable(it.Key.Kind):
		return provision.Errorf(provision.Invalid, "%.40q is no kind of item.", string(it.Key.Kind)).At(at + ".kind")
	case seen[it.Key]:
		return provision.Errorf(provision.Invalid, "The group lists %s twice.", it.Key).At(at + ".name")
	}
	for m, dep := range it.DependsOn {
		if !groupable(dep.Kind) {
			return provision.Errorf(provision.Invalid, "%.40q is no kind of item.", string(dep.Kind)).At(fmt.Sprintf("%s.depends_on[%d].kind", at, m))
		}
	}
	seen[it.Key] = true
	return nil
}

func groupable(k provision.ItemKind) bool {
	return k == provision.ConfigurationItem || k == provision.AppItem || k == provision.DocumentItem
}

// DeleteGroup deletes a group that no device is assigned to.
func (i *Intake) DeleteGroup(ctx context.Context, name string, condition store.Condition) error {
	return i.db.DeleteGroup(ctx, name, condition)
}

// PutConfiguration creates a configuration or gives it new content, which [CheckConfiguration] must accept.
func (i *Intake) PutConfiguration(ctx context.Context, by Actor, u store.ConfigurationUpload, how store.Edit) (saved store.Configuration, created bool, err error) {
	if u.Name, err = provision.CheckItemName(u.Name); err != nil {
		return saved, false, err
	}
	if u.Identifier, err = CheckConfiguration(u.Payload); err != nil {
		return saved, false, err
	}
	return i.db.PutConfiguration(ctx, u, by.edits(how))
}

// DeleteConfiguration deletes a configuration that no group brings.
func (i *Intake) DeleteConfiguration(ctx context.Context, name string, condition store.Condition) error {
	return i.db.DeleteConfiguration(ctx, name, condition)
}

// bundleID is Apple's form of CFBundleIdentifier: letters, digits, hyphens and dots.
var bundleID = regexp.MustCompile(`^[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+$`)

// PutApp creates an app or changes where it comes from.
func (i *Intake) PutApp(ctx context.Context, by Actor, a store.App, how store.Edit) (saved store.App, created bool, err error) {
	if a.Name, err = provision.CheckItemName(a.Name); err != nil {
		return a, false, err
	}
	a.Description = strings.TrimSpace(a.Description)
	if !bundleID.MatchString(a.BundleID) {
		return a, false, provision.Errorf(provision.AppBad, "%.60q is not a bundle identifier such as com.example.app.", a.BundleID).At("bundle_id")
	}
	if (a.ManifestURL == "") == (a.StoreID == 0) {
		return a, false, provision.Errorf(provision.AppBad, "Give either manifest_url or store_id: where the app comes from.").At("manifest_url")
	}
	if a.ManifestURL != "" {
		// Devices take manifests over https only (Apple, InstallApplicationCommand).
		if !httpsAddress(a.ManifestURL) {
			return a, false, provision.Errorf(provision.AppBad, "%.100q is not an https address without user and fragment.", a.ManifestURL).At("manifest_url")
		}
	} else if a.StoreID < 0 {
		return a, false, provision.Errorf(provision.AppBad, "The App Store's number of an app is positive.").At("store_id")
	}
	return i.db.PutApp(ctx, a, by.edits(how))
}

// httpsAddress reports whether a device may be sent there: an https address without user and fragment.
func httpsAddress(raw string) bool {
	u, err := url.Parse(raw)
	return err == nil && u.Scheme == "https" && u.Hostname() != "" && u.User == nil && u.Fragment == ""
}

// DeleteApp deletes an app that no group brings.
func (i *Intake) DeleteApp(ctx context.Context, name string, condition store.Condition) error {
	return i.db.DeleteApp(ctx, name, condition)
}

// CreatePerson makes a person known.
func (i *Intake) CreatePerson(ctx context.Context, p provision.Person) (provision.Person, error) {
	p, err := provision.CheckPerson(p)
	if err != nil {
		return p, err
	}
	return i.db.CreatePerson(ctx, p)
}

// PutPerson replaces what is known of a person.
func (i *Intake) PutPerson(ctx context.Context, p provision.Person) (provision.Person, error) {
	p, err := provision.CheckPerson(p)
	if err != nil {
		return p, err
	}
	return i.db.UpdatePerson(ctx, p)
}
