package mdm

import (
	"fmt"
	"strings"

	"github.com/micromdm/plist"

	"github.com/muster-mdm/muster/provision"
)

// Information is what a device says of itself in Authenticate and DeviceInformation; empty fields were not said.
type Information struct {
	Name, Model, ProductName, OSVersion, BuildVersion string
}

// maxDetail keeps a chatty error chain from filling the timeline.
const maxDetail = 1000

// answer holds the parts of all answers that matter here; what else a device says is not read, so that it can't be
// misread.
type answer struct {
	Status      string
	ErrorChain  []failure
	ProfileList []struct {
		PayloadIdentifier string
	}
	ManagedApplicationList map[string]struct {
		Status string
	}
	RejectionReason string
	Books           []struct {
		PersistentID, State, Version string
	}
	QueryResponses struct {
		DeviceName, ModelName, Model, ProductName, OSVersion, BuildVersion string
	}
}

// failure is a link of an ErrorChain.
type failure struct {
	ErrorCode            int
	ErrorDomain          string
	LocalizedDescription string
	USEnglishDescription string
}

// ParseAnswer reads a device's answer to a command of a type. The answer's Command stays empty. Information comes with
// an acknowledged DeviceInformation only, and is nil otherwise. It fails with [provision.CheckinMalformed].
func ParseAnswer(raw []byte, t provision.RequestType) (provision.Answer, *Information, error) {
	var in answer
	if err := plist.Unmarshal(raw, &in); err != nil {
		return provision.Answer{}, nil, malformed("The answer to %s can't be read: %s.", t, oneLine(err.Error()))
	}
	a := provision.Answer{Status: provision.AnswerStatus(in.Status), Detail: detail(in.ErrorChain)}
	switch a.Status {
	case provision.AnswerAcknowledged, provision.AnswerError, provision.AnswerFormatError, provision.AnswerNotNow:
	default:
		return provision.Answer{}, nil, malformed("An answer can't have the status %.40q.", in.Status)
	}
	if a.Status == provision.AnswerFormatError && a.Detail == "" {
		a.Detail = "The device could not read the command."
	}
	a.Absent = in.absent(t)
	if t == provision.InstallMedia && a.Status.Final() {
		a.Rejection = oneLine(in.RejectionReason)
	}
	if a.Status != provision.AnswerAcknowledged {
		return a, nil, nil
	}
	for _, p := range in.ProfileList {
		a.Profiles = append(a.Profiles, p.PayloadIdentifier)
	}
	if t == provision.ManagedApplicationList {
		a.Apps = map[string]string{}
		for id, app := range in.ManagedApplicationList {
			a.Apps[id] = app.Status
		}
	}
	if t == provision.ManagedMediaList {
		a.Books = map[string]provision.Book{}
		for _, b := range in.Books {
			a.Books[b.PersistentID] = provision.Book{State: b.State, Version: b.Version}
		}
	}
	return a, in.information(t), nil
}

func malformed(format string, args ...any) error {
	return provision.Errorf(provision.CheckinMalformed, format, args...)
}

// absent: the device refuses a removal because there is nothing to remove. Apple calls its codes informational; one that
// isn't listed here only costs a further try.
func (a answer) absent(t provision.RequestType) bool {
	for _, f := range a.ErrorChain {
		switch {
		case t == provision.RemoveProfile && f.ErrorDomain == "MCMDMErrorDomain" && f.ErrorCode == 12075, // not installed
			t == provision.RemoveProfile && f.ErrorDomain == "MCInstallationErrorDomain" && f.ErrorCode == 4024, // not found
			t == provision.RemoveProfile && f.ErrorDomain == "MDMClientError" && f.ErrorCode == 89,              // macOS: not found
			t == provision.RemoveApplication && f.ErrorDomain == "MCMDMErrorDomain" && (f.ErrorCode == 12029 || f.ErrorCode == 12038):
			return true
		}
	}
	return false
}

func (a answer) information(t provision.RequestType) *Information {
	if t != provision.DeviceInformationQuery {
		return nil
	}
	q := a.QueryResponses
	return &Information{
		Name: q.DeviceName, Model: first(q.Model, q.ModelName), ProductName: q.ProductName, OSVersion: q.OSVersion,
		BuildVersion: q.BuildVersion,
	}
}

// detail writes an error chain in one line: the cause last, as the device lists it.
func detail(chain []failure) string {
	var parts []string
	for _, f := range chain {
		text := first(f.USEnglishDescription, f.LocalizedDescription, "The device gave no reason.")
		parts = append(parts, fmt.Sprintf("%s (%s %d)", oneLine(text), f.ErrorDomain, f.ErrorCode))
	}
	line := []rune(strings.Join(parts, "; "))
	if len(line) > maxDetail {
		return string(line[:maxDetail]) + "…"
	}
	return string(line)
}

func first(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}

// authenticateInfo are the keys of an Authenticate that describe the device; iOS leaves out the first three.
type authenticateInfo struct {
	DeviceName, ModelName, Model, ProductName, OSVersion, BuildVersion string
}

// InformationOf reads what a device says of itself in an Authenticate.
func InformationOf(authenticate []byte) (Information, error) {
	var in authenticateInfo
	if err := plist.Unmarshal(authenticate, &in); err != nil {
		return Information{}, malformed("The Authenticate can't be read: %s.", oneLine(err.Error()))
	}
	return Information{
		Name: in.DeviceName, Model: first(in.Model, in.ModelName), ProductName: in.ProductName, OSVersion: in.OSVersion,
		BuildVersion: in.BuildVersion,
	}, nil
}

// AwaitsConfiguration reads whether a TokenUpdate says that the device waits in Setup Assistant for DeviceConfigured.
func AwaitsConfiguration(tokenUpdate []byte) (bool, error) {
	var in struct{ AwaitingConfiguration bool }
	if err := plist.Unmarshal(tokenUpdate, &in); err != nil {
		return false, malformed("The TokenUpdate can't be read: %s.", oneLine(err.Error()))
	}
	return in.AwaitingConfiguration, nil
}
