package bulk

import (
	"fmt"
	"slices"
	"strings"

	"github.com/muster-mdm/muster/provision"
)

// Row is one row of a file, read and judged.
type Row struct {
	// Line is where the row begins, 1-based; the header is line 1 of a file that has nothing before it.
	Line int
	// Record holds the cells as they stand in the file, without quotes; of a row that is too long, or whose quotes can't be
	// understood, it is for people only.
	Record []string
	// Assignment is complete when Verdict isn't [Fault].
	Assignment Assignment
	// Reason is that of an unassignment, if one is given.
	Reason string
	// Technician is whether a person is one; nil = nothing is said of it.
	Technician *bool
	Verdict    Verdict
	Problems   []Problem
}

// Assignment is what a row says about a device. In a file of unassignments it has a serial number only.
type Assignment struct {
	// Serial is in the one spelling used everywhere.
	Serial string
	// User has name, domain and e-mail address.
	User provision.Person
	// Groups are the names as written, each once whatever its letter case. Rows share them; they aren't to be changed.
	Groups []string
	// OwnedBy is [provision.Corporate] or [provision.Personal].
	OwnedBy string
}

// Add adds a problem, and changes the verdict accordingly.
func (r *Row) Add(p Problem) {
	r.Problems = append(r.Problems, p)
	r.Verdict = worst(r.Problems)
}

// CheckGroups adds [provision.GroupNotFound] for each group of the row that does not exist (R35).
func (r *Row) CheckGroups(exists func(name string) bool) {
	for _, name := range r.Assignment.Groups {
		if !exists(name) {
			r.fault(GroupName, provision.GroupNotFound, "Group %q does not exist; create it first.%s", clip(name), apart(name))
		}
	}
}

// apart says when a name has marks apart from their letters (ü as two characters, as macOS names files), for it looks like one that
// has them in one.
func apart(name string) string {
	const firstMark, lastMark = 0x0300, 0x036F // of Latin, Greek and Cyrillic; other writing has its marks apart by rights
	for _, c := range name {
		if c >= firstMark && c <= lastMark {
			return fmt.Sprintf(" It has the mark U+%04X apart from its letter; a group that looks the same may have both as one character.", c)
		}
	}
	return ""
}

// Repeats says that the row says what the one at another line says already.
func (r *Row) Repeats(line int) {
	r.notice(SerialNumber, SerialRepeated, "Line %d says the same of %s.", line, r.Assignment.Serial)
}

// Contradicts says that the row and the one at another line say different things of one device; neither is imported.
func (r *Row) Contradicts(line int) {
	r.fault(SerialNumber, SerialConflict, "Line %d says something else of %s; leave one of the two.", line, r.Assignment.Serial)
}

func (r *Row) fault(column string, code provision.Code, format string, args ...any) {
	r.Add(Problem{Line: r.Line, Column: column, Code: code, Severity: Fault, Detail: fmt.Sprintf(format, args...)})
}

func (r *Row) notice(column string, code provision.Code, format string, args ...any) {
	r.Add(Problem{Line: r.Line, Column: column, Code: code, Severity: Notice, Detail: fmt.Sprintf(format, args...)})
}

func takeEmail(r *Row, value string) {
	email, err := provision.CheckEmail(value)
	if err != nil {
		r.fault(EmailAddress, EmailInvalid, "%v", err)
		return
	}
	r.Assignment.User.Email = email
}

// maxGroups is as many groups as an assignment may have by API.
const maxGroups = 100

func takeGroups(r *Row, value string) {
	n := strings.Count(value, "/") + 1
	if n > maxGroups {
		r.fault(GroupName, GroupsTooMany, "%s names %d groups; at most %d are taken.", GroupName, n, maxGroups)
		return
	}
	groups := make([]string, 0, n)
	for part := range strings.SplitSeq(value, "/") {
		if part = strings.TrimSpace(part); part == "" {
			r.fault(GroupName, GroupEmpty, "%s has a \"/\" with no group on one of its sides.", GroupName)
			continue
		}
		name, err := provision.CheckGroupName(part)
		if err != nil {
			r.fault(GroupName, provision.CodeOf(err), "%v", err)
			continue
		}
		if slices.ContainsFunc(groups, func(g string) bool { return strings.EqualFold(g, name) }) {
			r.notice(GroupName, GroupTwice, "Group %q is named more than once.", clip(name))
			continue
		}
		groups = append(groups, name)
	}
	r.Assignment.Groups = groups
}

func takeTechnician(r *Row, value string) {
	var is bool
	switch strings.ToLower(value) {
	case "yes", "true":
		is = true
	case "no", "false":
	default:
		r.fault(Technician, provision.Invalid, "Technician is %q; write yes or no.", clip(value))
		return
	}
	r.Technician = &is
}

func takeOwner(r *Row, value string) {
	for _, owner := range []string{provision.Corporate, provision.Personal} {
		if strings.EqualFold(value, owner) {
			r.Assignment.OwnedBy = owner
			return
		}
	}
	r.fault(OwnedBy, OwnerUnknown, "%q is no owner; write %s or %s.", clip(value), provision.Corporate, provision.Personal)
}
