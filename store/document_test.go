package store_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/store"
)

var linkKey = []byte("the key of links")

// document uploads a document.
func (f *fleet) document(name, content string) store.Document {
	f.t.Helper()
	staged, err := f.StageFile(f.t.Context(), strings.NewReader(content))
	require.NoError(f.t, err)
	d, _, err := f.PutDocument(f.t.Context(), store.DocumentEdit{Name: name, File: &staged, Format: provision.PDF}, edit)
	require.NoError(f.t, err)
	require.NoError(f.t, f.DropFile(f.t.Context(), staged))
	return d
}

// tokenSent is that of the address in the newest command that brings a document.
func (f *fleet) tokenSent(name string) string {
	f.t.Helper()
	var command string
	require.NoError(f.t, f.sql.QueryRow(f.t.Context(), `
		SELECT c.command FROM nanomdm.commands c JOIN device_commands d USING (command_uuid)
		WHERE d.request_type = 'InstallMedia' AND d.name = $1 ORDER BY d.version DESC, d.attempt DESC LIMIT 1`, name).Scan(&command))
	_, token, found := strings.Cut(command, "https://muster.example.com/documents/"+store.DocumentIdentifier(name)+".pdf?token=")
	require.True(f.t, found, command)
	token, _, _ = strings.Cut(token, " ")
	return token
}

func newLibrary(t *testing.T) *fleet {
	t.Helper()
	f := newFleet(t)
	f.LinkDocuments("https://muster.example.com/documents", linkKey)
	return f
}

func TestALifeWithADocument(t *testing.T) {
	f := newLibrary(t)
	f.configuration("wifi", 1, "wifi")
	f.document("handbook", "one")
	f.group("drivers", "wifi", "doc:handbook")
	f.needs("drivers", "handbook", "wifi")
	f.assign(serial, "drivers")
	p := f.boot(serial, "U1", false)
	f.apply(serial, 0, 1)
	require.Equal(t, []string{
		"DeviceInformation device_information", "InstallProfile wifi", "ProfileList management_profile",
		"InstallMedia handbook", "ManagedMediaList ManagedMediaList",
	}, p.obeyAll(), "one list, and nothing besides")
	d, err := f.Device(t.Context(), serial)
	require.NoError(t, err)
	d = f.carry(serial, provision.Next(d, policy(), f.Now()))
	require.Equal(t, provision.StatusEnrolled, d.Status())

	f.document("handbook", "two")
	d, err = f.Device(t.Context(), serial)
	require.NoError(t, err)
	require.Equal(t, provision.StatusProvisioning, d.Status())
	f.apply(serial, d.Plan.By, 1)
	require.Equal(t, []string{"InstallMedia handbook", "ManagedMediaList ManagedMediaList"}, p.obeyAll())
	require.Equal(t, provision.Book{State: "Managed", Version: "2"}, p.books[store.DocumentIdentifier("handbook")])

	f.group("drivers", "wifi")
	d = f.record(serial, provision.Fact{Kind: provision.CatalogChanged})
	f.apply(serial, d.Plan.By, 1)
	require.Equal(t, []string{"RemoveMedia handbook", "ManagedMediaList ManagedMediaList"}, p.obeyAll())
	require.Equal(t, []string{"device_information verified", "management_profile verified", "wifi verified", "handbook removed"}, f.items(serial))
	require.Empty(t, p.books)
}

func TestADeviceWithoutDocumentsIsAskedForNone(t *testing.T) {
	f := newLibrary(t)
	f.configuration("wifi", 1, "wifi")
	f.group("g", "wifi")
	f.enroll(serial, "g")
	require.Zero(t, f.count(`device_commands WHERE request_type LIKE '%Media%'`))
}

func TestAMacIsSparedDocumentsAndSaysWhy(t *testing.T) {
	f := newLibrary(t)
	f.document("handbook", "one")
	f.document("menu", "one")
	f.group("all", "doc:handbook", "doc:menu best_effort")
	f.group("none")
	f.assign(serial, "all")
	p := f.boot(serial, "U1", false)
	f.exec(`UPDATE devices SET product_name = 'Mac14,2' WHERE serial = $1`, serial)
	d := f.apply(serial, 0, 1)
	require.NotContains(t, strings.Join(p.obeyAll(), ","), "Media")
	require.Equal(t, 2, f.count(`plan_items WHERE kind = 'document' AND state = 'failed' AND detail LIKE 'A Mac takes no documents%'`))
	d, err := f.Device(t.Context(), d.Serial)
	require.NoError(t, err)
	require.Equal(t, []string{"document/handbook"}, d.Verdict().Failed, "a best_effort one holds nothing up")

	d = f.assign(serial, "none")
	f.apply(serial, d.Plan.By, 1)
	require.Empty(t, p.obeyAll(), "there is nothing to remove")
	require.Equal(t, 2, f.count(`plan_items WHERE kind = 'document' AND state = 'removed'`))
	d, err = f.Device(t.Context(), serial)
	require.NoError(t, err)
	require.Equal(t, provision.StatusEnrolled, f.carry(serial, provision.Next(d, policy(), f.Now())).Status())
}

