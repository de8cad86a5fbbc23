package bulk

import (
	"strings"
	"unicode"
)

// Format is what a file is for.
type Format int

// Formats.
const (
	// Assignments say who gets a device, and what (R29).
	Assignments Format = iota + 1
	// Unassignments list devices by serial number (R58).
	Unassignments
	// People say who is known, and who of them is a technician. Their rows have a user, and no serial number.
	People
)

// Names of the columns, as templates spell them.
const (
	SerialNumber = "Serial Number"
	UserName     = "User Name"
	DomainName   = "Domain Name"
	EmailAddress = "Email Address"
	GroupName    = "Group Name"
	OwnedBy      = "Owned By"
	Reason       = "Reason"
	Technician   = "Technician"
)

// column is a column of a format and how its values get into a row.
type column struct {
	name      string
	mandatory bool
	// most is the number of characters that a value may have; 0 when take knows better.
	most int
	// take checks a clean value that isn't empty, and keeps it.
	take func(row *Row, value string)
}

// The serial number is the first column of every format that has one. The limits are those of the API for the same values.
var (
	assignmentColumns = []column{
		{name: SerialNumber, mandatory: true, take: takeSerial},
		{name: UserName, mandatory: true, most: 200, take: func(r *Row, v string) { r.Assignment.User.Name = v }},
		{name: DomainName, most: 200, take: func(r *Row, v string) { r.Assignment.User.Domain = v }},
		{name: EmailAddress, mandatory: true, most: 320, take: takeEmail},
		{name: GroupName, mandatory: true, take: takeGroups},
		{name: OwnedBy, take: takeOwner},
	}
	peopleColumns = []column{
		{name: UserName, mandatory: true, most: 200, take: func(r *Row, v string) { r.Assignment.User.Name = v }},
		{name: DomainName, most: 200, take: func(r *Row, v string) { r.Assignment.User.Domain = v }},
		{name: EmailAddress, mandatory: true, most: 320, take: takeEmail},
		{name: Technician, take: takeTechnician},
	}
	unassignmentColumns = []column{
		{name: SerialNumber, mandatory: true, take: takeSerial},
		{name: Reason, most: 200, take: func(r *Row, v string) { r.Reason = v }},
	}
)

func (f Format) columns() []column {
	switch f {
	case Unassignments:
		return unassignmentColumns
	case People:
		return peopleColumns
	case Assignments:
	}
	return assignmentColumns
}

// Template is an empty file of the format: one line with the names of all columns, which imports as it is (R28).
func (f Format) Template() []byte {
	names := make([]string, 0, len(f.columns()))
	for _, c := range f.columns() {
		names = append(names, c.name)
	}
	return []byte(strings.Join(names, ",") + "\n")
}

// fold is a column's name without what doesn't matter in it: letter case, blanks (R40), and what programs write for
// them.
func fold(name string) string {
	return strings.Map(func(r rune) rune {
		if r == '_' || r == '-' || unicode.IsSpace(r) || invisible(r) {
			return -1
		}
		return unicode.ToLower(r)
	}, name)
}
