package bulk

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"unicode/utf16"
	"unicode/utf8"
)

// encoding is what a file's text is written in.
type encoding struct {
	// mark is how many bytes of a byte order mark precede the text.
	mark int
	// order is that of UTF-16; nil = UTF-8.
	order binary.ByteOrder
}

// String returns the encoding's name.
func (e encoding) String() string {
	switch e.order {
	case binary.LittleEndian:
		return "UTF-16LE"
	case binary.BigEndian:
		return "UTF-16BE"
	}
	return "UTF-8"
}

// signatures begin files that aren't text.
var signatures = []struct{ bytes, what string }{
	{"PK\x03\x04", "an Excel workbook or another zip archive"},
	{"\xD0\xCF\x11\xE0", "an old Excel workbook"},
	{"\x1F\x8B", "compressed with gzip"},
	{"%PDF-", "a PDF"},
	{"{\\rtf", "a rich-text document"},
}

// detect judges a file's encoding by its first bytes. It fails with a [FileError].
func detect(head []byte) (encoding, error) {
	for _, s := range signatures {
		if bytes.HasPrefix(head, []byte(s.bytes)) {
			return encoding{}, &FileError{[]Problem{fileProblem(1, Fault, FileNotCSV, "The file is %s, not CSV. Save it as \"CSV UTF-8\".", s.what)}}
		}
	}
	switch {
	case bytes.HasPrefix(head, []byte("\xFF\xFE\x00\x00")), bytes.HasPrefix(head, []byte("\x00\x00\xFE\xFF")):
		return encoding{}, &FileError{[]Problem{fileProblem(1, Fault, EncodingUnknown, "The file is UTF-32, which isn't read. Save it as UTF-8.")}}
	case bytes.HasPrefix(head, []byte("\xEF\xBB\xBF")):
		return encoding{mark: 3}, nil
	case bytes.HasPrefix(head, []byte("\xFF\xFE")):
		return encoding{mark: 2, order: binary.LittleEndian}, nil
	case bytes.HasPrefix(head, []byte("\xFE\xFF")):
		return encoding{mark: 2, order: binary.BigEndian}, nil
	}
	return encoding{order: unmarked(head)}, nil
}

// unmarked recognises UTF-16 that has no byte order mark: a header is ASCII, so every other byte is zero.
func unmarked(head []byte) binary.ByteOrder {
	const looked = 32
	head = head[:min(len(head), looked)&^1]
	var zero [2]int
	for i, b := range head {
		if b == 0 {
			zero[i%2]++
		}
	}
	switch all := len(head) / 2; {
	case all < 4:
		return nil
	case zero[0] == all && zero[1] == 0:
		return binary.BigEndian
	case zero[1] == all && zero[0] == 0:
		return binary.LittleEndian
	}
	return nil
}

// halfPair stands for what is no UTF-16. It is the first half of a pair, which UTF-8 can't hold, so it is noticed where it
// stands.
const halfPair = "\xED\xA0\x80"

// utf16Reader turns UTF-16 into UTF-8, and into halfPair what isn't any: half of a pair, an odd byte at the end.
type utf16Reader struct {
	src   io.Reader
	order binary.ByteOrder
	raw   [4096]byte
	n     int    // bytes in raw
	text  []byte // decoded
	out   []byte // of it, what isn't read yet
	err   error
}

// Read implements io.Reader.
func (u *utf16Reader) Read(p []byte) (int, error) {
	for len(u.out) == 0 {
		if u.err != nil {
			return 0, u.err
		}
		n, err := u.src.Read(u.raw[u.n:])
		u.n += n
		u.err = err
		u.decode(errors.Is(err, io.EOF))
		if n == 0 && err == nil {
			return 0, nil
		}
	}
	n := copy(p, u.out)
	u.out = u.out[n:]
	return n, nil
}

func (u *utf16Reader) decode(last bool) {
	text := u.text[:0]
	i := 0
	for ; i+1 < u.n; i += 2 {
		r := rune(u.order.Uint16(u.raw[i:]))
		if !utf16.IsSurrogate(r) {
			text = utf8.AppendRune(text, r)
			continue
		}
		if i+3 >= u.n && !last {
			break // the other half is still to come
		}
		pair := rune(utf8.RuneError)
		if i+3 < u.n {
			pair = utf16.DecodeRune(r, rune(u.order.Uint16(u.raw[i+2:])))
		}
		if pair == utf8.RuneError {
			text = append(text, halfPair...)
			continue
		}
		text = utf8.AppendRune(text, pair)
		i += 2
	}
	u.n = copy(u.raw[:], u.raw[i:u.n])
	if last && u.n == 1 {
		text = append(text, halfPair...)
		u.n = 0
	}
	u.text, u.out = text, text
}

// text returns a file's text as UTF-8, without its byte order mark.
func text(r io.Reader) (io.Reader, encoding, error) {
	head := make([]byte, 512)
	n, err := io.ReadFull(r, head)
	head = head[:n]
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, encoding{}, fmt.Errorf("reading the file: %w", err)
	}
	e, err := detect(head)
	if err != nil {
		return nil, e, err
	}
	whole := io.MultiReader(bytes.NewReader(head[e.mark:]), r)
	if e.order == nil {
		return whole, e, nil
	}
	return &utf16Reader{src: whole, order: e.order}, e, nil
}
