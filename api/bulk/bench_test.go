package bulk_test

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/api/bulk"
)

// manyRows writes a file of n rows, each right and about a device of its own.
func manyRows(n int) []byte {
	var b bytes.Buffer
	b.WriteString(header)
	for i := range n {
		fmt.Fprintf(&b, "C%011d,User %d,,user%d@zylker.com,zylker_drivers/zylker_sales\n", i, i, i)
	}
	return b.Bytes()
}

// The two halves read the same bytes: what validation costs is the difference.
func BenchmarkRead(b *testing.B) {
	data := manyRows(20_000)
	b.Run("validated", func(b *testing.B) {
		b.SetBytes(int64(len(data)))
		b.ReportAllocs()
		for b.Loop() {
			reader, err := bulk.Open(bytes.NewReader(data), bulk.Assignments)
			require.NoError(b, err)
			var row bulk.Row
			for err == nil {
				err = reader.Read(&row)
			}
			require.ErrorIs(b, err, io.EOF)
		}
	})
	b.Run("encoding_csv", func(b *testing.B) {
		b.SetBytes(int64(len(data)))
		b.ReportAllocs()
		for b.Loop() {
			reader := csv.NewReader(bytes.NewReader(data))
			for {
				if _, err := reader.Read(); errors.Is(err, io.EOF) {
					break
				} else if err != nil {
					b.Fatal(err)
				}
			}
		}
	})
}
