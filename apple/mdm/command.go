package mdm

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/jessepeterson/mdmcommands"
	"github.com/micromdm/plist"

	"github.com/muster-mdm/muster/provision"
)

// Values of InstallApplication (Apple, InstallApplicationCommand.Command).
const (
	removeWithProfile = 1 // ManagementFlags: the app goes when the enrollment does
	byVolumePurchase  = 1 // Options.PurchaseMethod: no Apple Account has to sign in on the device
	takeOver          = "Managed"
)

// queries are what DeviceInformation asks for: keys that every platform and any enrollment allows, and that
// [Information] has room for.
var queries = []string{"DeviceName", "ModelName", "Model", "ProductName", "OSVersion", "BuildVersion"}

// Encode writes an order as the XML property list that a device fetches. It fails when the order lacks what its command
// can't do without.
func Encode(o provision.Order) ([]byte, error) {
	if o.UUID == "" {
		return nil, fmt.Errorf("encoding %s: the order has no UUID", o.Command.Type)
	}
	command, err := command(o)
	if err != nil {
		return nil, fmt.Errorf("encoding %s: %w", o.Command.Type, err)
	}
	raw, err := plist.MarshalIndent(command, "\t")
	if err != nil {
		return nil, fmt.Errorf("encoding %s: %w", o.Command.Type, err)
	}
	return raw, nil
}

func command(o provision.Order) (any, error) {
	switch o.Command.Type {
	case provision.InstallProfile:
		if len(o.Payload) == 0 {
			return nil, fmt.Errorf("the profile is empty")
		}
		c := mdmcommands.NewInstallProfileCommand(o.UUID)
		c.Command.Payload = o.Payload
		return c, nil
	case provision.InstallApplication:
		return installApplication(o)
	case provision.RemoveProfile:
		c := mdmcommands.NewRemoveProfileCommand(o.UUID)
		c.Command.Identifier = o.Command.Identifier
		return c, identified(o)
	case provision.RemoveApplication:
		c := mdmcommands.NewRemoveApplicationCommand(o.UUID)
		c.Command.Identifier = o.Command.Identifier
		return c, identified(o)
	case provision.ManagedApplicationList:
		return newManagedApplicationList(o), nil
	case provision.InstallMedia:
		return installMedia(o)
	case provision.RemoveMedia:
		c := mdmcommands.NewRemoveMediaCommand(o.UUID)
		c.Command.MediaType, c.Command.PersistentID = book, pointer(o.Command.Identifier)
		return c, identified(o)
	case provision.ManagedMediaList:
		return mdmcommands.NewManagedMediaListCommand(o.UUID), nil
	case provision.DeviceInformationQuery:
		c := mdmcommands.NewDeviceInformationCommand(o.UUID)
		c.Command.Queries = queries
		return c, nil
	case provision.ProfileList:
		return mdmcommands.NewProfileListCommand(o.UUID), nil
	case provision.DeviceConfigured:
		return mdmcommands.NewDeviceConfiguredCommand(o.UUID), nil
	case provision.EraseDevice:
		return mdmcommands.NewEraseDeviceCommand(o.UUID), nil
	}
	return nil, fmt.Errorf("the command is not one that Muster sends")
}

func identified(o provision.Order) error {
	if o.Command.Identifier == "" {
		return fmt.Errorf("it names no identifier")
	}
	return nil
}

func installApplication(o provision.Order) (any, error) {
	c := mdmcommands.NewInstallApplicationCommand(o.UUID)
	c.Command.ManagementFlags = pointer(removeWithProfile)
	// Without it, an app that its user had before stays unmanaged for ever.
	c.Command.ChangeManagementState = pointer(takeOver)
	switch {
	case o.ManifestURL != "" && o.StoreID == 0:
		c.Command.ManifestURL = pointer(o.ManifestURL)
		return c, nil
	case o.StoreID > 0 && o.ManifestURL == "":
		c.Command.ITunesStoreID = pointer(int(o.StoreID))
		c.Command.Options = &mdmcommands.Options{PurchaseMethod: pointer(byVolumePurchase)}
		if o.Command.Identifier != "" {
			c.Command.Identifier = pointer(o.Command.Identifier)
		}
		return c, nil
	}
	return nil, fmt.Errorf("an app comes either from a manifest or from the App Store")
}

// book is the only type of media that there is (Apple, InstallMediaCommand.Command).
const book = "Book"

// installMedia names the content as the version, which the device lists: by it an update is told from what was there before.
func installMedia(o provision.Order) (any, error) {
	d := o.Document
	switch {
	case d.URL == "":
		return nil, fmt.Errorf("the document has no address")
	case !provision.ValidDocumentFormat(d.Format):
		return nil, fmt.Errorf("%q is no format of documents", d.Format)
	}
	c := mdmcommands.NewInstallMediaCommand(o.UUID)
	c.Command.MediaType, c.Command.MediaURL = book, pointer(d.URL)
	c.Command.PersistentID = pointer(o.Command.Identifier)
	c.Command.Kind, c.Command.Version = pointer(string(d.Format)), pointer(strconv.Itoa(o.Command.Version))
	if d.Title != "" {
		c.Command.Title = pointer(d.Title)
	}
	if d.Author != "" {
		c.Command.Author = pointer(d.Author)
	}
	return c, identified(o)
}

// managedApplicationList is missing in mdmcommands.
type managedApplicationList struct {
	Command struct {
		RequestType string
		Identifiers []string `plist:",omitempty"`
	}
	CommandUUID string
}

func newManagedApplicationList(o provision.Order) *managedApplicationList {
	c := &managedApplicationList{CommandUUID: o.UUID}
	c.Command.RequestType = string(provision.ManagedApplicationList)
	c.Command.Identifiers = o.Command.Identifiers
	return c
}

func pointer[T any](v T) *T { return &v }

// oneLine joins what has line breaks and runs of blanks into one line.
func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
