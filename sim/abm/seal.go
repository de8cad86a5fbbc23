package abm

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"time"
)

const macLength = 16

// ticket is what this ABM hands out and later gets back: cursors, sessions, access tokens. It is sealed instead of
// remembered, so that a hundred thousand of them cost no memory.
type ticket struct {
	kind    string // what it is for; part of the seal
	subject string // the server or account that it was given to; part of the seal
	flags   byte
	numbers [2]int64
	issued  time.Time
}

func (o *Organization) seal(t ticket) string {
	b := make([]byte, 0, 25+macLength)
	b = append(b, t.flags)
	for _, n := range []int64{t.numbers[0], t.numbers[1], t.issued.UnixNano()} {
		b = binary.BigEndian.AppendUint64(b, uint64(n))
	}
	return hex.EncodeToString(append(b, o.mac(t, b)...))
}

// open reads what was sealed for the same kind and subject; false for anything else.
func (o *Organization) open(sealed, kind, subject string) (ticket, bool) {
	t := ticket{kind: kind, subject: subject}
	b, err := hex.DecodeString(sealed)
	if err != nil || len(b) != 25+macLength || !hmac.Equal(o.mac(t, b[:25]), b[25:]) {
		return ticket{}, false
	}
	t.flags = b[0]
	t.numbers[0] = int64(binary.BigEndian.Uint64(b[1:]))
	t.numbers[1] = int64(binary.BigEndian.Uint64(b[9:]))
	t.issued = time.Unix(0, int64(binary.BigEndian.Uint64(b[17:])))
	return t, true
}

func (o *Organization) mac(t ticket, body []byte) []byte {
	h := hmac.New(sha256.New, o.secret)
	h.Write([]byte(t.kind + "\x00" + t.subject + "\x00"))
	h.Write(body)
	return h.Sum(nil)[:macLength]
}
