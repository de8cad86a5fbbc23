package sim

import (
	"errors"
	"fmt"
	"net/http"
)

// Error codes as Apple's MDM reference lists them by domain.
const (
	domainProfile = "MCProfileErrorDomain"
	domainInstall = "MCInstallationErrorDomain"
	domainMDM     = "MCMDMErrorDomain"

	profileMalformed     = 1000
	profileBadVersion    = 1001
	profileMissingField  = 1002
	profileBadType       = 1003
	profileBadSignature  = 1004
	profileEmpty         = 1005
	profileSealed        = 1006
	profileDuplicateUUID = 1007
	profileBadValue      = 1010

	installFailed = 4001

	mdmSecondServer     = 12001
	mdmMalformedRequest = 12008
	mdmMismatch         = 12012
	mdmInvalidRequest   = 12021
	mdmStoreIDInvalid   = 12023
	mdmManifestInvalid  = 12024
	mdmProfileAbsent    = 12075
)

// deviceError is one link of an answer's ErrorChain.
type deviceError struct {
	domain string
	code   int
	text   string
}

func (e *deviceError) Error() string { return fmt.Sprintf("%s %d: %s", e.domain, e.code, e.text) }

func profileError(code int, text string) error { return &deviceError{domainProfile, code, text} }

func mdmError(code int, text string) *deviceError { return &deviceError{domainMDM, code, text} }

func errorChain(links ...*deviceError) []any {
	chain := make([]any, 0, len(links))
	for _, link := range links {
		chain = append(chain, dict{
			"ErrorCode":            link.code,
			"ErrorDomain":          link.domain,
			"LocalizedDescription": link.text,
			"USEnglishDescription": link.text,
		})
	}
	return chain
}

// HTTPError is a server's answer that refuses what a device sent.
type HTTPError struct {
	Message string // what was sent, such as Authenticate
	Status  int
	Body    string // its beginning
}

// Error names the message and the status.
func (e *HTTPError) Error() string {
	return fmt.Sprintf("sending %s: the server answered %d %s", e.Message, e.Status, http.StatusText(e.Status))
}

var (
	// ErrNotEnrolled is returned by what needs an enrollment when there is none.
	ErrNotEnrolled = errors.New("the device is not enrolled")
	// ErrEnrolled is returned by Prepare when the device is enrolled already.
	ErrEnrolled = errors.New("the device is enrolled already")
	// ErrRestarted ends what a reboot or a reset interrupted.
	ErrRestarted = errors.New("the device was restarted")

	errOffline = errors.New("the device is offline")
	errLost    = errors.New("the message was lost on its way")
)
