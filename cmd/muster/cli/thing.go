package cli

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/muster-mdm/muster/api/client"
	"github.com/muster-mdm/muster/cmd/muster/settings"
)

// thing is what a YAML document of `muster apply` describes.
type thing struct {
	kind, name string
	from       string // file and line
	folder     string
	fields     map[string]any
}

// String names the thing for people.
func (t thing) String() string { return strings.ReplaceAll(t.kind, "_", " ") + " " + t.name }

// kinds in the order in which they can be made: groups name those before, and directories groups.
var kinds = []string{"configuration", "app", "document", "device_profile", "group", "directory"}

// readThings reads all documents, sorted so that each comes after what it names.
func readThings(paths []string, stdin io.Reader) ([]thing, error) {
	var all []thing
	var wrong []error // all that is wrong in whatever file, so that it is mended at once
	for _, path := range paths {
		files, err := yamlFiles(path)
		if err != nil {
			return nil, err
		}
		for _, f := range files {
			things, err := readFile(f, stdin)
			all, wrong = append(all, things...), append(wrong, err)
		}
	}
	if err := errors.Join(wrong...); err != nil {
		return nil, err
	}
	seen := map[string]string{}
	for _, t := range all {
		if before, twice := seen[t.String()]; twice {
			return nil, fmt.Errorf("%s: %s is described at %s already", t.from, t, before)
		}
		seen[t.String()] = t.from
	}
	slices.SortStableFunc(all, func(a, b thing) int { return slices.Index(kinds, a.kind) - slices.Index(kinds, b.kind) })
	return all, nil
}

func yamlFiles(path string) ([]string, error) {
	if path == "-" {
		return []string{path}, nil
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, err //nolint:wrapcheck // it says "stat" and the name
	}
	if !info.IsDir() {
		return []string{path}, nil
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, err //nolint:wrapcheck // as above
	}
	var files []string
	for _, e := range entries {
		if ext := filepath.Ext(e.Name()); !e.IsDir() && (ext == ".yaml" || ext == ".yml") {
			files = append(files, filepath.Join(path, e.Name()))
		}
	}
	if len(files) == 0 {
		return nil, settings.Misused("%s holds no .yaml or .yml file", path)
	}
	return files, nil
}

// readFile reads the things of one file; its error joins what is wrong with each of them.
func readFile(path string, stdin io.Reader) ([]thing, error) {
	in, err := open(path, stdin)
	if err != nil {
		return nil, err
	}
	defer func() { _ = in.Close() }()
	var things []thing
	var wrong []error
	for documents := yaml.NewDecoder(in); ; {
		var n yaml.Node
		err := documents.Decode(&n)
		if errors.Is(err, io.EOF) {
			return things, errors.Join(wrong...)
		}
		if err != nil {
			// What comes after it can't be told apart.
			return nil, errors.Join(append(wrong, fmt.Errorf("%s: %w", path, err))...)
		}
		t, err := thingAt(&n, path)
		switch {
		case err != nil:
			wrong = append(wrong, err)
		case t.fields != nil: // else there is nothing between two separators
			things = append(things, t)
		}
	}
}

// thingAt reads a document of a file.
func thingAt(n *yaml.Node, path string) (thing, error) {
	at := n.Line // of the separator above it, if there is one
	if len(n.Content) > 0 {
		at = n.Content[0].Line
	}
	t := thing{from: fmt.Sprintf("%s:%d", path, at), folder: filepath.Dir(path)}
	if len(n.Content) > 0 && n.Content[0].Kind != yaml.MappingNode && n.Content[0].Tag != "!!null" {
		return t, fmt.Errorf("%s: a document is the fields of a thing, such as kind: group", t.from)
	}
	if err := n.Decode(&t.fields); err != nil {
		return t, fmt.Errorf("%s: %w", t.from, err)
	}
	if t.fields == nil {
		return t, nil
	}
	return t, t.identify()
}

func (t *thing) identify() error {
	t.kind, _ = t.fields["kind"].(string)
	name := t.fields["name"]
	t.name, _ = name.(string)
	delete(t.fields, "kind")
	delete(t.fields, "name")
	if !slices.Contains(kinds, t.kind) {
		return fmt.Errorf("%s: kind %q is none; take %s", t.from, t.kind, strings.Join(kinds, ", "))
	}
	if t.name == "" && name != nil && name != "" {
		return fmt.Errorf("%s: the name of the %s is no text: put it in quotes", t.from, t.kind)
	}
	if t.name == "" {
		return fmt.Errorf("%s: the %s has no name", t.from, t.kind)
	}
	if _, err := t.text(); err != nil {
		return err
	}
	return nil
}

