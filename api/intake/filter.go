package intake

import (
	"hash/maphash"
	"math/bits"
)

// filter remembers serial numbers in a fixed amount of memory: of one that it holds it always says so, of one that it
// doesn't hold nearly always (Bloom, CACM 13, 1970).
type filter struct {
	seed maphash.Seed
	bits [][line]uint64
}

const (
	// probes is how many bits stand for a serial number. With 16 bits of room for each, one in some hundred is taken for
	// another; with eight times that, one in some millions. Five numbers of nine bits are what a sum has besides the line.
	probes = 5
	// line is how many words a processor fetches at once: all bits of a serial number are in one such line.
	line = 8
)

// newFilter returns a filter with room for so many serial numbers.
func newFilter(n int64) *filter {
	const bitsEach, word = 16, 64
	return &filter{seed: maphash.MakeSeed(), bits: make([][line]uint64, n*bitsEach/word/line+1)}
}

// sum is what a serial number is known by.
func (f *filter) sum(serial string) uint64 { return maphash.String(f.seed, serial) }

// add adds a serial number, and reports whether it may have been there.
func (f *filter) add(serial string) (before bool) { return f.addSum(f.sum(serial)) }

// addSum is add by a serial number's sum.
func (f *filter) addSum(sum uint64) (before bool) {
	words := f.find(sum)
	before = true
	for range probes {
		word, bit := &words[sum>>6&(line-1)], uint64(1)<<(sum&63)
		before = before && *word&bit != 0
		*word |= bit
		sum >>= 9
	}
	return before
}

// has reports whether a serial number may have been added.
func (f *filter) has(serial string) bool {
	sum := f.sum(serial)
	words := f.find(sum)
	for range probes {
		if words[sum>>6&(line-1)]&(1<<(sum&63)) == 0 {
			return false
		}
		sum >>= 9
	}
	return true
}

// find returns the line of a sum: the upper bits say which, the lower ones name the bits there.
func (f *filter) find(sum uint64) *[line]uint64 {
	high, _ := bits.Mul64(sum, uint64(len(f.bits)))
	return &f.bits[high]
}
