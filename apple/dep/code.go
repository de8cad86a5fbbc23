package dep

import (
	"bytes"
	"strings"

	"github.com/muster-mdm/muster/apple/fault"
	"github.com/muster-mdm/muster/apple/wire"
)

// kinds has the codes of Apple's "Authenticating for Device Assignment" and of its endpoints' pages whose kind the HTTP
// status doesn't tell. Those of OAuth come as 401, by some reports as 403.
var kinds = map[string]fault.Kind{
	"T_C_NOT_SIGNED": fault.TermsNotSigned,
	"ACCESS_DENIED":  fault.AccessDenied,
	"FORBIDDEN":      fault.AccessDenied,

	"token_expired":             fault.TokenExpired,
	"token_rejected":            fault.TokenRejected,
	"token_revoked":             fault.TokenRejected,
	"token_used":                fault.TokenRejected,
	"consumer_key_unknown":      fault.TokenRejected,
	"consumer_key_rejected":     fault.TokenRejected,
	"consumer_key_refused":      fault.TokenRejected,
	"signature_invalid":         fault.TokenRejected,
	"signature_method_rejected": fault.TokenRejected,
	"permission_unknown":        fault.TokenRejected,
	"permission_denied":         fault.TokenRejected,
	"parameter_absent":          fault.TokenRejected,
	"parameter_rejected":        fault.TokenRejected,
	"version_rejected":          fault.TokenRejected,
	"timestamp_refused":         fault.TokenRejected,
	"nonce_used":                fault.Unreachable, // a request that was repeated on the way

	"EXHAUSTED_CURSOR": fault.CursorExhausted,
	"EXPIRED_CURSOR":   fault.CursorExpired,
	"INVALID_CURSOR":   fault.CursorInvalid,
	"CURSOR_REQUIRED":  fault.CursorInvalid,

	"TOO_MANY_REQUESTS": fault.Throttled,
	"THROTTLED":         fault.Throttled,
	"QUOTA_EXCEEDED":    fault.Throttled,
}

// codeOf reads the code that is the whole body of a refusal, with or without quotes; in a longer one it looks for a code
// that it knows.
func codeOf(a wire.Answer) (code, detail string) {
	if a.Page() {
		return "", ""
	}
	body := string(bytes.Trim(a.Body, "\" \t\r\n"))
	if isCode(body) {
		return body, ""
	}
	for known := range kinds {
		if strings.Contains(body, known) && len(known) > len(code) {
			code = known
		}
	}
	return code, wire.Excerpt(a.Body)
}

func isCode(body string) bool {
	const longest = 100
	if body == "" || len(body) > longest {
		return false
	}
	for _, c := range []byte(body) {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '_' {
			return false
		}
	}
	return true
}