func TestAnAddressWorksForItsDeviceWhileItIsToHaveTheDocument(t *testing.T) {
	f := newLibrary(t)
	f.document("handbook", "one")
	f.group("drivers", "doc:handbook")
	f.assign(serial, "drivers")
	p := f.boot(serial, "U1", false)
	planned := f.apply(serial, 0, 1)
	token := f.tokenSent("handbook")
	reads := func(want string) {
		t.Helper()
		file, err := f.LinkedDocument(t.Context(), token)
		require.NoError(t, err)
		got, err := io.ReadAll(f.OpenDocument(t.Context(), file))
		require.NoError(t, err)
		require.Equal(t, want, string(got))
	}
	refuses := func(token, why string) {
		t.Helper()
		_, err := f.LinkedDocument(t.Context(), token)
		require.Equal(t, provision.DocumentLinkRefused, provision.CodeOf(err), why)
	}
	reads("one")
	refuses(token+"x", "changed")
	link := provision.DocumentLink{Serial: "OTHER12345", Epoch: 1, Document: "handbook", Content: 1, Until: f.Now().Add(time.Hour)}
	refuses(link.Token(linkKey), "another device")
	link.Serial = serial
	refuses(link.Token([]byte("another key")), "made by somebody else")
	reads("one")
	link.Content = 2
	refuses(link.Token(linkKey), "a content that the plan doesn't name")

	old := token
	f.document("handbook", "two")
	f.apply(serial, planned.Plan.By, 1)
	refuses(old, "another content is planned")
	token = f.tokenSent("handbook")
	reads("two")
	p.obeyAll()
	reads("two")

	f.clock.pass(provision.DocumentLinkLife)
	refuses(token, "its time is up")
	link.Content, link.Until = 2, f.Now().Add(time.Hour)
	token = link.Token(linkKey)
	reads("two")
	d := f.assign(serial)
	f.apply(serial, d.Plan.By, 1)
	refuses(token, "it is to go")
	f.assign(serial, "drivers")
	f.record(serial, provision.Fact{Kind: provision.CheckedOut, Epoch: 1})
	refuses(token, "the enrollment is over")
}

func TestWithoutAKeyNothingIsLinked(t *testing.T) {
	f := newFleet(t)
	f.document("handbook", "one")
	f.group("g", "doc:handbook")
	f.assign(serial, "g")
	f.boot(serial, "U1", false)
	f.apply(serial, 0, 1)
	link := provision.DocumentLink{Serial: serial, Epoch: 1, Document: "handbook", Content: 1, Until: f.Now().Add(time.Hour)}
	_, err := f.LinkedDocument(t.Context(), link.Token(nil))
	require.Equal(t, provision.DocumentLinkRefused, provision.CodeOf(err), "anybody could sign with no key")
}

func TestADocumentAtAnAddressOfItsOwnIsFetchedThere(t *testing.T) {
	f := newFleet(t)
	_, _, err := f.PutDocument(t.Context(), store.DocumentEdit{Name: "menu", MediaURL: "https://example.com/menu.epub", Format: provision.EPUB}, edit)
	require.NoError(t, err)
	f.group("g", "doc:menu")
	f.assign(serial, "g")
	f.boot(serial, "U1", false)
	f.apply(serial, 0, 1)
	require.Equal(t, 1, f.count(`nanomdm.commands WHERE command LIKE '%https://example.com/menu.epub%'`))
}

func TestPutDocumentCountsWhatDevicesGet(t *testing.T) {
	f := newLibrary(t)
	text := func(s string) *string { return &s }
	put := func(e store.DocumentEdit) store.Document {
		t.Helper()
		e.Name = "handbook"
		d, _, err := f.PutDocument(t.Context(), e, edit)
		require.NoError(t, err)
		return d
	}
	_, _, err := f.PutDocument(t.Context(), store.DocumentEdit{Name: "handbook", Title: text("A book")}, edit)
	require.Equal(t, provision.DocumentBad, provision.CodeOf(err), "it comes from nowhere")
	d := f.document("handbook", "one")
	sum := sha256.Sum256([]byte("one"))
	require.Equal(t, sum[:], d.SHA256)
	require.EqualValues(t, 3, d.Size)
	require.Equal(t, []any{"handbook", 1, int64(1)}, []any{d.Title, d.Content, d.Version})

	require.Equal(t, d, f.document("handbook", "one"), "the same file changes nothing")
	require.Equal(t, 1, f.count("document_files"), "and isn't kept twice")
	d = put(store.DocumentEdit{Description: text("for all")})
	require.Equal(t, []any{1, int64(2)}, []any{d.Content, d.Version}, "devices don't get the description")
	d = put(store.DocumentEdit{Title: text("The handbook"), Author: text("Zylker")})
	require.Equal(t, []any{2, int64(3)}, []any{d.Content, d.Version})
	require.Equal(t, "for all", d.Description)
	d = f.document("handbook", "two")
	require.Equal(t, []any{3, int64(4), "The handbook"}, []any{d.Content, d.Version, d.Title})
	d = put(store.DocumentEdit{MediaURL: "https://example.com/h.pdf", Format: provision.PDF})
	require.Equal(t, []any{4, "https://example.com/h.pdf", int64(0)}, []any{d.Content, d.MediaURL, d.Size})
	require.Empty(t, d.SHA256)
	_, err = f.UploadedDocument(t.Context(), "handbook")
	require.Equal(t, provision.NotFound, provision.CodeOf(err))
	require.ErrorContains(t, err, "media_url")

	stale := edit
	stale.If = store.Condition{Given: true, Versions: []int64{2}}
	_, _, err = f.PutDocument(t.Context(), store.DocumentEdit{Name: "handbook", Title: text("x")}, stale)
	require.Equal(t, provision.VersionConflict, provision.CodeOf(err))

	f.group("g", "doc:handbook")
	require.Equal(t, provision.InUse, provision.CodeOf(f.DeleteDocument(t.Context(), "handbook", store.Condition{})))
	f.group("g")
	require.NoError(t, f.DeleteDocument(t.Context(), "handbook", store.Condition{}))
	require.Zero(t, f.count("document_files")+f.count("document_chunks")+f.count("document_contents"))
	require.Equal(t, provision.NotFound, provision.CodeOf(f.DeleteDocument(t.Context(), "handbook", store.Condition{})))
}

