package abm

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
)

// chance draws numbers that depend on a seed and on what they are drawn for only, so that a run can be repeated
// whatever the order in which requests come in.
type chance struct{ seed uint64 }

func (c chance) bytes(words ...string) [sha256.Size]byte {
	h := sha256.New()
	var n [8]byte
	binary.BigEndian.PutUint64(n[:], c.seed)
	h.Write(n[:])
	for _, word := range words {
		binary.BigEndian.PutUint64(n[:], uint64(len(word)))
		h.Write(n[:])
		h.Write([]byte(word))
	}
	return [sha256.Size]byte(h.Sum(nil))
}

// of returns a number in [0,1) for the subject that the words describe.
func (c chance) of(words ...string) float64 {
	b := c.bytes(words...)
	return float64(binary.BigEndian.Uint64(b[:8])>>11) / (1 << 53)
}

// hex returns an identifier of 32 digits, the form that Apple gives servers and profiles.
func (c chance) hex(words ...string) string {
	b := c.bytes(words...)
	return fmt.Sprintf("%X", b[:16])
}

func (c chance) uuid(words ...string) string {
	b := c.bytes(words...)
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:16])
}
