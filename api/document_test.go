package api_test

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/api"
	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/store"
)

const (
	octets   = "application/octet-stream"
	handbook = "%PDF-1.7\n1 0 obj\n<< >>\nendobj\ntrailer << /Root 1 0 R >>\n%%EOF\n"
)

func (s *server) lodge(path, file string) answer {
	s.t.Helper()
	return s.send(request{method: "PUT", path: path, body: file, media: octets})
}

// packed is a ZIP archive; method is that of its first entry.
func packed(t *testing.T, method uint16, entries ...string) string {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for i := 0; i < len(entries); i += 2 {
		e, err := w.CreateHeader(&zip.FileHeader{Name: entries[i], Method: method})
		require.NoError(t, err)
		_, err = e.Write([]byte(entries[i+1]))
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	return b.String()
}

func TestDocuments(t *testing.T) {
	s := serve(t)
	d := read[api.Document](s.lodge("/v1/documents/handbook/content?description=For%20all&author=Zylker", handbook).ok(201))
	sum := sha256.Sum256([]byte(handbook))
	require.Equal(t, []any{"handbook", "Zylker", "For all", api.PDF, 1, int64(1)}, []any{d.Title, d.Author, d.Description, d.Format, d.Content, d.Version})
	require.Equal(t, []any{hex.EncodeToString(sum[:]), int64(len(handbook))}, []any{*d.Sha256, *d.Size})
	require.Nil(t, d.MediaUrl)
	content := s.get("/v1/documents/handbook/content").ok(200)
	require.Equal(t, handbook, string(content.body))
	require.Equal(t, "attachment; filename*=UTF-8''handbook.pdf", content.header.Get("Content-Disposition"))

	again := s.lodge("/v1/documents/handbook/content", handbook).ok(200)
	require.Equal(t, d, read[api.Document](again), "an upload may be repeated")
	require.Equal(t, `"1"`, again.header.Get("ETag"))
	d = read[api.Document](s.put("/v1/documents/handbook", body{"title": "The handbook", "author": "Zylker"}).ok(200))
	require.Equal(t, []any{"The handbook", "", 2}, []any{d.Title, d.Description, d.Content}, "what isn't given is emptied")
	require.NotNil(t, d.Sha256, "the upload stays")
	require.Equal(t, []string{"format"}, fields(s.put("/v1/documents/handbook", body{"format": "epub"}).fails(422, provision.DocumentBad)))
	s.send(request{method: "PUT", path: "/v1/documents/handbook", body: body{}, header: map[string]string{"If-Match": `"1"`}}).fails(412, provision.VersionConflict)
	s.send(request{method: "PUT", path: "/v1/documents/handbook/content", body: handbook, media: octets, header: map[string]string{"If-None-Match": "*"}}).fails(412, provision.VersionConflict)

	s.put("/v1/groups/drivers", body{"items": []body{{"kind": "document", "name": "handbook", "stage": "best_effort"}}}).ok(201)
	require.Equal(t, api.DocumentItem, read[api.Group](s.get("/v1/groups/drivers").ok(200)).Items[0].Kind)
	s.put("/v1/groups/x", body{"items": []body{{"kind": "document", "name": "none"}}}).fails(422, provision.ItemNotFound)
	s.delete("/v1/documents/handbook").fails(409, provision.InUse)
	s.delete("/v1/groups/drivers").ok(204)
	s.delete("/v1/documents/handbook").ok(204)
	s.get("/v1/documents/handbook").fails(404, provision.NotFound)
	s.get("/v1/documents/handbook/content").fails(404, provision.NotFound)
}

func TestDocumentsAtAnAddress(t *testing.T) {
	s := serve(t)
	d := read[api.Document](s.put("/v1/documents/menu", body{"media_url": "https://docs.zylker.com/menu.EPUB?v=1"}).ok(201))
	require.Equal(t, []any{"menu", api.EPUB, "https://docs.zylker.com/menu.EPUB?v=1"}, []any{d.Title, d.Format, *d.MediaUrl})
	require.Nil(t, d.Size)
	require.Nil(t, d.Sha256)
	d = read[api.Document](s.put("/v1/documents/menu", body{"media_url": "https://docs.zylker.com/menu", "format": "pdf"}).ok(200))
	require.Equal(t, []any{api.PDF, 2}, []any{d.Format, d.Content})
	missing := s.get("/v1/documents/menu/content").fails(404, provision.NotFound)
	require.Contains(t, missing.Detail, "media_url")

	require.Equal(t, []string{"media_url"}, fields(s.put("/v1/documents/menu", body{}).fails(422, provision.DocumentBad)), "it would come from nowhere")
	require.Equal(t, []string{"format"}, fields(s.put("/v1/documents/x", body{"media_url": "https://docs.zylker.com/menu"}).fails(422, provision.DocumentBad)))
	for _, address := range []string{"http://docs.zylker.com/menu.pdf", "https://a:b@docs.zylker.com/menu.pdf", "https:///menu.pdf", "menu.pdf", "https://a/b.pdf#c"} {
		require.Equal(t, []string{"media_url"}, fields(s.put("/v1/documents/x", body{"media_url": address}).fails(422, provision.DocumentBad)), address)
	}
	d = read[api.Document](s.lodge("/v1/documents/menu/content", handbook).ok(200))
	require.Nil(t, d.MediaUrl, "an upload takes the place of the address")
	s.put("/v1/documents/a%2Fb", body{"media_url": "https://docs.zylker.com/menu.pdf"}).fails(422, provision.Invalid)
	s.lodge("/v1/documents/a%2Fb/content", handbook).fails(422, provision.Invalid)
}

func TestADocumentIsWhatItsBeginningSays(t *testing.T) {
	s := serve(t)
	const epub, ibooks = "application/epub+zip", "application/x-ibooks+zip"
	for name, c := range map[string]struct {
		file   string
		format api.DocumentFormat
	}{
		"pdf":    {handbook, api.PDF},
		"epub":   {packed(t, zip.Store, "mimetype", epub, "META-INF/container.xml", "<container/>"), api.EPUB},
		"ibooks": {packed(t, zip.Store, "mimetype", ibooks), api.IBooks},
		"sized":  {"PK\x03\x04" + strings.Repeat("\x00", 14) + "\x15\x00\x00\x00\x15\x00\x00\x00\x08\x00\x02\x00mimetypeXX" + epub + "\n", api.EPUB},
	} {
		require.Equal(t, c.format, read[api.Document](s.lodge("/v1/documents/"+name+"/content", c.file).ok(201)).Format, name)
	}
	for name, c := range map[string]struct{ file, why string }{
		"nothing":    {"", "empty"},
		"page":       {"<html>", "no PDF, EPUB or iBooks"},
		"packed":     {packed(t, zip.Deflate, "mimetype", epub), "Pack it anew"},
		"disordered": {packed(t, zip.Store, "META-INF/container.xml", "<container/>", "mimetype", epub), "Pack it anew"},
		"another":    {packed(t, zip.Store, "mimetypes", epub), "Pack it anew"},
		"office":     {"PK\x03\x04" + strings.Repeat("\x00", 14) + "\x05\x00\x00\x00\x05\x00\x00\x00\x08\x00\x00\x00mimetypeodtXYZ", `type "odtXY"`},
		"begun":      {"PK\x03\x04", "Pack it anew"},
		"liar":       {"PK\x03\x04" + strings.Repeat("\x00", 14) + "\xff\xff\xff\xff\xff\xff\xff\xff\x08\x00\xff\xffmimetype", "Pack it anew"},
	} {
		p := s.lodge("/v1/documents/"+name+"/content", c.file).fails(422, provision.DocumentBad)
		require.Contains(t, p.Detail, c.why, name)
	}
	s.send(request{method: "PUT", path: "/v1/documents/x/content", body: handbook, media: "application/pdf"}).fails(415, "unsupported_media_type")
	var kept int
	require.NoError(t, s.db.NanoMDM().QueryRowContext(t.Context(), `SELECT count(*) FROM public.document_files`).Scan(&kept))
	require.Equal(t, 4, kept, "what was turned down isn't kept")
}

// endless never says how much it is.
type endless struct{ head io.Reader }

func (e endless) Read(p []byte) (int, error) {
	if n, err := e.head.Read(p); err == nil {
		return n, nil
	}
	return len(p), nil
}

func TestADocumentIsNotTooLarge(t *testing.T) {
	s := serve(t)
	for _, said := range []int64{-1, 256<<20 + 1} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, s.http.URL+"/v1/documents/x/content", io.LimitReader(endless{strings.NewReader(handbook)}, 256<<20+1))
		require.NoError(t, err)
		req.ContentLength = said
		req.Header.Set("Authorization", "Bearer "+s.secret[store.Admin])
		req.Header.Set("Content-Type", octets)
		res, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		raw, err := io.ReadAll(res.Body)
		require.NoError(t, err)
		require.NoError(t, res.Body.Close())
		p := answer{t, res.StatusCode, res.Header, raw}.fails(413, provision.PayloadTooLarge)
		require.Contains(t, p.Detail, "256 MiB")
	}
	var kept int
	require.NoError(t, s.db.NanoMDM().QueryRowContext(t.Context(), `SELECT count(*) FROM public.document_chunks`).Scan(&kept))
	require.Zero(t, kept)
}