func TestGroupsBringDocuments(t *testing.T) {
	f := newLibrary(t)
	f.document("handbook", "one")
	key := provision.ItemKey{Kind: provision.DocumentItem, Name: "handbook"}
	g, _, err := f.PutGroup(t.Context(), store.Group{Name: "g", Items: []provision.Item{{Key: key, Stage: provision.Required}}}, edit)
	require.NoError(t, err)
	require.Equal(t, store.DocumentIdentifier("handbook"), g.Items[0].Identifier)
	require.Equal(t, 1, g.Items[0].Version)
	key.Name = "none"
	_, _, err = f.PutGroup(t.Context(), store.Group{Name: "h", Items: []provision.Item{{Key: key, Stage: provision.Required}}}, edit)
	require.Equal(t, provision.ItemNotFound, provision.CodeOf(err))
}

func TestAFileIsReadFromAnyPlace(t *testing.T) {
	f := newLibrary(t)
	content := make([]byte, 600<<10+7)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range content {
		content[i] = byte(r.Uint32())
	}
	staged, err := f.StageFile(t.Context(), iotest.HalfReader(bytes.NewReader(content)))
	require.NoError(t, err)
	sum := sha256.Sum256(content)
	require.Equal(t, sum[:], staged.SHA256)
	require.EqualValues(t, len(content), staged.Size)
	require.Equal(t, 3, f.count("document_chunks"))
	_, _, err = f.PutDocument(t.Context(), store.DocumentEdit{Name: "d", File: &staged, Format: provision.PDF}, edit)
	require.NoError(t, err)
	file, err := f.UploadedDocument(t.Context(), "d")
	require.NoError(t, err)
	require.NoError(t, iotest.TestReader(f.OpenDocument(t.Context(), file), content))
}

func TestAnUploadThatBreaksOffLeavesNothing(t *testing.T) {
	f := newLibrary(t)
	broken := io.MultiReader(strings.NewReader("half"), iotest.ErrReader(io.ErrUnexpectedEOF))
	staged, err := f.StageFile(t.Context(), broken)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	require.Equal(t, 1, f.count("document_files"))
	_, err = f.Purge(t.Context(), f.Now())
	require.NoError(t, err)
	require.Equal(t, 1, f.count("document_files"), "it may be under way")
	f.clock.pass(25 * time.Hour)
	gone, err := f.Purge(t.Context(), f.Now().Add(-30*24*time.Hour))
	require.NoError(t, err)
	require.EqualValues(t, 1, gone.Files)
	require.NoError(t, f.DropFile(t.Context(), staged), "twice does no harm")

	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = f.StageFile(canceled, strings.NewReader("x"))
	require.ErrorIs(t, err, context.Canceled)
}

func TestContentsThatNoDeviceNeedsArePurged(t *testing.T) {
	f := newLibrary(t)
	f.document("handbook", "one")
	f.group("g", "doc:handbook")
	p := f.enroll(serial, "g")
	f.document("handbook", "two")
	f.document("handbook", "three")
	f.clock.pass(48 * time.Hour)
	gone, err := f.Purge(t.Context(), f.Now().Add(-time.Hour))
	require.NoError(t, err)
	require.EqualValues(t, 1, gone.Files, "the first is on the device still, the third is the newest")
	require.Equal(t, 1, f.count(`document_contents WHERE content = 1`))

	d, err := f.Device(t.Context(), serial)
	require.NoError(t, err)
	f.apply(serial, d.Plan.By, 1)
	p.obeyAll()
	gone, err = f.Purge(t.Context(), f.Now().Add(-time.Hour))
	require.NoError(t, err)
	require.EqualValues(t, 1, gone.Files)
	require.Equal(t, 1, f.count(`document_contents`))
}
