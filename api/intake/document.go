package intake

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/url"
	"path"
	"strings"

	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/store"
)

// MaxDocument is the largest document in bytes; the store's constraint document_files_size holds it, too.
const MaxDocument = 256 << 20

// PutDocument edits a document, or creates one that is at an address of its own. Its format follows from the address when it
// isn't given.
func (i *Intake) PutDocument(ctx context.Context, by Actor, d store.DocumentEdit, how store.Edit) (saved store.Document, created bool, err error) {
	if d.Name, err = provision.CheckItemName(d.Name); err != nil {
		return saved, false, err
	}
	switch {
	case d.MediaURL != "":
		if d.Format, err = checkMedia(d.MediaURL, d.Format); err != nil {
			return saved, false, err
		}
	case d.Format != "":
		return saved, false, provision.Errorf(provision.DocumentBad, "format says what is at media_url, which isn't given; what a file is is read from the file.").At("format")
	}
	return i.db.PutDocument(ctx, d, by.edits(how))
}

func checkMedia(address string, format provision.DocumentFormat) (provision.DocumentFormat, error) {
	if !httpsAddress(address) {
		return "", provision.Errorf(provision.DocumentBad, "%.100q is not an https address without user and fragment.", address).At("media_url")
	}
	if format != "" {
		return format, nil
	}
	u, err := url.Parse(address)
	if err != nil {
		return "", fmt.Errorf("reading an address that was checked: %w", err)
	}
	format = provision.DocumentFormat(strings.ToLower(strings.TrimPrefix(path.Ext(u.Path), ".")))
	if !provision.ValidDocumentFormat(format) {
		return "", provision.Errorf(provision.DocumentBad, "The address doesn't end in .pdf, .epub or .ibooks; say what is there by format.").At("format")
	}
	return format, nil
}

// UploadDocument stores a file as the content of a document, and creates the document if there is none. What the file is is
// read from its beginning. It fails with [provision.DocumentBad], and as reading the body does.
func (i *Intake) UploadDocument(ctx context.Context, by Actor, d store.DocumentEdit, body io.Reader, how store.Edit) (saved store.Document, created bool, err error) {
	if d.Name, err = provision.CheckItemName(d.Name); err != nil {
		return saved, false, err
	}
	in := bufio.NewReaderSize(body, headOfDocument)
	head, err := in.Peek(headOfDocument)
	if err != nil && !errors.Is(err, io.EOF) {
		return saved, false, err //nolint:wrapcheck // the body's own
	}
	if d.Format, err = formatOf(head); err != nil {
		return saved, false, err
	}
	file, err := i.db.StageFile(ctx, in)
	defer func() {
		err = errors.Join(err, i.db.DropFile(context.WithoutCancel(ctx), file))
	}()
	if err != nil {
		return saved, false, err
	}
	d.File = &file
	return i.db.PutDocument(ctx, d, by.edits(how))
}

// headOfDocument is how much of a file is looked at to tell what it is: the first entry of an EPUB, with a field that some
// programs add to it.
const headOfDocument = 4 << 10

// The first entry of a ZIP archive (APPNOTE.TXT, 4.3.7), which in an EPUB is the file mimetype as it is: neither compressed
// nor encrypted (EPUB Open Container Format, 4.3.3).
const (
	zipNameLength  = 26
	zipExtraLength = 28
	zipName        = 30
)

var zipEntry = []byte("PK\x03\x04")

// formatOf tells what a file is by its beginning.
func formatOf(head []byte) (provision.DocumentFormat, error) {
	bad := func(format string, args ...any) (provision.DocumentFormat, error) {
		return "", provision.Errorf(provision.DocumentBad, format, args...)
	}
	switch {
	case len(head) == 0:
		return bad("The file is empty.")
	case bytes.HasPrefix(head, []byte("%PDF-")):
		return provision.PDF, nil
	case !bytes.HasPrefix(head, zipEntry):
		return bad("The file is no PDF, EPUB or iBooks file, by its beginning.")
	}
	switch kind := firstOfZIP(head); kind {
	case "application/epub+zip":
		return provision.EPUB, nil
	case "application/x-ibooks+zip":
		return provision.IBooks, nil
	case "":
		return bad("The file is a ZIP archive whose first entry is not an uncompressed file called mimetype, as it must be in an EPUB. Pack it anew with that file first and stored.")
	default:
		return bad("The file is a ZIP archive of the type %.60q, neither an EPUB nor an iBooks file.", kind)
	}
}

// firstOfZIP is the content of the file mimetype, if the archive begins with it.
func firstOfZIP(head []byte) string {
	const name = "mimetype"
	if len(head) < zipName {
		return ""
	}
	method := binary.LittleEndian.Uint16(head[8:])
	size := int(binary.LittleEndian.Uint32(head[18:]))
	begin := zipName + int(binary.LittleEndian.Uint16(head[zipNameLength:])) + int(binary.LittleEndian.Uint16(head[zipExtraLength:]))
	if method != 0 || !bytes.HasPrefix(head[zipName:], []byte(name)) || int(binary.LittleEndian.Uint16(head[zipNameLength:])) != len(name) || begin > len(head) {
		return ""
	}
	content := head[begin:]
	if size > 0 && size < len(content) {
		return strings.TrimSpace(string(content[:size]))
	}
	// Written as a stream, an archive says the size only after the content.
	for _, known := range []string{"application/epub+zip", "application/x-ibooks+zip"} {
		if bytes.HasPrefix(content, []byte(known)) {
			return known
		}
	}
	return ""
}

// DeleteDocument deletes a document that no group brings.
func (i *Intake) DeleteDocument(ctx context.Context, name string, condition store.Condition) error {
	return i.db.DeleteDocument(ctx, name, condition)
}
