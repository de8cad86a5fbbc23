package fault

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"syscall"
	"time"
)

// Error says what happened and what to do.
func (e *Error) Error() string {
	switch e.Kind {
	case TokenExpired:
		return "The server token of Apple Business Manager has expired" + e.said() + ". Download a new one there, under the server's settings, and upload it here."
	case TokenRejected:
		return e.rejected()
	case TermsNotSigned:
		return "Apple has new terms and conditions" + e.said() + ". Nothing can be asked of it before an administrator has signed in to Apple Business Manager and accepted them."
	case AccessDenied:
		return e.denied()
	case Throttled:
		return "Apple takes no more requests for now" + e.said() + "." + e.again("They go on by themselves.")
	case Unreachable:
		return e.unreachable()
	case Garbled:
		return e.garbled()
	case CursorExhausted:
		return "Apple has nothing more to fetch from here" + e.said() + "; from now on only what changes is asked for."
	case CursorExpired:
		return "Apple has forgotten how far the last sync came" + e.said() + ", because it was more than a week ago. Everything is fetched anew."
	case CursorInvalid:
		return "Apple doesn't take the place where the last sync ended" + e.said() + ". Everything is fetched anew."
	case NotFound:
		return "Apple doesn't know what was asked for" + e.said() + "." + e.explained()
	case Refused:
		return "Apple refuses the request" + e.said() + "." + e.explained()
	}
	return "The request to Apple went wrong" + e.said() + "."
}

// said quotes Apple: " (T_C_NOT_SIGNED, HTTP 403)".
func (e *Error) said() string {
	switch {
	case e.Code != "" && e.Status != 0:
		return fmt.Sprintf(" (%s, HTTP %d)", e.Code, e.Status)
	case e.Code != "":
		return fmt.Sprintf(" (%s)", e.Code)
	case e.Status != 0:
		return fmt.Sprintf(" (HTTP %d)", e.Status)
	}
	return ""
}

func (e *Error) explained() string {
	if e.Detail == "" {
		return ""
	}
	return fmt.Sprintf(" It says: %q.", e.Detail)
}

func (e *Error) again(otherwise string) string {
	if e.RetryAfter <= 0 {
		return " " + otherwise
	}
	return fmt.Sprintf(" It asks to wait for %s.", e.RetryAfter.Round(time.Second))
}

func (e *Error) rejected() string {
	switch {
	case e.Code == "timestamp_refused":
		return "Apple refuses the time of the request" + e.said() + ": this server's clock is wrong by minutes. Set it right."
	case e.Business:
		return "Apple doesn't accept the key of the API account" + e.said() + ": it was revoked, or its client id, key id and key don't belong together. Make a new key for the account in Apple Business Manager, and enter it here."
	}
	return "Apple doesn't accept the server token" + e.said() + ": it was revoked, a newer one was downloaded, or the server was deleted in Apple Business Manager. Download a new token there, and upload it here."
}

func (e *Error) denied() string {
	if e.Business {
		return "Apple denies the API account what was asked for" + e.said() + "." + e.explained() + " Give the account a role that may manage devices, in Apple Business Manager."
	}
	return "Apple denies this server access" + e.said() + ". Whoever downloaded its token may have left or lost the role: download a new one with an administrator's account, and upload it here."
}

func (e *Error) unreachable() string {
	const advice = "It is tried again by itself."
	if e.Status != 0 {
		return "Apple's server is in trouble" + e.said() + "." + e.again(advice)
	}
	return "Apple can't be reached: " + reason(e.Err) + "." + e.again(advice+" If it stays, look at this server's network, proxy and name resolution.")
}

// reason is the cause without its text, which has addresses and a library's words.
func reason(err error) string {
	var name *net.DNSError
	var certificate *tls.CertificateVerificationError
	var authority x509.UnknownAuthorityError
	var timeout interface{ Timeout() bool }
	switch {
	case errors.As(err, &certificate), errors.As(err, &authority):
		return "the certificate that answers isn't trusted; a proxy that opens TLS may stand in between"
	case errors.As(err, &timeout) && timeout.Timeout():
		return "it took too long"
	case errors.As(err, &name):
		return "its name can't be resolved"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "the connection was refused"
	}
	return "the connection broke"
}

func (e *Error) garbled() string {
	const advice = " It is tried again by itself; if it stays, a proxy or a sign-in page of the network may stand in between."
	switch {
	case strings.HasPrefix(e.Detail, "<"):
		return "A web page came instead of Apple's answer" + e.said() + "." + advice
	case e.Status != 0 && e.Status != http.StatusOK:
		return "What came isn't an answer of Apple's" + e.said() + "." + advice
	}
	return "Apple's answer can't be read: it ends early, or something is missing in it." + advice
}
