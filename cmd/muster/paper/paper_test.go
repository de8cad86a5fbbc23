package paper_test

import (
	"bytes"
	"fmt"
	"regexp"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/cmd/muster/paper"
)

// A reader begins at the end: where the table is, and by it where each object is.
func TestThePDFIsWhereItSays(t *testing.T) {
	file := paper.PDF(`Hand(book) \ one`, "first", "second")
	require.True(t, bytes.HasPrefix(file, []byte("%PDF-1.4\n")))
	end := regexp.MustCompile(`startxref\n(\d+)\n%%EOF\n$`).FindSubmatch(file)
	require.NotNil(t, end)
	at, err := strconv.Atoi(string(end[1]))
	require.NoError(t, err)
	entries := regexp.MustCompile(`(\d{10}) 00000 n \n`).FindAllSubmatch(file[at:], -1)
	require.Len(t, entries, 6)
	for i, e := range entries {
		at, err := strconv.Atoi(string(e[1]))
		require.NoError(t, err)
		require.True(t, bytes.HasPrefix(file[at:], fmt.Appendf(nil, "%d 0 obj\n", i+1)))
	}
	stream := regexp.MustCompile(`(?s)/Length (\d+) >>\nstream\n(.*)endstream`).FindSubmatch(file)
	require.Equal(t, string(stream[1]), strconv.Itoa(len(stream[2])))
	require.Contains(t, string(stream[2]), `(Hand\(book\) \\ one) Tj`)
}
