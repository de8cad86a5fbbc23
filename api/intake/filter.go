package intake

import "hash/maphash"

// filter remembers serial numbers in a fixed amount of memory: of one that it holds it always says so, of one that it
// doesn't hold nearly always (Bloom, CACM 13, 1970).
type filter struct {
	seed maphash.Seed
	bits []uint64
}

// probes is how many bits stand for a serial number. With 16 bits of room for each, one in four hundred is taken for
// another.
const probes = 4

// newFilter returns a filter with room for so many serial numbers.
func newFilter(n int64) *filter {
	const bitsEach, word = 16, 64
	return &filter{seed: maphash.MakeSeed(), bits: make([]uint64, n*bitsEach/word+1)}
}

// add adds a serial number, and reports whether it may have been there.
func (f *filter) add(serial string) (before bool) {
	before = true
	f.each(serial, func(word *uint64, bit uint64) bool {
		before = before && *word&bit != 0
		*word |= bit
		return true
	})
	return before
}

// has reports whether a serial number may have been added.
func (f *filter) has(serial string) bool {
	found := true
	f.each(serial, func(word *uint64, bit uint64) bool {
		found = *word&bit != 0
		return found
	})
	return found
}

func (f *filter) each(serial string, visit func(word *uint64, bit uint64) bool) {
	sum := maphash.String(f.seed, serial)
	step := sum>>32 | 1 // two hashes make any number of them (Kirsch and Mitzenmacher, 2006)
	for range probes {
		at := sum % (uint64(len(f.bits)) * 64)
		if !visit(&f.bits[at/64], 1<<(at%64)) {
			return
		}
		sum += step * 0x9E3779B97F4A7C15
	}
}
