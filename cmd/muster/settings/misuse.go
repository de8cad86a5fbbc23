package settings

import "fmt"

// Misuse is a call that can't be understood or can't work as it stands; commands end with exit code 2.
type Misuse struct{ err error }

// Misused makes a [Misuse] that says what is wrong with the call.
func Misused(format string, args ...any) error { return &Misuse{fmt.Errorf(format, args...)} }

// AsMisuse marks an error as the caller's; nil stays nil.
func AsMisuse(err error) error {
	if err == nil {
		return nil
	}
	return &Misuse{err}
}

// Error returns the sentence.
func (m *Misuse) Error() string { return m.err.Error() }

// Unwrap returns what was marked.
func (m *Misuse) Unwrap() error { return m.err }
