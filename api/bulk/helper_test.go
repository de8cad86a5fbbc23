package bulk_test

import (
	"bytes"
	"errors"
	"io"
	"strings"

	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/api/bulk"
)

const header = "Serial Number,User Name,Domain Name,Email Address,Group Name\n"

// tester is what *testing.T, *testing.B and *rapid.T have in common.
type tester interface {
	require.TestingT
	Helper()
}

// checked is what is found in a file.
type checked struct {
	reader *bulk.Reader // nil when the file can't be imported
	file   []bulk.Problem
	rows   []bulk.Row
}

// open reads a file as far as it can be imported.
func open(t tester, source io.Reader, f bulk.Format) checked {
	t.Helper()
	reader, err := bulk.Open(source, f)
	var unusable *bulk.FileError
	if errors.As(err, &unusable) {
		require.Nil(t, reader)
		require.NotEmpty(t, unusable.Error())
		return checked{file: unusable.Problems}
	}
	require.NoError(t, err)
	c := checked{reader: reader}
	for {
		row, err := reader.Next()
		if errors.Is(err, io.EOF) {
			c.file = reader.Notices()
			return c
		}
		require.NoError(t, err)
		c.rows = append(c.rows, row)
	}
}

// check is open with duplicates and groups, as the command does it.
func check(t tester, data []byte, f bulk.Format, groups ...string) checked {
	t.Helper()
	c := open(t, bytes.NewReader(data), f)
	seen := bulk.NewDuplicates()
	for _, row := range c.rows {
		seen.Note(row)
	}
	for i := range c.rows {
		seen.Judge(&c.rows[i])
		if groups != nil {
			c.rows[i].CheckGroups(func(name string) bool { return contains(groups, name) })
		}
	}
	return c
}

func contains(groups []string, name string) bool {
	for _, g := range groups {
		if strings.EqualFold(g, name) {
			return true
		}
	}
	return false
}

// one reads a file of one row.
func one(t tester, data string) bulk.Row {
	t.Helper()
	c := open(t, strings.NewReader(data), bulk.Assignments)
	require.Len(t, c.rows, 1, "%q", data)
	return c.rows[0]
}
