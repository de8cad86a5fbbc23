package sim

import (
	"slices"
	"strings"
	"time"
)

// book is a managed book. Its state follows from the clock, as an app's.
type book struct {
	id      string
	store   int64
	facts   dict   // Kind, Version, Author, Title and PersistentID as the command gave them
	content string // SHA-256 of what was fetched, in lower-case hex; "" for one from the store
	deleted bool   // by the device's user
	installation
}

// mediaCommands are those that iPhones and iPads know only, but for books of the store (Apple, media.*.yaml).
var mediaCommands = []string{"InstallMedia", "RemoveMedia", "ManagedMediaList"}

// takesMedia tells whether the device takes books from its server at all.
func (d *Device) takesMedia() bool {
	return slices.ContainsFunc([]string{"iPhone", "iPad", "iPod"}, func(begin string) bool { return strings.HasPrefix(d.cfg.ProductName, begin) })
}

// lacks tells of a command that devices of another kind know.
func (d *Device) lacks(requestType string) bool {
	return slices.Contains(mediaCommands, requestType) && !d.takesMedia()
}

// installMedia replaces a book of the same identifier (Apple, Install Media).
func (d *Device) installMedia(c *command) result {
	if kind := text(c.body, "MediaType"); kind != "Book" {
		return rejected("WrongMediaType", "The media type “"+kind+"” is not supported.")
	}
	b := &book{id: c.target, content: c.download, facts: dict{}}
	b.store, _ = integer(c.body, "iTunesStoreID")
	copyTexts(b.facts, c.body, "PersistentID", "Kind", "Version", "Author", "Title")
	if c.target == "" || b.store == 0 && text(c.body, "MediaURL") == "" {
		return rejected("CouldNotVerifyITunesStoreID", "The command names no book.")
	}
	b.installation = d.begin(b.id, slices.ContainsFunc(d.state.books, func(have *book) bool { return have.id == b.id && !have.deleted }))
	d.state.books = slices.DeleteFunc(d.state.books, func(have *book) bool { return have.id == b.id })
	d.state.books = append(d.state.books, b)
	keys := dict{"MediaType": "Book", "State": b.told()}
	copyTexts(keys, c.body, "MediaURL", "PersistentID")
	if b.store != 0 {
		keys["iTunesStoreID"] = b.store
	}
	return acknowledged(keys)
}

func rejected(reason, why string) result {
	return result{status: statusError, keys: dict{"RejectionReason": reason}, chain: []*deviceError{mdmError(mdmMalformedRequest, why)}}
}

// state differs by origin: only a book from a URL is managed.
func (b *book) state(now time.Time) string {
	if b.deleted {
		return "ManagedButUninstalled"
	}
	return b.named(b.installation.state(now))
}

// told is the state in the answer to the command.
func (b *book) told() string { return b.named(b.installation.told()) }

func (b *book) named(state string) string {
	if state == "Managed" && b.store != 0 {
		return "Installed"
	}
	return state
}

// removeMedia acknowledges even when there is no such book, as documented.
func (d *Device) removeMedia(c *command) result {
	d.state.books = slices.DeleteFunc(d.state.books, func(b *book) bool { return b.id == c.target })
	return acknowledged(nil)
}

func (d *Device) managedMediaList(*command) result {
	listed := []any{}
	var kept []*book
	for _, b := range d.state.books {
		// The number is required by the schema; a book that isn't from the store has none.
		item := dict{"iTunesStoreID": b.store, "State": b.state(d.now())}
		for key, value := range b.facts {
			item[key] = value
		}
		listed = append(listed, item)
		if item["State"] == "Failed" { // transient: reported once
			d.journal.undone("InstallMedia", b.id)
			continue
		}
		kept = append(kept, b)
	}
	d.state.books = kept
	return acknowledged(dict{"Books": listed})
}

// DeleteBook removes a book as the device's user would; the device keeps quiet about it until it is asked.
// It returns false when there is no such book.
func (d *Device) DeleteBook(id string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	i := slices.IndexFunc(d.state.books, func(b *book) bool { return b.id == id && !b.deleted })
	if i < 0 {
		return false
	}
	d.state.books[i].deleted = true
	d.journal.undone("InstallMedia", id)
	return true
}
