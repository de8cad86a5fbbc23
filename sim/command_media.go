package sim

import "slices"

type book struct {
	id    string
	store int64
	facts dict // Kind, Version, Author, Title and PersistentID as the command gave them
}

func (d *Device) installMedia(c *command) result {
	if kind := text(c.body, "MediaType"); kind != "Book" {
		return result{
			status: statusError, keys: dict{"RejectionReason": "WrongMediaType"},
			chain: []*deviceError{mdmError(mdmMalformedRequest, "The media type “"+kind+"” is not supported.")},
		}
	}
	b := &book{id: c.target, facts: dict{}}
	b.store, _ = integer(c.body, "iTunesStoreID")
	copyTexts(b.facts, c.body, "PersistentID", "Kind", "Version", "Author", "Title")
	if c.target == "" || b.store == 0 && text(c.body, "MediaURL") == "" {
		return result{
			status: statusError, keys: dict{"RejectionReason": "CouldNotVerifyITunesStoreID"},
			chain: []*deviceError{mdmError(mdmMalformedRequest, "The command names no book.")},
		}
	}
	d.state.books = slices.DeleteFunc(d.state.books, func(have *book) bool { return have.id == b.id })
	d.state.books = append(d.state.books, b)
	keys := dict{"MediaType": "Book", "State": b.state()}
	copyTexts(keys, c.body, "MediaURL", "PersistentID")
	if b.store != 0 {
		keys["iTunesStoreID"] = b.store
	}
	return acknowledged(keys)
}

// state differs by origin: only a book from a URL is managed.
func (b *book) state() string {
	if b.store != 0 {
		return "Installed"
	}
	return "Managed"
}

// removeMedia acknowledges even when there is no such book, as documented.
func (d *Device) removeMedia(c *command) result {
	d.state.books = slices.DeleteFunc(d.state.books, func(b *book) bool { return b.id == c.target })
	return acknowledged(nil)
}

func (d *Device) managedMediaList(*command) result {
	listed := []any{}
	for _, b := range d.state.books {
		// The number is required by the schema; a book that isn't from the store has none.
		item := dict{"iTunesStoreID": b.store, "State": b.state()}
		for key, value := range b.facts {
			item[key] = value
		}
		listed = append(listed, item)
	}
	return acknowledged(dict{"Books": listed})
}
