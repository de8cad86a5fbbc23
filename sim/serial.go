package sim

import "strconv"

const (
	serialLetters  = "0123456789CDFGHJKLMNPQRTVWXY" // Apple's alphabet leaves out what is easily misread
	newSerialChars = 10
)

// Serials returns n different serial numbers, the same ones for the same seed; a longer list begins with a shorter.
// Both of Apple's forms occur in turn: twelve characters that say plant, date and model, and ten at random.
func Serials(seed uint64, n int) []string {
	serials := make([]string, 0, n)
	taken := make(map[string]bool, n)
	for try := 0; len(serials) < n; try++ {
		serial := serialOf(chance{seed: seed}, try)
		if !taken[serial] {
			taken[serial] = true
			serials = append(serials, serial)
		}
	}
	return serials
}

func serialOf(c chance, try int) string {
	b := c.bytes("serial", strconv.Itoa(try))
	if try%2 == 1 {
		return letters(b[:newSerialChars])
	}
	plants, models := []string{"C07", "DMP", "F2L", "FK1", "GG7"}, []string{"LG9R", "N72J", "0D3L", "PLJM", "HFLQ"}
	return plants[int(b[0])%len(plants)] + letters(b[1:6]) + models[int(b[6])%len(models)]
}

func letters(b []byte) string {
	out := make([]byte, len(b))
	for i, v := range b {
		out[i] = serialLetters[int(v)%len(serialLetters)]
	}
	return string(out)
}
