// Package fault says what went wrong between us and Apple's servers: in kinds, by which callers decide, and in sentences,
// by which people do.
package fault

import (
	"errors"
	"time"
)

// Kind is what went wrong, as far as what to do about it depends on it.
type Kind string

// The kinds. TokenExpired to AccessDenied need a person at Apple's portal; Throttled, Unreachable and Garbled pass.
const (
	// TokenExpired: the server token's year is over.
	TokenExpired Kind = "token_expired"
	// TokenRejected: the server token or the API account's key was revoked, was replaced by a newer one, or isn't known.
	TokenRejected Kind = "token_rejected"
	// TermsNotSigned: Apple has new terms and conditions that nobody of the organisation has accepted.
	TermsNotSigned Kind = "terms_not_signed"
	// AccessDenied: Apple knows who asks and doesn't let them.
	AccessDenied Kind = "access_denied"
	// Throttled: too much was asked; nothing may be before RetryAfter is over.
	Throttled Kind = "throttled"
	// Unreachable: no answer, or one of a server in trouble (5xx). Whether the request was carried out isn't known.
	Unreachable Kind = "unreachable"
	// Garbled: an answer that isn't Apple's, or not all of it. Whether the request was carried out isn't known.
	Garbled Kind = "garbled"
	// CursorExhausted: everything was fetched; go on from the cursor by sync.
	CursorExhausted Kind = "cursor_exhausted"
	// CursorExpired: the cursor is older than a week; fetch everything anew.
	CursorExpired Kind = "cursor_expired"
	// CursorInvalid: the cursor isn't one that Apple gave for this; fetch everything anew.
	CursorInvalid Kind = "cursor_invalid"
	// NotFound: Apple itself says that what was asked for doesn't exist.
	NotFound Kind = "not_found"
	// Refused: Apple doesn't do it, for the reason in Code; asking again changes nothing.
	Refused Kind = "refused"
)

// Error is what went wrong with one request to Apple. Its text is a sentence for people, without the cause's own text,
// which errors.Unwrap has.
type Error struct {
	Kind   Kind
	Status int    // of HTTP; 0 when there was no answer
	Code   string // Apple's own code, verbatim; "" when it gave none
	Detail string // Apple's explanation, or the beginning of what came instead of one
	// RetryAfter is how long Apple asks to wait, 0 when it doesn't say.
	RetryAfter time.Duration
	// Business is whether the Apple Business (or School Manager) API said it, rather than the device assignment API.
	Business bool
	Err      error
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// As returns the first [Error] in err's chain.
func As(err error) (*Error, bool) {
	var e *Error
	ok := errors.As(err, &e)
	return e, ok
}

// KindOf returns the kind of the first [Error] in err's chain, "" when there is none.
func KindOf(err error) Kind {
	if e, ok := As(err); ok {
		return e.Kind
	}
	return ""
}