// plan gives a device an enrollment whose plan has what the groups bring.
func (s *server) plan(serial string, groups ...string) {
	s.t.Helper()
	for _, sql := range []string{
		`INSERT INTO nanomdm.devices (id, authenticate, authenticate_at) VALUES ($1, '<?xml', now())`,
		`INSERT INTO nanomdm.enrollments (id, device_id, type, topic, push_magic, token_hex, last_seen_at) VALUES ($1, $1, 'Device', 't', 'm', 'x', now())`,
	} {
		_, err := s.db.NanoMDM().ExecContext(s.t.Context(), sql, "U1")
		require.NoError(s.t, err)
	}
	_, err := s.db.UpdateOrCreate(s.t.Context(), serial, func(ctx context.Context, c *store.Change) error { return c.SetUDID(ctx, "U1") })
	require.NoError(s.t, err)
	s.activate(serial, false)
	s.put("/v1/devices/"+serial+"/assignment", body{"user": body{"name": "ANDREW", "email": "andrew@zylker.com"}, "groups": groups}).ok(200)
	_, err = s.db.Apply(s.t.Context(), serial, 0, 1, "com.example.mdm")
	require.NoError(s.t, err)
}

func TestAMacExplainsWhyItHasNoDocument(t *testing.T) {
	s := serve(t)
	s.lodge("/v1/documents/handbook/content", handbook).ok(201)
	s.put("/v1/groups/drivers", body{"items": []body{{"kind": "document", "name": "handbook"}}}).ok(201)
	s.record(serial, provision.Fact{Kind: provision.Registered})
	_, err := s.db.NanoMDM().ExecContext(t.Context(), `UPDATE public.devices SET product_name = 'Mac14,2'`)
	require.NoError(t, err)
	s.plan(serial, "drivers")
	why := read[api.Explanation](s.get("/v1/devices/" + serial + "/explain").ok(200))
	require.Len(t, why.Waits, 2)
	require.Contains(t, why.Waits[1].For, "document/handbook: A Mac takes no documents")
	require.Contains(t, why.Waits[1].Who, "administrator")
}

