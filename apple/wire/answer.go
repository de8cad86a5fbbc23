package wire

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"strings"
	"time"
	"unicode"

	"github.com/muster-mdm/muster/apple/fault"
)

// Answer is the last that Apple's servers said in the course of a call, which may be several requests: sessions and
// tokens are renewed on the way. It is empty when nothing came, or not all of it.
type Answer struct {
	Path   string // that was asked
	Status int
	Header http.Header
	Body   []byte
}

type listener struct{}

// Listen has the answers to requests of the returned context noted; one call at a time may use it.
func Listen(ctx context.Context) (context.Context, *Answer) {
	heard := new(Answer)
	return context.WithValue(ctx, listener{}, heard), heard
}

func answerOf(ctx context.Context) *Answer {
	if heard, ok := ctx.Value(listener{}).(*Answer); ok {
		return heard
	}
	return new(Answer)
}

// Reader takes the code and the explanation out of an answer that isn't a success; "" for what isn't in it.
type Reader func(Answer) (code, detail string)

// Fault makes a call's error one of [fault.Error], from what was heard last. An error that has become one on the way
// keeps its kind, and a call that was cancelled its error. known has the codes whose kind the status doesn't tell.
func (a *Answer) Fault(err error, read Reader, known map[string]fault.Kind) error {
	if err == nil || errors.Is(err, context.Canceled) {
		return err
	}
	if f, ok := fault.As(err); ok {
		return f
	}
	switch {
	case a.Status == 0:
		return &fault.Error{Kind: fault.Unreachable, Err: err}
	case a.Status < http.StatusBadRequest:
		return &fault.Error{Kind: fault.Garbled, Status: a.Status, Detail: Excerpt(a.Body), Err: err}
	}
	f := &fault.Error{Status: a.Status, RetryAfter: RetryAfter(a.Header, time.Now()), Err: err}
	f.Code, f.Detail = read(*a)
	if f.Kind = known[f.Code]; f.Kind == "" || a.Status >= http.StatusInternalServerError {
		f.Kind = a.kind(f.Code)
	}
	if f.Code == "" && f.Detail == "" {
		f.Detail = Excerpt(a.Body)
	}
	return f
}

// kind judges by status and code. What a proxy says in Apple's place mustn't look like Apple's word: that a device isn't
// there, or that a token isn't accepted, has consequences.
func (a *Answer) kind(code string) fault.Kind {
	switch {
	case a.Status == http.StatusTooManyRequests:
		return fault.Throttled
	case a.Status >= http.StatusInternalServerError, a.Status == http.StatusRequestTimeout:
		return fault.Unreachable
	case code == "" && a.foreign():
		return fault.Garbled
	}
	switch a.Status {
	case http.StatusUnauthorized:
		return fault.TokenRejected
	case http.StatusForbidden:
		return fault.AccessDenied
	case http.StatusNotFound:
		if strings.Contains(code, "NOT_FOUND") {
			return fault.NotFound
		}
	}
	return fault.Refused
}

func (a *Answer) foreign() bool {
	return a.Page() || a.Status == http.StatusNotFound || a.Status == http.StatusProxyAuthRequired
}

// Page is whether the answer is a web page.
func (a *Answer) Page() bool {
	return strings.HasPrefix(a.Header.Get("Content-Type"), "text/html") || bytes.HasPrefix(bytes.TrimSpace(a.Body), []byte("<"))
}

// Excerpt is the beginning of a text, in one printable line.
func Excerpt(text []byte) string {
	const most = 200
	text = text[:min(len(text), 4*most)]
	line := strings.Join(strings.FieldsFunc(strings.ToValidUTF8(string(text), ""), func(r rune) bool {
		return !unicode.IsPrint(r) || r == ' '
	}), " ")
	if runes := []rune(line); len(runes) > most {
		return string(runes[:most]) + "…"
	}
	return line
}
