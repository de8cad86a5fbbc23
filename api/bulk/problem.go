package bulk

import (
	"fmt"
	"strings"

	"github.com/muster-mdm/muster/provision"
)

// Verdict is what is thought of a row, or how much a problem matters.
type Verdict string

// Verdicts. A row with notices is imported; one in error is not.
const (
	OK     Verdict = "ok"
	Notice Verdict = "notice"
	Fault  Verdict = "error"
)

// Problem is one thing to know about a row or a file.
type Problem struct {
	// Line is where it is, 1-based: lines are counted as editors do, also within quoted values.
	Line int
	// Column is the column's name as the format spells it, or as the file does when the format doesn't know it; "" when the
	// problem is that of the whole row or file.
	Column string
	Code   provision.Code
	// Severity is [Notice] or [Fault].
	Severity Verdict
	// Detail is a sentence for people.
	Detail string
}

// FileError says that a file can't be imported at all. Its problems hold notices, too.
type FileError struct{ Problems []Problem }

// Error returns the sentences about what is wrong.
func (e *FileError) Error() string {
	var wrong []Problem
	for _, p := range e.Problems {
		if p.Severity == Fault {
			wrong = append(wrong, p)
		}
	}
	return Details(wrong)
}

// Details joins the sentences of problems.
func Details(problems []Problem) string {
	sentences := make([]string, len(problems))
	for i, p := range problems {
		sentences[i] = p.Detail
	}
	return strings.Join(sentences, " ")
}

// Codes lists the codes of problems, each once, in their order.
func Codes(problems []Problem) []provision.Code {
	codes := make([]provision.Code, 0, len(problems))
	seen := make(map[provision.Code]bool, len(problems))
	for _, p := range problems {
		if !seen[p.Code] {
			seen[p.Code] = true
			codes = append(codes, p.Code)
		}
	}
	return codes
}

// worst is the verdict that problems add up to.
func worst(problems []Problem) Verdict {
	v := OK
	for _, p := range problems {
		if p.Severity == Fault {
			return Fault
		}
		v = Notice
	}
	return v
}

// fileProblem is a problem of the file at a line.
func fileProblem(line int, severity Verdict, code provision.Code, format string, args ...any) Problem {
	return Problem{Line: line, Code: code, Severity: severity, Detail: fmt.Sprintf(format, args...)}
}

// clip shortens what is quoted in a sentence.
func clip(s string) string {
	const most = 60
	for i := range s {
		if i >= most {
			return s[:i] + "…"
		}
	}
	return s
}
