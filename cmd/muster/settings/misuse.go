package settings

import "fmt"

// MisuseError is a call that can't be understood or can't work as it stands; commands end with exit code 2.
type MisuseError struct{ err error }

// Misused makes a [MisuseError] that says what is wrong with the call.
func Misused(format string, args ...any) error { return &MisuseError{fmt.Errorf(format, args...)} }

// AsMisuse marks an error as the caller's; nil stays nil.
func AsMisuse(err error) error {
	if err == nil {
		return nil
	}
	return &MisuseError{err}
}

// Error returns the sentence.
func (m *MisuseError) Error() string { return m.err.Error() }

// Unwrap returns what was marked.
func (m *MisuseError) Unwrap() error { return m.err }
