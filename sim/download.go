package sim

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	digest "hash"
	"io"
	"net/http"
	"net/url"
	"path"
	"strings"
)

const (
	maxBook = 2 << 30
	// downloadTries bounds how often a download that broke off goes on where it was.
	downloadTries = 3
	// bookHead is how much of a book is looked at to tell what it is: the name in an EPUB's first entry ends before.
	bookHead = 64
)

// errNotABook is content that isn't what the command calls it.
var errNotABook = errors.New("what the address leads to is not such a book")

// download fetches a book and returns the SHA-256 of its content. The network is tried again where it broke off; what the
// server refuses is not. It is not the MDM client that fetches, so no identity is shown.
func (d *Device) download(ctx context.Context, boot int, body dict) (string, error) {
	address := text(body, "MediaURL")
	client, err := d.cfg.client(address, nil)
	if err != nil {
		return "", err
	}
	client.CheckRedirect = nil // a download is redirected as any other
	ctx, done, err := d.connected(ctx, boot)
	if err != nil {
		return "", err
	}
	defer done()
	f := &fetch{client: client, address: address, sum: sha256.New()}
	for range downloadTries {
		if err = f.more(ctx); !errors.Is(err, errBrokenOff) {
			break
		}
	}
	if err != nil {
		return "", err
	}
	if !isBook(cmp.Or(text(body, "Kind"), extension(address)), f.head.Bytes()) {
		return "", errNotABook
	}
	return hex.EncodeToString(f.sum.Sum(nil)), nil
}

// extension is what a book is when the command doesn't say it.
func extension(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return strings.TrimPrefix(path.Ext(u.Path), ".")
}

var errBrokenOff = errors.New("the download broke off")

// fetch is a download under way.
type fetch struct {
	client  *http.Client
	address string
	tag     string
	got     int64
	sum     digest.Hash
	head    bytes.Buffer
}

// more fetches what is missing; it fails with errBrokenOff when it may be asked again.
func (f *fetch) more(ctx context.Context) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, f.address, nil)
	if err != nil {
		return fmt.Errorf("reading the address of the book: %w", err)
	}
	if f.got > 0 && f.tag != "" {
		r.Header.Set("Range", fmt.Sprintf("bytes=%d-", f.got))
		r.Header.Set("If-Range", f.tag)
	}
	resp, err := f.client.Do(r)
	if err != nil {
		return errors.Join(errBrokenOff, err)
	}
	defer func() { _ = resp.Body.Close() }() // read to its end below
	switch {
	case f.got > 0 && resp.StatusCode == http.StatusPartialContent:
	case resp.StatusCode == http.StatusOK: // from the beginning, perhaps again
		f.got, f.tag = 0, resp.Header.Get("ETag")
		f.sum.Reset()
		f.head.Reset()
	default:
		return fmt.Errorf("the server answered %d", resp.StatusCode)
	}
	return f.read(resp.Body)
}

func (f *fetch) read(body io.Reader) error {
	in := bufio.NewReader(io.LimitReader(body, maxBook-f.got))
	n, err := io.Copy(io.MultiWriter(f.sum, &headWriter{&f.head}), in)
	f.got += n
	if err != nil {
		return errors.Join(errBrokenOff, err)
	}
	return nil
}

// headWriter keeps the beginning of what is written.
type headWriter struct{ *bytes.Buffer }

// Write keeps what is missing.
func (w *headWriter) Write(p []byte) (int, error) {
	if missing := bookHead - w.Len(); missing > 0 {
		_, _ = w.Buffer.Write(p[:min(missing, len(p))])
	}
	return len(p), nil
}

// isBook tells a book of a kind by its beginning: EPUB and iBooks files are ZIP archives that name their type first.
func isBook(kind string, head []byte) bool {
	switch kind {
	case "pdf":
		return bytes.HasPrefix(head, []byte("%PDF-"))
	case "epub":
		return bytes.HasPrefix(head, []byte("PK\x03\x04")) && bytes.Contains(head, []byte("mimetypeapplication/epub+zip"))
	case "ibooks":
		return bytes.HasPrefix(head, []byte("PK\x03\x04")) && bytes.Contains(head, []byte("mimetypeapplication/x-ibooks+zip"))
	}
	return false
}
