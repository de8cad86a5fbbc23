package dev

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"strings"

	"github.com/google/uuid"

	"github.com/muster-mdm/muster/api/client"
	"github.com/muster-mdm/muster/cmd/muster/paper"
)

// person is a user of the demonstration.
type person struct{ name, email string }

var people = []person{
	{"ANDREW", "andrew@zylker.com"},
	{"BELLA", "bella@zylker.com"},
	{"CHEN", "chen@zylker.com"},
	{"DIVYA", "divya@zylker.com"},
	{"EMRE", "emre@zylker.com"},
	{"FATIMA", "fatima@zylker.com"},
	{"GRACE", "grace@zylker.com"},
	{"HUGO", "hugo@zylker.com"},
}

const technician = "TESSA"

// configuration is a profile with one payload.
type configuration struct {
	name, identifier, title, payload string
}

var configurations = []configuration{
	{"wifi", "com.zylker.wifi", "Zylker Wi-Fi", `<key>PayloadType</key><string>com.apple.wifi.managed</string>
			<key>SSID_STR</key><string>zylker</string><key>EncryptionType</key><string>None</string>
			<key>HIDDEN_NETWORK</key><false/><key>AutoJoin</key><true/>`},
	{"restrictions", "com.zylker.restrictions", "Zylker restrictions", `<key>PayloadType</key><string>com.apple.applicationaccess</string>
			<key>allowCamera</key><true/><key>forceEncryptedBackup</key><true/>`},
	{"passcode", "com.zylker.passcode", "Zylker passcode", `<key>PayloadType</key><string>com.apple.mobiledevice.passwordpolicy</string>
			<key>forcePIN</key><true/><key>minLength</key><integer>6</integer>`},
}

// app comes from a manifest or from the App Store.
type app struct {
	name, bundleID, manifest string
	store                    int64
}

var apps = []app{
	{name: "routes", bundleID: "com.zylker.routes", manifest: "https://apps.zylker.example/routes/manifest.plist"},
	{name: "timesheet", bundleID: "com.zylker.timesheet", manifest: "https://apps.zylker.example/timesheet/manifest.plist"},
	{name: "pages", bundleID: "com.apple.Pages", store: 361309726},
}

// document is a file that a group brings, with what devices call it.
type document struct {
	name, title, author string
	lines               []string
}

var documents = []document{
	{"handbook", "The drivers' handbook", "Zylker", []string{
		"Keep the tablet charged.", "Start the app Routes before you leave the depot.", "Call dispatch when a road is closed.",
	}},
}

// catalog tells the virtual devices which app a source leads to.
func catalog() map[string]string {
	c := map[string]string{}
	for _, a := range apps {
		source := a.manifest
		if a.store != 0 {
			source = fmt.Sprint(a.store)
		}
		c[source] = a.bundleID
	}
	return c
}

func (c configuration) profile() []byte {
	id := func(what string) string {
		return strings.ToUpper(uuid.NewSHA1(uuid.NameSpaceDNS, []byte(c.identifier+what)).String())
	}
	return fmt.Appendf(nil, `<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0"><dict>
	<key>PayloadType</key><string>Configuration</string><key>PayloadVersion</key><integer>1</integer>
	<key>PayloadIdentifier</key><string>%s</string><key>PayloadUUID</key><string>%s</string>
	<key>PayloadDisplayName</key><string>%s</string>
	<key>PayloadContent</key><array><dict>
			%s
			<key>PayloadVersion</key><integer>1</integer>
			<key>PayloadIdentifier</key><string>%s.payload</string><key>PayloadUUID</key><string>%s</string>
	</dict></array>
</dict></plist>
`, c.identifier, id(""), c.title, c.payload, c.identifier, id("payload"))
}

// seedOnce creates the demonstration's catalog in a database that hasn't had it yet: what people change or remove later
// stays as they left it. The file names the database.
func (d *demo) seedOnce(ctx context.Context, file, database string) error {
	kept, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("reading which database has the demonstration's catalog: %w", err)
	}
	if string(kept) == database {
		return nil
	}
	if err := d.seedCatalog(ctx); err != nil {
		return err
	}
	if err := writeWhole(file, []byte(database)); err != nil {
		return fmt.Errorf("keeping which database has the demonstration's catalog: %w", err)
	}
	return nil
}

