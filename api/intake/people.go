package intake

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/muster-mdm/muster/api/bulk"
	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/store"
)

// mostPeople is how many people a file may name.
const mostPeople = 10_000

// ImportPeople makes the people of a CSV file known, or changes what is known of them; all of them or, when a row is wrong,
// nobody. What the file doesn't say of a person stays as it is. It fails with [ImportUnreadable] and each line at fault.
func (i *Intake) ImportPeople(ctx context.Context, file io.Reader) (n int, err error) {
	reader, err := bulk.Open(file, bulk.People)
	if err != nil {
		return 0, unimportable(err)
	}
	var people []store.PersonEntry
	var wrong []*provision.Error
	for {
		row, err := reader.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return 0, err
		}
		p, err := provision.CheckPerson(row.Assignment.User)
		if row.Verdict == bulk.Fault || err != nil {
			wrong = append(wrong, rowFault(row, err))
		}
		people = append(people, store.PersonEntry{Name: p.Name, Domain: p.Domain, Email: p.Email, Technician: row.Technician})
		if len(people) > mostPeople {
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

// rowFault is all that is wrong with a row; err is what the reader didn't find.
func rowFault(row bulk.Row, err error) *provision.Error {
	code, says := provision.CodeOf(err), []string{}
	for _, p := range row.Problems {
		if p.Severity == bulk.Fault {
			code, says = p.Code, append(says, p.Detail)
		}
	}
	if len(says) == 0 {
		says = []string{err.Error()}
	}
	return provision.Errorf(code, "Line %d: %s", row.Line, strings.Join(says, " ")).At(fmt.Sprintf("line %d", row.Line))
}
