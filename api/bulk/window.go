package bulk

import (
	"errors"
	"io"
)

// window is the part of a text that is in memory. Offsets count from its beginning, and stay valid while it grows.
type window struct {
	src        io.Reader
	buf        []byte
	start, end int
	err        error

	// copied is the text from an offset in buf on.
	copied string
	from   int
}

// bytes are valid until the next call of at.
func (w *window) bytes() []byte { return w.buf[w.start:w.end] }

// at returns a byte, reading on when need be. There is none behind the end of the text, or where reading failed.
func (w *window) at(i int) (b byte, ok bool) {
	for w.start+i >= w.end {
		if !w.fill() {
			return 0, false
		}
	}
	return w.buf[w.start+i], true
}

// text returns the first n bytes as a string, which stays. Strings share their memory with those around them: one copy for
// a whole window costs less than one each.
func (w *window) text(n int) string {
	at := w.start - w.from
	if at+n > len(w.copied) {
		w.copied, w.from, at = string(w.bytes()), w.start, 0
	}
	return w.copied[at : at+n]
}

// failed reports whether reading ended otherwise than at the end of the text.
func (w *window) failed() bool { return w.err != nil && !errors.Is(w.err, io.EOF) }

// drop takes n bytes off the beginning.
func (w *window) drop(n int) { w.start += n }

func (w *window) fill() bool {
	if w.err != nil {
		return false
	}
	if w.start > 0 {
		w.from -= w.start
		w.end = copy(w.buf, w.bytes())
		w.start = 0
	}
	if w.end == len(w.buf) {
		const least = 64 << 10
		w.buf = append(w.buf, make([]byte, max(least, len(w.buf)))...)
	}
	const patience = 100 // with a source that gives nothing and says no more
	for range patience {
		n, err := w.src.Read(w.buf[w.end:])
		w.end += n
		w.err = err
		if n > 0 || err != nil {
			return n > 0
		}
	}
	w.err = io.ErrNoProgress
	return false
}