// seedCatalog creates what the demonstration's groups bring. Doing it again changes nothing.
func (d *demo) seedCatalog(ctx context.Context) error {
	for _, c := range configurations {
		res, err := d.api.PutConfigurationWithBodyWithResponse(ctx, c.name, nil, "application/x-apple-aspen-config", bytes.NewReader(c.profile()))
		if err != nil {
			return fmt.Errorf("creating configuration %s: %w", c.name, err)
		}
		if err := wanted("creating configuration "+c.name, res.StatusCode(), res.Body, http.StatusOK, http.StatusCreated); err != nil {
			return err
		}
	}
	for _, a := range apps {
		input := client.AppInput{BundleId: a.bundleID}
		if a.store != 0 {
			input.StoreId = &a.store
		} else {
			input.ManifestUrl = &a.manifest
		}
		res, err := d.api.PutAppWithResponse(ctx, a.name, nil, input)
		if err != nil {
			return fmt.Errorf("creating app %s: %w", a.name, err)
		}
		if err := wanted("creating app "+a.name, res.StatusCode(), res.Body, http.StatusOK, http.StatusCreated); err != nil {
			return err
		}
	}
	if err := d.seedDocuments(ctx); err != nil {
		return err
	}
	return d.seedGroups(ctx)
}

func (d *demo) seedDocuments(ctx context.Context) error {
	for _, doc := range documents {
		params := &client.PutDocumentContentParams{Title: &doc.title, Author: &doc.author}
		file := bytes.NewReader(paper.PDF(doc.title, doc.lines...))
		res, err := d.api.PutDocumentContentWithBodyWithResponse(ctx, doc.name, params, "application/octet-stream", file)
		if err != nil {
			return fmt.Errorf("uploading document %s: %w", doc.name, err)
		}
		if err := wanted("uploading document "+doc.name, res.StatusCode(), res.Body, http.StatusOK, http.StatusCreated); err != nil {
			return err
		}
	}
	return nil
}

func (d *demo) seedGroups(ctx context.Context) error {
	item := func(kind client.ItemKind, name string, stage client.Stage, after ...string) client.GroupItem {
		it := client.GroupItem{Kind: kind, Name: name, Stage: &stage}
		if len(after) > 0 {
			deps := []client.ItemRef{}
			for _, dep := range after {
				deps = append(deps, client.ItemRef{Kind: client.ConfigurationItem, Name: dep})
			}
			it.DependsOn = &deps
		}
		return it
	}
	groups := map[string][]client.GroupItem{
		"zylker_drivers": {
			item(client.ConfigurationItem, "wifi", client.BeforeRelease), item(client.ConfigurationItem, "restrictions", client.Required),
			item(client.AppItem, "routes", client.Required, "wifi"), item(client.DocumentItem, "handbook", client.Required, "wifi"),
		},
		"zylker_office": {
			item(client.ConfigurationItem, "wifi", client.BeforeRelease), item(client.ConfigurationItem, "passcode", client.Required),
			item(client.AppItem, "timesheet", client.Required), item(client.AppItem, "pages", client.BestEffort),
		},
	}
	for name, items := range groups {
		res, err := d.api.PutGroupWithResponse(ctx, name, nil, client.GroupInput{Items: items})
		if err != nil {
			return fmt.Errorf("creating group %s: %w", name, err)
		}
		if err := wanted("creating group "+name, res.StatusCode(), res.Body, http.StatusOK, http.StatusCreated); err != nil {
			return err
		}
	}
	isTechnician := true
	res, err := d.api.CreatePersonWithResponse(ctx, nil, client.PersonInput{Name: technician, Email: "tessa@zylker.com", Technician: &isTechnician})
	if err != nil {
		return fmt.Errorf("creating technician %s: %w", technician, err)
	}
	return wanted("creating technician "+technician, res.StatusCode(), res.Body, http.StatusOK, http.StatusCreated, http.StatusConflict)
}

func assignment(p person, groups []string) client.AssignmentInput {
	var input client.AssignmentInput
	input.Groups = &groups
	input.User = &struct {
		Domain *string `json:"domain,omitempty"`
		Email  string  `json:"email"`
		Name   string  `json:"name"`
	}{Email: p.email, Name: p.name}
	return input
}
