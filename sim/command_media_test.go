package sim_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/sim"
)

// serveBooks has the peer's server hand out a book, and break the connection off within it so many times.
func (p *peer) serveBooks(path, content string, breaks int) {
	var left atomic.Int32
	left.Store(int32(breaks))
	p.setIntercept(func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != path {
			return false
		}
		if got := r.Header.Get("Range"); got != "" {
			assert.Equal(p.t, fmt.Sprintf("bytes=%d-", len(content)/2), got)
			p.ranges.Add(1)
		}
		w.Header().Set("ETag", `"one"`)
		if left.Add(-1) >= 0 {
			w.Header().Set("Content-Length", strconv.Itoa(len(content)))
			_, _ = w.Write([]byte(content[:len(content)/2]))
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}
		http.ServeContent(w, r, path, time.Time{}, strings.NewReader(content))
		return true
	})
}

func sumOf(content string) string {
	sum := sha256.Sum256([]byte(content))
	return hex.EncodeToString(sum[:])
}

func TestABookIsFetchedAndTakesItsTime(t *testing.T) {
	p := newPeer(t)
	now := newClock()
	p.serveBooks("/book.pdf", "%PDF-1.7 first", 1)
	d := p.enrolled(func(c *sim.Config) {
		c.Now, c.Faults = now.Now, sim.Faults{Install: sim.Span{Min: time.Minute, Max: time.Minute}}
	})
	install := func(n int, version string) dict {
		return p.send(d, uuid(n), "InstallMedia", dict{
			"MediaType": "Book", "MediaURL": p.server.URL + "/book.pdf?for=me", "PersistentID": "org.example.book", "Title": "A book", "Version": version,
		})
	}
	states := func(n int) string {
		return p.send(d, uuid(n), "ManagedMediaList", nil)["Books"].([]any)[0].(dict)["State"].(string)
	}
	require.Equal(t, "Queued", install(1, "1")["State"])
	require.EqualValues(t, 1, p.ranges.Load(), "a download that breaks off goes on where it was")
	now.Advance(30 * time.Second)
	require.Equal(t, "Installing", states(2))
	now.Advance(time.Minute)
	require.Equal(t, "Managed", states(3))
	require.Equal(t, sim.MediaState{ID: "org.example.book", State: "Managed", Version: "1", Content: sumOf("%PDF-1.7 first")}, d.Snapshot().Book("org.example.book"))

	p.serveBooks("/book.pdf", "%PDF-1.7 second", 0)
	install(4, "2")
	now.Advance(30 * time.Second)
	require.Equal(t, "Updating", states(5))
	now.Advance(time.Minute)
	require.Equal(t, sim.MediaState{ID: "org.example.book", State: "Managed", Version: "2", Content: sumOf("%PDF-1.7 second")}, d.Snapshot().Book("org.example.book"))
	require.Len(t, d.Snapshot().Media, 1)
	require.True(t, d.DeleteBook("org.example.book"))
	require.False(t, d.DeleteBook("org.example.book"))
	require.Equal(t, "ManagedButUninstalled", states(6))
	require.Zero(t, sim.SentTwice(d.Log()))
}

func TestABookThatCannotBeFetchedIsTurnedDown(t *testing.T) {
	p := newPeer(t)
	p.serveBooks("/book", "<html>no book</html>", 0)
	d := p.enrolled()
	n := 0
	for name, c := range map[string]struct{ path, kind, why string }{
		"not there": {"/none", "pdf", "the server answered"},
		"no book":   {"/book", "pdf", "not such a book"},
		"no EPUB":   {"/book", "epub", "not such a book"},
		"no iBooks": {"/book", "ibooks", "not such a book"},
		"no kind":   {"/book", "", "not such a book"},
	} {
		n++
		body := dict{"MediaType": "Book", "MediaURL": p.server.URL + c.path, "PersistentID": "org.example.book"}
		if c.kind != "" {
			body["Kind"] = c.kind
		}
		answer := p.send(d, uuid(n), "InstallMedia", body)
		require.Equal(t, "Error", answer["Status"], name)
		require.Equal(t, "DownloadInvalid", answer["RejectionReason"], name)
		require.Contains(t, fmt.Sprint(answer["ErrorChain"]), c.why, name)
	}
	require.Empty(t, d.Snapshot().Media)
}

func TestABookThatFailsSaysSoOnce(t *testing.T) {
	p := newPeer(t)
	p.serveBooks("/book.epub", "PK\x03\x04 ... mimetypeapplication/epub+zip", 0)
	d := p.enrolled(func(c *sim.Config) { c.Faults = sim.Faults{Fail: map[string]int{"org.example.book": 1}} })
	book := dict{"MediaType": "Book", "MediaURL": p.server.URL + "/book.epub", "PersistentID": "org.example.book"}
	require.Equal(t, "Installing", p.send(d, uuid(1), "InstallMedia", book)["State"])
	require.Equal(t, "Failed", p.send(d, uuid(2), "ManagedMediaList", nil)["Books"].([]any)[0].(dict)["State"])
	require.Empty(t, p.send(d, uuid(3), "ManagedMediaList", nil)["Books"])
	require.Equal(t, "Managed", p.send(d, uuid(4), "InstallMedia", book)["State"])
	require.Zero(t, sim.SentTwice(d.Log()))
}

func TestAMacKnowsNoMedia(t *testing.T) {
	p := newPeer(t)
	d := p.enrolled(func(c *sim.Config) { c.ProductName, c.OSVersion = "Mac14,2", "14.2" })
	requireError(t, p.send(d, uuid(1), "InstallMedia", dict{"MediaType": "Book", "MediaURL": p.server.URL + "/none", "PersistentID": "a"}), "MCMDMErrorDomain", 12021)
	requireError(t, p.send(d, uuid(2), "RemoveMedia", dict{"MediaType": "Book", "PersistentID": "a"}), "MCMDMErrorDomain", 12021)
	requireError(t, p.send(d, uuid(3), "ManagedMediaList", nil), "MCMDMErrorDomain", 12021)
}

func TestMedia(t *testing.T) {
	p := newPeer(t)
	p.serveBooks("/b.pdf", "%PDF-1.7", 0)
	d := p.enrolled()
	answer := p.send(d, uuid(1), "InstallMedia", dict{"MediaType": "Book", "MediaURL": p.server.URL + "/b.pdf", "PersistentID": "org.example.book", "Kind": "pdf", "Title": "A book"})
	require.Equal(t, "Managed", answer["State"])
	p.send(d, uuid(2), "InstallMedia", dict{"MediaType": "Book", "iTunesStoreID": 42})
	books := p.send(d, uuid(3), "ManagedMediaList", nil)["Books"].([]any)
	require.Len(t, books, 2)
	require.Equal(t, "A book", books[0].(dict)["Title"])
	require.Equal(t, "Installed", books[1].(dict)["State"])
	p.send(d, uuid(4), "RemoveMedia", dict{"MediaType": "Book", "PersistentID": "org.example.book"})
	p.send(d, uuid(5), "RemoveMedia", dict{"MediaType": "Book", "iTunesStoreID": "42"})
	require.Empty(t, d.Snapshot().Media)
	require.Equal(t, "Acknowledged", p.send(d, uuid(6), "RemoveMedia", dict{"MediaType": "Book", "PersistentID": "none"})["Status"])
	require.Equal(t, "CouldNotVerifyITunesStoreID", p.send(d, uuid(8), "InstallMedia", dict{"MediaType": "Book"})["RejectionReason"])
}
