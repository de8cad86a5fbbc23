package rehearse

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/muster-mdm/muster/cmd/muster/paper"
)

// The words of the catalog, spelled as the API takes them.
const (
	configuration = "configuration"
	app           = "app"
	document      = "document"

	beforeRelease = "before_release"
	required      = "required"
	bestEffort    = "best_effort"
)

// thing is a configuration, an app or a document.
type thing struct {
	kind, name string
	identifier string // payload identifier, bundle identifier, or what a document holds
	storeID    int64  // apps from the store; the others have a manifest
}

func (t thing) key() string { return t.kind + "/" + t.name }

// manifestURL is where an app that isn't from the store comes from.
func (t thing) manifestURL() string { return "https://apps.example.com/" + t.name + "/manifest.plist" }

// member is a thing in a group.
type member struct {
	thing
	stage string
	after []string // names of things in the same group that must be on the device before
}

type group struct {
	name    string
	members []member
}

// catalog is what the rehearsed organisation has.
type catalog struct {
	groups []group
	people []person
}

type person struct {
	name, email string
	technician  bool
}

func profileThing(name string) thing {
	return thing{kind: configuration, name: name, identifier: "com.example." + name}
}

func appThing(name string, storeID int64) thing {
	return thing{kind: app, name: name, identifier: "com.example.app." + name, storeID: storeID}
}

// documentThing is known by what it holds, so that a device that has another file than this one hasn't got it.
func documentThing(name string) thing {
	sum := sha256.Sum256(documentFile(name))
	return thing{kind: document, name: name, identifier: contentKey(hex.EncodeToString(sum[:]))}
}

// contentKey names what holds these bytes.
func contentKey(sha256 string) string { return "document " + sha256 }

func documentFile(name string) []byte {
	return paper.PDF(name, "This is what a device of the rehearsal reads.")
}

// Names that lives refer to.
const (
	drivers, sales, kiosk, plain = "drivers", "sales", "kiosk", "plain"
	// Basic brings one configuration and one app, which is how groups begin.
	Basic = "basic"

	requiredApp   = "com.example.app.routes"  // of the drivers; the dispatch profile needs it
	bestEffortApp = "com.example.app.weather" // of the drivers
)

// rehearsalCatalog has every stage, dependencies within and across kinds, things that two groups share, apps of both sources, and a
// document.
func rehearsalCatalog() catalog {
	handbook := documentThing("handbook")
	wifi, vpn, passcode := profileThing("wifi"), profileThing("vpn"), profileThing("passcode")
	return catalog{
		groups: []group{
			{name: drivers, members: []member{
				{thing: wifi, stage: beforeRelease},
				{thing: appThing("routes", 0), stage: required, after: []string{"wifi"}},
				{thing: profileThing("dispatch"), stage: required, after: []string{"routes"}},
				{thing: appThing("weather", 361309726), stage: bestEffort},
				{thing: handbook, stage: required, after: []string{"wifi"}},
			}},
			{name: sales, members: []member{
				{thing: wifi, stage: required},
				{thing: vpn, stage: required, after: []string{"wifi"}},
				{thing: appThing("offers", 284882215), stage: required},
				{thing: handbook, stage: bestEffort},
			}},
			{name: kiosk, members: []member{
				{thing: passcode, stage: beforeRelease},
				{thing: appThing("till", 0), stage: beforeRelease},
				{thing: profileThing("home-screen"), stage: required, after: []string{"till"}},
			}},
			{name: Basic, members: []member{
				{thing: wifi, stage: required},
				{thing: appThing("offers", 284882215), stage: required},
			}},
			{name: plain},
		},
		people: []person{
			{name: "ANDREW", email: "andrew@example.com"},
			{name: "BERTA", email: "berta@example.com"},
			{name: "TESSA", email: "tessa@example.com", technician: true},
		},
	}
}

// things lists each thing once.
func (c catalog) things() []thing {
	var all []thing
	seen := map[string]bool{}
	for _, g := range c.groups {
		for _, m := range g.members {
			if !seen[m.key()] {
				seen[m.key()] = true
				all = append(all, m.thing)
			}
		}
	}
	return all
}

// members lists what some groups bring together.
func (c catalog) members(groups []string) []member {
	var all []member
	for _, name := range groups {
		for _, g := range c.groups {
			if g.name == name {
				all = append(all, g.members...)
			}
		}
	}
	return all
}

// Sources tells virtual devices which app a manifest or a store number of the rehearsed organisation means.
func Sources() map[string]string { return rehearsalCatalog().sources() }

// sources tells virtual devices which app a manifest or a store number means.
func (c catalog) sources() map[string]string {
	sources := map[string]string{}
	for _, t := range c.things() {
		switch {
		case t.kind == app && t.storeID > 0:
			sources[fmt.Sprint(t.storeID)] = t.identifier
		case t.kind == app:
			sources[t.manifestURL()] = t.identifier
		}
	}
	return sources
}

const mobileconfig = `<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0">
<dict>
	<key>PayloadType</key><string>Configuration</string>
	<key>PayloadVersion</key><integer>1</integer>
	<key>PayloadIdentifier</key><string>IDENTIFIER</string>
	<key>PayloadUUID</key><string>IDENTIFIER.uuid</string>
	<key>PayloadDisplayName</key><string>IDENTIFIER</string>
	<key>PayloadContent</key>
	<array>
		<dict>
			<key>PayloadType</key><string>com.apple.webClip.managed</string>
			<key>PayloadVersion</key><integer>1</integer>
			<key>PayloadIdentifier</key><string>IDENTIFIER.clip</string>
			<key>PayloadUUID</key><string>IDENTIFIER.clip.uuid</string>
			<key>Label</key><string>IDENTIFIER</string>
			<key>URL</key><string>https://www.example.com/</string>
		</dict>
	</array>
</dict>
</plist>
`

// content is the configuration profile of a configuration.
func (t thing) content() string { return strings.ReplaceAll(mobileconfig, "IDENTIFIER", t.identifier) }