// profileFile is what a thing says of a configuration.
type profileFile struct {
	Description string `json:"description"`
	File        string `json:"file,omitempty"`
	SHA256      string `json:"sha256,omitempty"`
}

// as reads the thing's fields as T; unknown ones are named.
func as[T any](t thing) (T, error) {
	var v T
	raw, err := json.Marshal(t.fields)
	if err != nil {
		return v, fmt.Errorf("%s: %w", t.from, err)
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(&v); err != nil {
		return v, fmt.Errorf("%s: %s: %s", t.from, t, misread(err))
	}
	return v, nil
}

// misread says for people why fields can't be read.
func misread(err error) string {
	var other *json.UnmarshalTypeError
	if errors.As(err, &other) {
		is, _, _ := strings.Cut(other.Value, " ") // "number 1.5"
		return fmt.Sprintf("%q must be %s, not %s", other.Field, wordFor(other.Type), jsonWords[is])
	}
	return strings.TrimPrefix(err.Error(), "json: ")
}

// jsonWords names for people what package json found.
var jsonWords = map[string]string{"string": "text", "number": "a number", "bool": "true or false", "array": "a list", "object": "fields with names"}

// wordFor names for people what a field of a type holds.
func wordFor(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Int, reflect.Int64:
		return "a whole number"
	case reflect.Bool:
		return "true or false"
	case reflect.String:
		return "text"
	case reflect.Slice:
		return "a list"
	}
	return "fields with names"
}

// text is what the thing is to be, as YAML with all defaults filled in.
func (t thing) text() (string, error) {
	var v any
	var err error
	switch t.kind {
	case "configuration":
		v, _, err = t.profile()
	case "app":
		var in client.AppInput
		in, err = as[client.AppInput](t)
		v = fullApp(in)
	case "document":
		v, _, err = t.document()
	case "device_profile":
		var in client.DeviceProfileInput
		in, err = as[client.DeviceProfileInput](t)
		v = fullProfile(in)
	case "group":
		var in client.GroupInput
		in, err = as[client.GroupInput](t)
		v = fullGroup(in)
	case "directory":
		var in client.DirectoryInput
		if in, err = t.directory(); err == nil {
			v, err = plainDirectory(in, in.ClientSecret != nil)
		}
	}
	if err != nil {
		return "", err
	}
	return textOf(v)
}

func textOf(v any) (string, error) {
	text, err := inYAML(v)
	return string(text), err
}

// profile reads the file of a configuration.
func (t thing) profile() (p profileFile, content []byte, err error) {
	if p, err = as[profileFile](t); err != nil {
		return p, nil, err
	}
	if p.File == "" {
		return p, nil, fmt.Errorf("%s: %s names no file", t.from, t)
	}
	if content, err = os.ReadFile(t.path(p.File)); err != nil {
		return p, nil, err //nolint:wrapcheck // it says "open" and the name
	}
	return profileFile{Description: p.Description, SHA256: sumOf(content)}, content, nil
}

func sumOf(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}

func fullApp(in client.AppInput) client.AppInput {
	in.Description = filled(in.Description, "")
	return in
}

func fullProfile(in client.DeviceProfileInput) client.DeviceProfileInput {
	in.Description = filled(in.Description, "")
	in.ActivationMode = filled(in.ActivationMode, client.ByAdmin)
	if in.Fields == nil {
		in.Fields = map[string]any{}
	}
	return in
}

func fullGroup(in client.GroupInput) client.GroupInput {
	in.Description = filled(in.Description, "")
	in.DeviceProfile = filled(in.DeviceProfile, "")
	items := make([]client.GroupItem, len(in.Items))
	for i, it := range in.Items {
		it.Stage = filled(it.Stage, client.Required)
		if len(value(it.DependsOn)) == 0 {
			it.DependsOn = nil
		}
		items[i] = it
	}
	in.Items = items
	return in
}

// filled is p, or a pointer to the default.
func filled[T any](p *T, byDefault T) *T {
	if p == nil {
		return &byDefault
	}
	return p
}

