package fault_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/apple/fault"
)

var kinds = []fault.Kind{
	fault.TokenExpired, fault.TokenRejected, fault.TermsNotSigned, fault.AccessDenied, fault.Throttled, fault.Unreachable, fault.Garbled,
	fault.CursorExhausted, fault.CursorExpired, fault.CursorInvalid, fault.NotFound, fault.Refused,
}

func TestKindsAreFoundInChains(t *testing.T) {
	cause := errors.New("cause")
	f := &fault.Error{Kind: fault.Throttled, RetryAfter: time.Minute, Err: cause}
	wrapped := fmt.Errorf("syncing: %w", fmt.Errorf("page 3: %w", f))
	require.Equal(t, fault.Throttled, fault.KindOf(wrapped))
	got, ok := fault.As(wrapped)
	require.True(t, ok)
	require.Equal(t, time.Minute, got.RetryAfter)
	require.ErrorIs(t, wrapped, cause)

	require.Empty(t, fault.KindOf(nil))
	require.Empty(t, fault.KindOf(cause))
	_, ok = fault.As(nil)
	require.False(t, ok)
}

// Every kind has a sentence of its own, quotes Apple, and keeps the cause's text, which has addresses, to itself.
func TestSentences(t *testing.T) {
	seen := map[string]fault.Kind{}
	for _, kind := range append(kinds, "unheard_of") {
		for _, business := range []bool{false, true} {
			bare := &fault.Error{Kind: kind, Business: business, Err: errors.New("Get \"https://secret\": EOF")}
			said := bare.Error()
			require.True(t, strings.HasSuffix(said, "."), said)
			require.NotContains(t, said, "secret")
			require.NotContains(t, said, "(")
			require.True(t, seen[said] == "" || seen[said] == kind, said)
			seen[said] = kind
			quoting := &fault.Error{Kind: kind, Business: business, Status: 418, Code: "SOME_CODE"}
			require.Contains(t, quoting.Error(), "(SOME_CODE, HTTP 418)")
		}
	}
	require.Equal(t, "Apple takes no more requests for now (RATE_LIMIT_EXCEEDED, HTTP 429). It asks to wait for 1m30s.",
		(&fault.Error{Kind: fault.Throttled, Status: 429, Code: "RATE_LIMIT_EXCEEDED", RetryAfter: 90 * time.Second}).Error())
	require.Equal(t, `Apple refuses the request (CONFLICT, HTTP 409). It says: "Activity 7 is in progress.".`,
		(&fault.Error{Kind: fault.Refused, Status: 409, Code: "CONFLICT", Detail: "Activity 7 is in progress."}).Error())
	require.Contains(t, (&fault.Error{Kind: fault.TokenRejected, Code: "invalid_client", Business: true}).Error(), "API account (invalid_client)")
	require.Contains(t, (&fault.Error{Kind: fault.Garbled, Status: 200, Detail: "<html>"}).Error(), "A web page came")
}

func TestWhyAppleCannotBeReached(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{&net.DNSError{Err: "no such host", Name: "x", IsNotFound: true}, "name can't be resolved"},
		{&net.DNSError{Err: "i/o timeout", Name: "x", IsTimeout: true}, "took too long"},
		{&net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}, "was refused"},
		{&net.OpError{Op: "read", Err: syscall.ECONNRESET}, "connection broke"},
		{&tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}, "isn't trusted"},
		{x509.UnknownAuthorityError{}, "isn't trusted"},
		{context.DeadlineExceeded, "took too long"},
		{errors.New("http2: client connection lost"), "connection broke"},
		{nil, "connection broke"},
	} {
		err := &fault.Error{Kind: fault.Unreachable, Err: c.err}
		require.ErrorContains(t, err, c.want, "%v", c.err)
		require.ErrorContains(t, err, "network")
	}
	trouble := &fault.Error{Kind: fault.Unreachable, Status: 503, RetryAfter: 7 * time.Second}
	require.EqualError(t, trouble, "Apple's server is in trouble (HTTP 503). It asks to wait for 7s.")
}
