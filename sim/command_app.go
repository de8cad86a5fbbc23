package sim

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	removeWithProfile = 1 // ManagementFlags bit: the app goes when the enrollment does
	maxManifest       = 1 << 20
	// Before this version, apps can't be installed while Setup Assistant runs.
	appsInSetupSince = 16
)

// app is a managed app. Its state follows from the clock, so that nothing has to run while it installs.
type app struct {
	id      string
	content string
	flags   int64
	config  bool
	installation
}

// installation is how something comes onto the device.
type installation struct {
	update  bool // it was there before
	started time.Time
	done    time.Time
	fails   bool
}

// state is that of apps and books that a server manages, in Apple's words.
func (i installation) state(now time.Time) string {
	switch {
	case now.Before(i.started.Add(i.done.Sub(i.started) / 4)):
		return "Queued"
	case now.Before(i.done) && i.update:
		return "Updating"
	case now.Before(i.done):
		return "Installing"
	case i.fails:
		return "Failed"
	}
	return "Managed"
}

// begin draws how long the installation of a target takes and whether it fails.
func (d *Device) begin(target string, update bool) installation {
	now := d.now()
	draw := d.chance.of("install", target, strconv.Itoa(d.journal.seq))
	return installation{
		update: update, started: now, done: now.Add(d.cfg.Faults.Install.pick(draw)), fails: d.due("fail", target, d.cfg.Faults.Fail),
	}
}

// told is the state in the answer to the command: nothing fails before that is answered.
func (i installation) told() string {
	if state := i.state(i.started); state != "Failed" {
		return state
	}
	return "Installing"
}

// tooEarly tells what an old iOS puts off while Setup Assistant runs.
func (d *Device) tooEarly(c *command) bool {
	major, _, _ := strings.Cut(d.state.system.version, ".")
	version, err := strconv.Atoi(major)
	return c.requestType == "InstallApplication" && d.state.awaiting && err == nil && version < appsInSetupSince
}

// bundleID finds out which app a command means: by the manifest itself, the catalog, or the Identifier key.
func (d *Device) bundleID(ctx context.Context, e *enrolment, body dict) (string, error) {
	manifest := text(body, "ManifestURL")
	store, fromStore := integer(body, "iTunesStoreID")
	key := manifest
	if fromStore {
		key = strconv.FormatInt(store, 10)
	}
	if manifest != "" && d.cfg.FetchManifests {
		id, err := fetchManifest(ctx, e.client, manifest)
		if err != nil {
			return manifest, mdmError(mdmManifestInvalid, "The app manifest could not be validated: "+err.Error())
		}
		return id, nil
	}
	if id := d.cfg.Catalog[key]; id != "" {
		return id, nil
	}
	if id := text(body, "Identifier"); id != "" {
		return id, nil
	}
	if fromStore {
		return key, mdmError(mdmStoreIDInvalid, fmt.Sprintf("The iTunes Store ID “%s” could not be validated.", key))
	}
	return key, mdmError(mdmManifestInvalid, "The app manifest could not be validated.")
}

func fetchManifest(ctx context.Context, client *http.Client, address string) (string, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return "", err
	}
	resp, err := client.Do(r)
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }() // read to its end below
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxManifest))
	if err != nil {
		return "", err
	}
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("the server answered %d", resp.StatusCode)
	}
	manifest, err := decode(body)
	if err != nil {
		return "", err
	}
	for _, item := range list(manifest, "items") {
		if d, ok := item.(dict); ok {
			if id := text(child(d, "metadata"), "bundle-identifier"); id != "" {
				return id, nil
			}
		}
	}
	return "", fmt.Errorf("the manifest names no bundle identifier")
}

func (d *Device) installApplication(c *command) result {
	a := &app{id: c.target, content: c.content, installation: d.begin(c.target, d.state.apps[c.target] != nil)}
	a.flags, _ = integer(c.body, "ManagementFlags")
	a.config = child(c.body, "Configuration") != nil
	d.state.apps[c.target] = a
	return acknowledged(dict{"Identifier": c.target, "State": a.told()})
}

func (d *Device) removeApplication(c *command) result {
	if _, ok := d.state.apps[c.target]; !ok {
		return failed(mdmError(mdmMalformedRequest, fmt.Sprintf("The app “%s” is not managed.", c.target)))
	}
	delete(d.state.apps, c.target)
	return acknowledged(nil)
}

func (d *Device) managedApplicationList(c *command) result {
	wanted := stringsAt(c.body, "Identifiers")
	listed := dict{}
	for _, id := range slices.Sorted(maps.Keys(d.state.apps)) {
		if len(wanted) > 0 && !slices.Contains(wanted, id) {
			continue
		}
		a := d.state.apps[id]
		state := a.state(d.now())
		listed[id] = dict{
			"Status":          state,
			"ManagementFlags": a.flags,
			// The schema asks for every key; an app that was never bought by code has no code left over.
			"UnusedRedemptionCode":      "",
			"HasConfiguration":          a.config,
			"HasFeedback":               false,
			"IsValidated":               true,
			"ExternalVersionIdentifier": 1,
		}
		if state == "Failed" { // transient: reported once
			delete(d.state.apps, id)
			d.journal.undone("InstallApplication", id)
		}
	}
	return acknowledged(dict{"ManagedApplicationList": listed})
}

func (d *Device) installedApplicationList(c *command) result {
	wanted := stringsAt(c.body, "Identifiers")
	listed := []any{}
	for _, id := range slices.Sorted(maps.Keys(d.state.apps)) {
		state := d.state.apps[id].state(d.now())
		if len(wanted) > 0 && !slices.Contains(wanted, id) || state == "Failed" {
			continue
		}
		listed = append(listed, selected(dict{
			"Identifier":   id,
			"Name":         id[strings.LastIndex(id, ".")+1:],
			"Version":      "1",
			"ShortVersion": "1.0",
			"BundleSize":   1 << 20,
			"DynamicSize":  1 << 16,
			"IsValidated":  true,
			"Installing":   state != "Managed",
		}, stringsAt(c.body, "Items")))
	}
	return acknowledged(dict{"InstalledApplicationList": listed})
}

// selected keeps the items that were asked for; none means all.
func selected(item dict, wanted []string) dict {
	if len(wanted) > 0 {
		maps.DeleteFunc(item, func(key string, _ any) bool { return !slices.Contains(wanted, key) })
	}
	return item
}

// DeleteApp removes an app as the device's user would; the device keeps quiet about it until it is asked.
// It returns false when there is no such app.
func (d *Device) DeleteApp(bundleID string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, ok := d.state.apps[bundleID]; !ok {
		return false
	}
	delete(d.state.apps, bundleID)
	d.journal.undone("InstallApplication", bundleID)
	return true
}