func TestDevicesFetchTheirDocuments(t *testing.T) {
	s := serve(t, func(c *api.Config) { c.Documents = true })
	key := []byte("key")
	s.db.LinkDocuments("https://muster.example.com/documents", key)
	long := handbook + strings.Repeat("0123456789abcdef", 40<<10)
	s.lodge("/v1/documents/handbook/content", long).ok(201)
	s.put("/v1/groups/drivers", body{"items": []body{{"kind": "document", "name": "handbook"}}}).ok(201)
	s.plan(serial, "drivers")
	plan := read[api.Plan](s.get("/v1/devices/" + serial + "/plan").ok(200))
	require.Equal(t, "document", plan.Items[len(plan.Items)-1].Kind)

	link := provision.DocumentLink{Serial: serial, Epoch: 1, Document: "handbook", Content: 1, Until: time.Now().Add(time.Hour)}
	fetch := func(method, token string, header ...string) answer {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, s.http.URL+"/documents/book.pdf?token="+token, nil)
		require.NoError(t, err)
		for i := 0; i < len(header); i += 2 {
			req.Header.Set(header[i], header[i+1])
		}
		res, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		raw, err := io.ReadAll(res.Body)
		require.NoError(t, err)
		require.NoError(t, res.Body.Close())
		return answer{t, res.StatusCode, res.Header, raw}
	}
	token := link.Token(key)
	whole := fetch("GET", token).ok(200)
	require.Equal(t, long, string(whole.body))
	require.Equal(t, "application/pdf", whole.header.Get("Content-Type"))
	require.Equal(t, "private", whole.header.Get("Cache-Control"))
	tag := whole.header.Get("ETag")
	sum := sha256.Sum256([]byte(long))
	require.Equal(t, fmt.Sprintf("%q", hex.EncodeToString(sum[:])), tag)
	require.Empty(t, fetch("HEAD", token).ok(200).body)
	require.Equal(t, fmt.Sprint(len(long)), fetch("HEAD", token).header.Get("Content-Length"))
	part := fetch("GET", token, "Range", "bytes=300000-", "If-Range", tag).ok(206)
	require.Equal(t, long[300000:], string(part.body))
	require.Equal(t, long, string(fetch("GET", token, "Range", "bytes=300000-", "If-Range", `"another"`).ok(200).body), "what changed meanwhile is sent whole")
	require.Equal(t, "%PDF", string(fetch("GET", token, "Range", "bytes=0-3").ok(206).body))
	fetch("GET", token, "Range", "bytes=9999999-").ok(416)
	require.Empty(t, fetch("GET", token, "If-None-Match", tag).ok(304).body)

	for _, wrong := range []string{"", "x", token[:len(token)-1], link.Token([]byte("another"))} {
		fetch("GET", wrong).fails(403, provision.DocumentLinkRefused)
	}
	link.Epoch = 2
	fetch("GET", link.Token(key)).fails(403, provision.DocumentLinkRefused)
	fetch("PUT", token).fails(405, provision.MethodNotAllowed)
	require.NotContains(t, s.log.String(), token, "an address lets in whoever has it")
	require.NotContains(t, s.log.String(), token[:40])
}
