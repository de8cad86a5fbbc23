package store

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"strings"
	"sync"

	"github.com/jackc/pgx/v5"
)

const (
	// pageRows is how many rows stand in a page of operation_pages: as many as are listed at a time.
	pageRows = 500
	// pageBytes bounds a page of long rows.
	pageBytes = 256 << 10
)

const copyPagesIn = `
COPY operation_pages (operation, last_line, lines, said, serials, verdicts, standings, problems, wanted, records)
FROM STDIN BINARY`

// copyRows writes rows, by pages, in COPY's binary form (PostgreSQL's documentation of COPY, "Binary Format") by itself: of a
// million rows each hundred nanoseconds count.
func copyRows(ctx context.Context, tx pgx.Tx, number int64, rows []ImportRow) error {
	b := newCopyBuffer()
	defer b.release()
	b.out = append(b.out, "PGCOPY\n\xff\r\n\x00\x00\x00\x00\x00\x00\x00\x00\x00"...)
	for len(rows) > 0 {
		n := pageOf(rows)
		b.page(number, rows[:n])
		rows = rows[n:]
	}
	b.out = binary.BigEndian.AppendUint16(b.out, 0xFFFF)
	if _, err := tx.Conn().PgConn().CopyFrom(ctx, bytes.NewReader(b.out), copyPagesIn); err != nil {
		return fmt.Errorf("writing the rows: %w", err)
	}
	return nil
}

// pageOf is how many of the rows make up the next page.
func pageOf(rows []ImportRow) int {
	size := 0
	for n := range rows[:min(len(rows), pageRows)] {
		for _, cell := range rows[n].Record {
			size += len(cell)
		}
		if size >= pageBytes {
			return n + 1
		}
	}
	return min(len(rows), pageRows)
}

type copyBuffer struct {
	out   []byte
	parts []string
}

var copyBuffers = sync.Pool{New: func() any { return new(copyBuffer) }}

func newCopyBuffer() *copyBuffer {
	b, _ := copyBuffers.Get().(*copyBuffer)
	b.out = b.out[:0]
	return b
}

// release lets the buffer be used again, unless it served rows that were unusually long.
func (b *copyBuffer) release() {
	const most = 4 << 20
	if cap(b.out) <= most {
		clear(b.parts[:cap(b.parts)])
		copyBuffers.Put(b)
	}
}

// Types of PostgreSQL's by their numbers in pg_type, which never change.
const (
	typeChar  = 18
	typeInt8  = 20
	typeText  = 25
	typeJSONB = 3802
)

func (b *copyBuffer) page(number int64, rows []ImportRow) {
	const columns = 10
	b.out = binary.BigEndian.AppendUint16(b.out, columns)
	b.number(number)
	b.number(rows[len(rows)-1].Line)
	b.array(typeInt8, rows, func(r *ImportRow) { b.number(r.Line) })
	b.array(typeInt8, rows, func(r *ImportRow) { b.number(r.Said) })
	b.array(typeText, rows, func(r *ImportRow) { b.text(r.Serial) })
	b.array(typeChar, rows, func(r *ImportRow) { b.text(letterOf(r.Verdict)) })
	b.array(typeText, rows, func(r *ImportRow) { b.standing(r) })
	if troubled(rows) {
		b.array(typeJSONB, rows, func(r *ImportRow) { b.problems(r) })
	} else {
		b.null()
	}
	b.array(typeText, rows, func(r *ImportRow) { b.wanted(r) })
	b.array(typeText, rows, func(r *ImportRow) { b.record(r) })
}

// letterOf is a verdict as pages have it.
func letterOf(verdict string) string { return verdict[:min(len(verdict), 1)] }

func troubled(rows []ImportRow) bool {
	for i := range rows {
		if len(rows[i].Problems) > 0 {
			return true
		}
	}
	return false
}

// array writes an element for each row, as PostgreSQL's array_recv reads it.
func (b *copyBuffer) array(of uint32, rows []ImportRow, element func(*ImportRow)) {
	const dimensions, mayHaveNulls, first = 1, 1, 1
	at := len(b.out)
	b.length(0)
	for _, word := range []uint32{dimensions, mayHaveNulls, of, uint32(len(rows)), first} {
		b.out = binary.BigEndian.AppendUint32(b.out, word)
	}
	for i := range rows {
		element(&rows[i])
	}
	b.endAt(at)
}

func (b *copyBuffer) standing(r *ImportRow) {
	if r.Standing == "" {
		b.null()
		return
	}
	b.text(r.Standing)
}

func (b *copyBuffer) problems(r *ImportRow) {
	if len(r.Problems) == 0 {
		b.null()
		return
	}
	const version = 1
	at := len(b.out)
	b.length(0)
	b.out = append(b.out, version)
	b.out = append(b.out, asJSON(r.Problems)...)
	b.endAt(at)
}

func (b *copyBuffer) wanted(r *ImportRow) {
	if r.User.Name == "" && r.Reason == "" && len(r.Groups) == 0 {
		b.null()
		return
	}
	b.parts = append(b.parts[:0], r.User.Name, r.User.Domain, r.User.Email, r.OwnedBy, r.Reason)
	b.parts = append(b.parts, r.Groups...)
	b.joined('\n', b.parts)
}

func (b *copyBuffer) record(r *ImportRow) {
	if r.Record == nil {
		b.null()
		return
	}
	b.joined(cellSeparator, r.Record)
}

// joined writes texts with a separator between them, which stands in none of them afterwards.
func (b *copyBuffer) joined(separator byte, texts []string) {
	at := len(b.out)
	b.length(0)
	begin := len(b.out)
	for i, t := range texts {
		if i > 0 {
			b.out = append(b.out, separator)
		}
		b.out = append(b.out, t...)
	}
	if between := max(len(texts)-1, 0); bytes.Count(b.out[begin:], []byte{separator}) > between {
		b.out = b.out[:begin]
		for i, t := range texts {
			if i > 0 {
				b.out = append(b.out, separator)
			}
			b.out = append(b.out, strings.ReplaceAll(t, string(rune(separator)), "\uFFFD")...)
		}
	}
	b.endAt(at)
}

func (b *copyBuffer) length(n int) {
	b.out = binary.BigEndian.AppendUint32(b.out, uint32(n))
}

// endAt sets the length of what was begun at a place and ends here.
func (b *copyBuffer) endAt(at int) {
	const word = 4
	binary.BigEndian.PutUint32(b.out[at:], uint32(len(b.out)-at-word))
}

func (b *copyBuffer) null() { b.out = binary.BigEndian.AppendUint32(b.out, 0xFFFFFFFF) }

func (b *copyBuffer) number(n int64) {
	b.length(8)
	b.out = binary.BigEndian.AppendUint64(b.out, uint64(n))
}

func (b *copyBuffer) text(text string) {
	b.length(len(text))
	b.out = append(b.out, text...)
}
