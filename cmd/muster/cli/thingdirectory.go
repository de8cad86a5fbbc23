package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"

	"github.com/muster-mdm/muster/api/client"
)

// directoryFile is what a document says of a directory: the API's fields, but that kind is taken for the document's own, and
// that certificates and secrets may be, or are, in files.
type directoryFile struct {
	client.DirectoryInput
	Type             client.DirectoryKind `json:"type"`
	CAFile           string               `json:"ca_file"`
	ClientSecretFile string               `json:"client_secret_file"`
}

// directory reads the document and the files that it names.
func (t thing) directory() (client.DirectoryInput, error) {
	f, err := as[directoryFile](t)
	in := f.DirectoryInput
	switch {
	case err != nil:
		return in, err
	case f.ClientSecret != nil:
		return in, fmt.Errorf("%s: %s: a secret doesn't belong into the document; put it into a file, and name that by client_secret_file", t.from, t)
	case f.CAFile != "" && f.Ca != nil:
		return in, fmt.Errorf("%s: %s has both ca and ca_file; give one of them", t.from, t)
	case f.Type == "":
		return in, fmt.Errorf("%s: %s has no type; take active_directory, ldap or oidc", t.from, t)
	}
	in.Kind = f.Type
	if f.CAFile != "" {
		text, err := os.ReadFile(t.path(f.CAFile))
		if err != nil {
			return in, err //nolint:wrapcheck // it says "open" and the name
		}
		in.Ca = given(string(text))
	}
	if f.ClientSecretFile != "" {
		file, err := os.Open(t.path(f.ClientSecretFile))
		if err != nil {
			return in, err //nolint:wrapcheck // as above
		}
		defer func() { _ = file.Close() }()
		secret, err := firstLine(file, file.Name()+" holds no client secret")
		if err != nil {
			return in, err
		}
		in.ClientSecret = &secret
	}
	return in, nil
}

// path is a file that the document names.
func (t thing) path(file string) string {
	if filepath.IsAbs(file) {
		return file
	}
	return filepath.Join(t.folder, file)
}

// plainDirectory is a directory's settings without what is the default, for people to compare: certificates as their sum, and of
// a secret that there is one.
func plainDirectory(in client.DirectoryInput, secret bool) (map[string]any, error) {
	in.ClientSecret = nil
	raw, err := json.Marshal(in) //nolint:gosec // the secret was just taken out
	if err != nil {
		return nil, fmt.Errorf("writing a directory: %w", err)
	}
	var fields map[string]any
	if err := json.Unmarshal(raw, &fields); err != nil {
		return nil, fmt.Errorf("reading a directory: %w", err)
	}
	maps.DeleteFunc(fields, func(_ string, v any) bool {
		switch v := v.(type) {
		case string:
			return v == ""
		case bool:
			return !v
		case []any:
			return len(v) == 0
		case map[string]any:
			return len(v) == 0
		}
		return v == nil
	})
	fields["type"] = fields["kind"]
	delete(fields, "kind")
	if ca, ok := fields["ca"].(string); ok {
		fields["ca_sha256"] = sumOf([]byte(strings.TrimSpace(ca)))
		delete(fields, "ca")
	}
	if secret {
		fields["client_secret"] = "stored"
	}
	return fields, nil
}

// hasSecretFile reports whether the document names a secret.
func (t thing) hasSecretFile() bool { return t.fields["client_secret_file"] != nil }

// secretAgain gives the secret of a directory that is as the document says otherwise: the API shows no secrets, so nobody can
// compare them.
func (a *application) secretAgain(ctx context.Context, t thing, version int64) error {
	if !t.hasSecretFile() {
		return nil
	}
	if a.dry != nil {
		a.say("%s: its client secret would be given again; Muster shows nobody whether it is another one.\n", t)
		return a.dry.try(ctx, a.api, t, version)
	}
	if _, err := t.put(ctx, a.api, putting{version: version}); err != nil {
		return err
	}
	a.say("%s: its client secret was given again.\n", t)
	return nil
}
