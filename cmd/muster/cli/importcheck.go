package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/muster-mdm/muster/api/bulk"
)

// check is `muster import check`.
type check struct {
	format      bulk.Format
	groups      []string
	groupsGiven bool
	json, all   bool
}

// rowsInError is a file that can't be imported as it is; the report says why.
type rowsInError struct{}

func (rowsInError) Error() string { return "the file or some of its rows are in error" }

// AlreadySaid returns the exit code.
func (rowsInError) AlreadySaid() int { return 1 }

func (c check) run(ctx context.Context, path string, s Streams) error {
	file, err := openForTwo(ctx, path, s.In)
	if err != nil {
		return err
	}
	defer file.Close()
	r := newCheckReport(c, path, s)
	if err := c.examine(ctx, file, r); err != nil {
		return err
	}
	if err := r.close(); err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	if r.failed() {
		return rowsInError{}
	}
	return nil
}

// examine reads the file twice: that two rows are about one device is known only when all were read, and is said of both.
func (c check) examine(ctx context.Context, file io.ReadSeeker, r *checkReport) error {
	seen := bulk.NewDuplicates()
	notices, err := c.read(ctx, file, func(row bulk.Row) error {
		seen.Note(row)
		return nil
	})
	var unusable *bulk.FileError
	if errors.As(err, &unusable) {
		return r.file(unusable.Problems)
	} else if err != nil {
		return err
	}
	if err := r.file(notices); err != nil {
		return err
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("reading the file again: %w", err)
	}
	exists := c.exists()
	_, err = c.read(ctx, file, func(row bulk.Row) error {
		if c.groupsGiven {
			row.CheckGroups(exists)
		}
		seen.Judge(&row) // last, as a server does it
		return r.row(row)
	})
	return err
}

// read hands over every row and returns what is to be said of the file.
func (c check) read(ctx context.Context, file io.Reader, take func(bulk.Row) error) ([]bulk.Problem, error) {
	reader, err := bulk.Open(file, c.format)
	if err != nil {
		return nil, err
	}
	for ctx.Err() == nil {
		row, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return reader.Notices(), nil
		}
		if err == nil {
			err = take(row)
		}
		if err != nil {
			return nil, err
		}
	}
	return nil, context.Cause(ctx)
}

// exists knows groups in any letter case, as the server does.
func (c check) exists() func(string) bool {
	known := map[string]bool{}
	for _, g := range c.groups {
		known[strings.ToLower(strings.TrimSpace(g))] = true
	}
	return func(name string) bool { return known[strings.ToLower(name)] }
}

// openForTwo opens what can be read twice: the file itself, or a copy of what comes once only, in a temporary file.
func openForTwo(ctx context.Context, path string, stdin io.Reader) (io.ReadSeekCloser, error) {
	if path == "-" {
		return keep(ctx, stdin)
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, err //nolint:wrapcheck // it says "open" and the name
	}
	info, err := file.Stat()
	switch {
	case err != nil:
	case info.IsDir():
		err = fmt.Errorf("%s is a folder, not a file", path)
	case info.Mode().IsRegular():
		return file, nil
	default:
		var copied io.ReadSeekCloser
		if copied, err = keep(ctx, file); err == nil {
			err = file.Close()
			return copied, err
		}
	}
	_ = file.Close()
	return nil, err
}

// kept is a temporary file that goes when it is closed.
type kept struct{ *os.File }

// Close closes and removes the file.
func (k kept) Close() error { return errors.Join(k.File.Close(), os.Remove(k.Name())) }

func keep(ctx context.Context, source io.Reader) (io.ReadSeekCloser, error) {
	file, err := os.CreateTemp("", "muster-import-*.csv")
	if err != nil {
		return nil, fmt.Errorf("making room for the input: %w", err)
	}
	copied := make(chan error, 1)
	go func() { // reading a terminal can't be interrupted
		_, err := io.Copy(file, source)
		copied <- err
	}()
	select {
	case err = <-copied:
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	if err == nil {
		_, err = file.Seek(0, io.SeekStart)
	}
	if err != nil {
		_ = kept{file}.Close()
		return nil, fmt.Errorf("reading the input: %w", err)
	}
	return kept{file}, nil
}
