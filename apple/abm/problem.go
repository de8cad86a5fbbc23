package abm

import (
	"encoding/json"
	"net/http"
	"strings"

	"github.com/muster-mdm/muster/apple/fault"
	"github.com/muster-mdm/muster/apple/wire"
)

// problem is one of the errors in an answer (Apple: "ErrorResponse").
type problem struct {
	Code   string `json:"code"`
	Title  string `json:"title"`
	Detail string `json:"detail"`
	Source struct {
		Parameter string `json:"parameter"`
	} `json:"source"`
}

// kinds has the codes whose kind the HTTP status doesn't tell: those of OAuth (RFC 6749, section 5.2), which answers for
// the account's key, come as 400.
var kinds = map[string]fault.Kind{
	"invalid_client":      fault.TokenRejected,
	"invalid_grant":       fault.TokenRejected,
	"invalid_scope":       fault.TokenRejected,
	"unauthorized_client": fault.TokenRejected,
	"access_denied":       fault.TokenRejected,
	"RATE_LIMIT_EXCEEDED": fault.Throttled,
}

// read takes the first error out of an answer: of the API in JSON:API's form, of the token endpoint in OAuth's.
func read(a wire.Answer) problem {
	var answer struct {
		Errors      []problem `json:"errors"`
		OAuth       string    `json:"error"`
		Description string    `json:"error_description"`
	}
	if err := json.Unmarshal(a.Body, &answer); err != nil {
		return problem{}
	}
	if len(answer.Errors) > 0 {
		return answer.Errors[0]
	}
	return problem{Code: answer.OAuth, Detail: answer.Description}
}

func codeOf(a wire.Answer) (code, detail string) {
	p := read(a)
	if p.Detail == "" {
		return p.Code, p.Title
	}
	return p.Code, p.Detail
}

func faultOf(err error, heard *wire.Answer) error {
	f, ok := fault.As(heard.Fault(err, codeOf, kinds))
	if !ok {
		return err
	}
	f.Business = true
	switch p := read(*heard); {
	case f.Kind == fault.AccessDenied && p.aboutTerms():
		f.Kind = fault.TermsNotSigned
	case f.Kind == fault.Refused && heard.Status == http.StatusBadRequest && p.Source.Parameter == "cursor":
		f.Kind = fault.CursorInvalid
	}
	return f
}

// aboutTerms reads what Apple asks programs not to read, its words: no code of this API for terms that wait to be
// accepted is known, and telling a person to accept them is better than to look for a role that isn't missing.
func (p problem) aboutTerms() bool {
	said := strings.ToLower(p.Code + " " + p.Title + " " + p.Detail)
	return strings.Contains(said, "terms") || strings.Contains(said, "agreement")
}
