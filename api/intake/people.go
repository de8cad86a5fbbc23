package intake

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/muster-mdm/muster/api/bulk"
	"github.com/muster-mdm/muster/provision"
)

// mostPeople is how many people a file may name.
const mostPeople = 10_000

// technicianColumn says who is a technician: yes or no.
const technicianColumn = "Technician"

// ImportPeople makes the people of a CSV file known, or changes what is known of them; all of them or, when a row is wrong,
// nobody. It fails with [ImportUnreadable] and each line at fault.
func (i *Intake) ImportPeople(ctx context.Context, file io.Reader) (n int, err error) {
	reader := csv.NewReader(file)
	reader.FieldsPerRecord = -1
	header, err := reader.Read()
	if err != nil {
		return 0, peopleFault(err)
	}
	columns, err := peopleColumns(header)
	if err != nil {
		return 0, err
	}
	var people []provision.Person
	var wrong []*provision.Error
	for {
		record, err := reader.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return 0, peopleFault(err)
		}
		line, _ := reader.FieldPos(0)
		p, err := personIn(record, columns)
		if fault := new(provision.Error); errors.As(err, &fault) {
			wrong = append(wrong, provision.Errorf(fault.Code, "Line %d: %s", line, fault.Message).At(fmt.Sprintf("line %d", line)))
		}
		if people = append(people, p); len(people) > mostPeople {
			return 0, provision.Errorf(ImportUnreadable, "The file names more than %d people; split it.", mostPeople)
		}
	}
	if len(wrong) > 0 {
		out := provision.Errorf(ImportUnreadable, "Nobody was imported: %d rows are in error. %s", len(wrong), wrong[0].Message)
		out.Others = wrong
		return 0, out
	}
	return len(people), i.db.SavePeople(ctx, people)
}

func peopleFault(err error) error {
	var parse *csv.ParseError
	switch {
	case errors.As(err, &parse):
		return provision.Errorf(ImportUnreadable, "Line %d can't be read: %v.", parse.Line, parse.Err).At(fmt.Sprintf("line %d", parse.Line))
	case errors.Is(err, io.EOF):
		return provision.Errorf(ImportUnreadable, "The file is empty.")
	}
	return err
}

// peopleColumns finds the columns, whatever their letter case.
func peopleColumns(header []string) (map[string]int, error) {
	columns := map[string]int{}
	for _, name := range []string{bulk.UserName, bulk.EmailAddress, bulk.DomainName, technicianColumn} {
		at := slices.IndexFunc(header, func(c string) bool {
			return strings.EqualFold(strings.TrimSpace(strings.TrimPrefix(c, "\uFEFF")), name)
		})
		if at < 0 && (name == bulk.UserName || name == bulk.EmailAddress) {
			return nil, provision.Errorf(ImportUnreadable, "The column %q is missing.", name).At("line 1")
		}
		columns[name] = at
	}
	return columns, nil
}

func personIn(record []string, columns map[string]int) (provision.Person, error) {
	cell := func(name string) string {
		if at := columns[name]; at >= 0 && at < len(record) {
			return strings.TrimSpace(plain(record[at]))
		}
		return ""
	}
	p := provision.Person{Name: cell(bulk.UserName), Domain: cell(bulk.DomainName), Email: cell(bulk.EmailAddress)}
	switch strings.ToLower(cell(technicianColumn)) {
	case "yes", "true":
		p.Technician = true
	case "", "no", "false":
	default:
		return p, provision.Errorf(provision.Invalid, "Technician must be yes or no.")
	}
	return provision.CheckPerson(p)
}
