package abm

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/muster-mdm/muster/apple/fault"
	"github.com/muster-mdm/muster/apple/wire"
)

// readFailures says why it can't, instead of failing: the log is a help, the activity's state is known without.
func (c *Client) readFailures(ctx context.Context, address string) (failures map[string]string, problem string) {
	failures, err := c.failures(ctx, address)
	if err != nil {
		return nil, err.Error()
	}
	return failures, ""
}

// failures downloads an activity's log, from an address that is its own credential, and reads the failures in it.
func (c *Client) failures(ctx context.Context, address string) (map[string]string, error) {
	where, err := url.Parse(address)
	if err != nil || where.Scheme != "https" && where.Host != c.base.Host {
		return nil, errors.New("the activity's log is at an address that isn't safe to ask")
	}
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	ctx, heard := wire.Listen(ctx)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
	if err != nil {
		return nil, errors.New("the activity's log is at an address that can't be asked")
	}
	response, err := c.plain.Do(request)
	if err == nil {
		_ = response.Body.Close() // it was heard
		err = unexpected(heard)
	}
	if f, ok := fault.As(heard.Fault(err, codeOf, kinds)); ok { // without the address, which lets anyone read the log
		return nil, f
	}
	if err != nil {
		return nil, errors.New("asking for the activity's log was given up")
	}
	return readLog(heard.Body)
}

func unexpected(heard *wire.Answer) error {
	if heard.Status != http.StatusOK || heard.Page() {
		return fmt.Errorf("HTTP status %d", heard.Status)
	}
	return nil
}

// readLog finds the columns by words in their names, as Apple publishes neither names nor order.
func readLog(text []byte) (map[string]string, error) {
	reader := csv.NewReader(bytes.NewReader(bytes.TrimPrefix(text, []byte("\xef\xbb\xbf"))))
	reader.FieldsPerRecord, reader.LazyQuotes = -1, true
	records, err := reader.ReadAll()
	if err != nil || len(records) == 0 {
		return nil, errors.New("the activity's log isn't a table")
	}
	serial := column(records[0], "serial")
	outcome, reason := column(records[0], "result", "status", "outcome"), column(records[0], "reason", "error", "message", "detail", "comment")
	if serial < 0 || outcome < 0 && reason < 0 {
		return nil, errors.New("the activity's log has other columns than are known")
	}
	failures := map[string]string{}
	for _, record := range records[1:] {
		name := strings.ToUpper(cell(record, serial))
		said, why := cell(record, outcome), cell(record, reason)
		if name == "" || succeeded(said) || said == "" && why == "" {
			continue
		}
		if why == "" {
			why = said
		}
		failures[name] = wire.Excerpt([]byte(why))
	}
	return failures, nil
}

func succeeded(said string) bool {
	return strings.HasPrefix(strings.ToUpper(said), "SUCCE") || strings.EqualFold(said, "COMPLETED")
}

// column is the first whose name has one of the words, -1 if none does.
func column(header []string, words ...string) int {
	for _, word := range words {
		for i, name := range header {
			if strings.Contains(strings.ToLower(name), word) {
				return i
			}
		}
	}
	return -1
}

func cell(record []string, i int) string {
	if i < 0 || i >= len(record) {
		return ""
	}
	return strings.TrimSpace(record[i])
}
