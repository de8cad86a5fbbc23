package cli

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/muster-mdm/muster/api/client"
)

// documentText is what a thing says of a document: the file is known by its hash, the address by itself.
type documentText struct {
	Description string                 `json:"description"`
	Title       string                 `json:"title"`
	Author      string                 `json:"author"`
	File        string                 `json:"file,omitempty"`
	SHA256      string                 `json:"sha256,omitempty"`
	MediaURL    string                 `json:"media_url,omitempty"`
	Format      *client.DocumentFormat `json:"format,omitempty"`
}

// document reads what the thing says, and the path of its file if it has one.
func (t thing) document() (d documentText, file string, err error) {
	if d, err = as[documentText](t); err != nil {
		return d, "", err
	}
	switch {
	case (d.File == "") == (d.MediaURL == ""):
		return d, "", fmt.Errorf("%s: %s names either a file or a media_url", t.from, t)
	case d.SHA256 != "" || d.File != "" && d.Format != nil:
		return d, "", fmt.Errorf("%s: %s: what a file is is read from the file; leave out sha256 and format", t.from, t)
	}
	if d.Title == "" {
		d.Title = t.name
	}
	if d.MediaURL != "" {
		if d.Format == nil {
			d.Format = mediaFormat(d.MediaURL)
		}
		return d, "", nil
	}
	if file = d.File; !filepath.IsAbs(file) {
		file = filepath.Join(t.folder, file)
	}
	d.File = ""
	d.SHA256, err = sumOfFile(file)
	return d, file, err
}

// mediaFormat is how the address ends, as Muster takes it.
func mediaFormat(address string) *client.DocumentFormat {
	u, err := url.Parse(address)
	if err != nil {
		return nil
	}
	return given(client.DocumentFormat(strings.ToLower(strings.TrimPrefix(path.Ext(u.Path), "."))))
}

// sumOfFile reads a file that may be larger than memory.
func sumOfFile(name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", err //nolint:wrapcheck // it says "open" and the name
	}
	defer func() { _ = f.Close() }()
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return "", fmt.Errorf("reading %s: %w", name, err)
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

func currentDocument(ctx context.Context, api *client.Client, name string) (documentText, client.Document, error) {
	is, err := ask[client.Document](api.GetDocument(ctx, name))
	d := documentText{Description: is.Description, Title: is.Title, Author: is.Author, SHA256: value(is.Sha256), MediaURL: value(is.MediaUrl)}
	if d.MediaURL != "" {
		d.Format = &is.Format
	}
	return d, is, err
}

// putDocument uploads the file unless Muster has it, and says the rest.
func (t thing) putDocument(ctx context.Context, api *client.Client, how putting) (*http.Response, error) {
	match, dry := how.match(), given(how.dry)
	d, from, err := t.document()
	if err != nil {
		return nil, err
	}
	has := false
	if match != nil {
		is, _, err := currentDocument(ctx, api, t.name)
		if err != nil {
			return nil, err
		}
		has = is.SHA256 == d.SHA256
	}
	if from == "" || has {
		return api.PutDocument(ctx, t.name, &client.PutDocumentParams{IfMatch: match, DryRun: dry}, client.DocumentInput{
			Description: &d.Description, Title: &d.Title, Author: &d.Author, MediaUrl: given(d.MediaURL), Format: d.Format,
		})
	}
	file, err := os.Open(from)
	if err != nil {
		return nil, err //nolint:wrapcheck // it says "open" and the name
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	if err != nil {
		return nil, err //nolint:wrapcheck // it says "stat" and the name
	}
	params := &client.PutDocumentContentParams{Description: &d.Description, Title: &d.Title, Author: &d.Author, IfMatch: match, DryRun: dry}
	return api.PutDocumentContentWithBody(ctx, t.name, params, "application/octet-stream", io.NopCloser(file), func(_ context.Context, r *http.Request) error {
		r.ContentLength = info.Size() // so that a file that is too large is turned down before it is sent
		return nil
	})
}
