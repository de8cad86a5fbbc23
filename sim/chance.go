package sim

import (
	"crypto/sha256"
	"encoding/binary"
	"time"
)

// chance draws numbers that depend on a seed and on what they are drawn for only,
// so that a run repeats whatever the order in which goroutines come to draw.
type chance struct{ seed uint64 }

// of returns a number in [0,1) for the subject that the words describe.
func (c chance) of(words ...string) float64 {
	b := c.bytes(words...)
	return float64(binary.BigEndian.Uint64(b[:8])>>11) / (1 << 53)
}

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

func (c chance) uuid(words ...string) string {
	b := c.bytes(words...)
	return formatUUID([16]byte(b[:16]))
}

// pick maps a draw in [0,1) into the span.
func (s Span) pick(draw float64) time.Duration {
	if s.Max <= s.Min {
		return s.Min
	}
	return s.Min + time.Duration(draw*float64(s.Max-s.Min))
}