// current is what the thing is on the server, in the form of text, and its version.
func (t thing) current(ctx context.Context, api *client.Client) (text string, version int64, err error) {
	var v any
	switch t.kind {
	case "configuration":
		var c client.Configuration
		var content []byte
		if c, err = ask[client.Configuration](api.GetConfiguration(ctx, t.name)); err == nil {
			content, err = answer(api.GetConfigurationContent(ctx, t.name))
		}
		v, version = profileFile{Description: c.Description, SHA256: sumOf(content)}, c.Version
	case "app":
		var a client.App
		a, err = ask[client.App](api.GetApp(ctx, t.name))
		v, version = fullApp(client.AppInput{BundleId: a.BundleId, Description: &a.Description, ManifestUrl: a.ManifestUrl, StoreId: a.StoreId}), a.Version
	case "document":
		var d client.Document
		v, d, err = currentDocument(ctx, api, t.name)
		version = d.Version
	case "device_profile":
		var p client.DeviceProfile
		p, err = ask[client.DeviceProfile](api.GetDeviceProfile(ctx, t.name))
		v, version = fullProfile(client.DeviceProfileInput{ActivationMode: &p.ActivationMode, Description: &p.Description, Fields: p.Fields}), p.Version
	case "group":
		var g client.Group
		g, err = ask[client.Group](api.GetGroup(ctx, t.name))
		v, version = fullGroup(client.GroupInput{Description: &g.Description, DeviceProfile: g.DeviceProfile, Items: g.Items}), g.Version
	case "directory":
		var d client.Directory
		if d, err = ask[client.Directory](api.GetDirectory(ctx, t.name)); err == nil {
			version = d.Version
			v, err = plainDirectory(d.Input(), d.HasClientSecret && t.hasSecretFile())
		}
	}
	if err != nil {
		return "", 0, err
	}
	text, err = textOf(v)
	return text, version, err
}

// putting is how a thing is put.
type putting struct {
	// version is the one that is edited; 0 = there is none yet.
	version int64
	// dry says that Muster only tries it, with those things taken for being there: see the API's assume.
	dry    bool
	assume []string
}

func (p putting) match() *string {
	if p.version == 0 {
		return nil
	}
	return etag(p.version)
}

func (p putting) assumed() *[]string {
	if len(p.assume) == 0 {
		return nil
	}
	return &p.assume
}

// put makes the thing, or edits it unless somebody else did so meanwhile, and returns what Muster says that it is then.
func (t thing) put(ctx context.Context, api *client.Client, how putting) ([]byte, error) {
	match, dry := how.match(), given(how.dry)
	var res *http.Response
	var err error
	switch t.kind {
	case "configuration":
		p, content, readErr := t.profile()
		if readErr != nil {
			return nil, readErr
		}
		res, err = api.PutConfigurationWithBody(ctx, t.name, &client.PutConfigurationParams{Description: &p.Description, IfMatch: match, DryRun: dry}, "application/x-apple-aspen-config", bytes.NewReader(content)) //nolint:bodyclose // answer closes it
	case "app":
		in, _ := as[client.AppInput](t)                                                           // it was read before
		res, err = api.PutApp(ctx, t.name, &client.PutAppParams{IfMatch: match, DryRun: dry}, in) //nolint:bodyclose // answer closes it
	case "document":
		res, err = t.putDocument(ctx, api, how) //nolint:bodyclose // answer closes it
	case "device_profile":
		in, _ := as[client.DeviceProfileInput](t)
		res, err = api.PutDeviceProfile(ctx, t.name, &client.PutDeviceProfileParams{IfMatch: match, DryRun: dry}, fullProfile(in)) //nolint:bodyclose // answer closes it
	case "group":
		in, _ := as[client.GroupInput](t)
		full := fullGroup(in)
		full.DeviceProfile = given(value(full.DeviceProfile))
		res, err = api.PutGroup(ctx, t.name, &client.PutGroupParams{IfMatch: match, DryRun: dry, Assume: how.assumed()}, full) //nolint:bodyclose // answer closes it
	case "directory":
		in, readErr := t.directory()
		if readErr != nil {
			return nil, readErr
		}
		res, err = api.PutDirectory(ctx, t.name, &client.PutDirectoryParams{IfMatch: match, DryRun: dry, Assume: how.assumed()}, in) //nolint:bodyclose // answer closes it
	}
	return answer(res, err)
}
