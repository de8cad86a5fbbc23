package checkin

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/micromdm/nanomdm/mdm"
	"github.com/micromdm/nanomdm/service"
	"github.com/micromdm/plist"

	"github.com/muster-mdm/muster/provision"
)

func malformed(format string, args ...any) error {
	return provision.Errorf(provision.CheckinMalformed, format, args...)
}

// checkText refuses what NanoMDM's text columns can't hold; the database's error would become a 500, which the device
// repeats for ever.
func checkText(body []byte) error {
	if !bytes.HasPrefix(body, []byte("<?xml")) {
		return malformed("The message is not an XML property list.")
	}
	if !utf8.Valid(body) || bytes.IndexByte(body, 0) >= 0 {
		return malformed("The message is not UTF-8 text.")
	}
	return checkDepth(body)
}

const (
	// deepest is far beyond what devices send, some 10.
	deepest = 200
	// shallow is a message too short to nest dangerously deep, as nearly all are; looking costs as much as reading.
	shallow = 64 << 10
)

// checkDepth refuses lists within lists: the library reads each within the other, and a million of them in one message take half a
// gigabyte. What is no XML is the library's to refuse.
func checkDepth(body []byte) error {
	if len(body) <= shallow {
		return nil
	}
	tokens, depth := xml.NewDecoder(bytes.NewReader(body)), 0
	for {
		token, err := tokens.RawToken()
		if err != nil {
			return nil //nolint:nilerr // its end, or where the library stops, too
		}
		switch token.(type) {
		case xml.StartElement:
			depth++
		case xml.EndElement:
			depth--
		}
		if depth > deepest {
			return malformed("The message has lists within lists, more than %d deep.", deepest)
		}
	}
}

// longest is the room of NanoMDM's columns for ids and names.
const longest = 255

func checkLength(name, value string, most int) error {
	if len(value) > most {
		return malformed("%s is longer than %d bytes.", name, most)
	}
	return nil
}

func checkEnrollment(e *mdm.Enrollment) (*mdm.ResolvedEnrollment, error) {
	resolved := e.Resolved()
	if resolved == nil {
		return nil, malformed("The message names neither a UDID nor an EnrollmentID.")
	}
	if resolved.IsUserChannel && resolved.UserChannelID == "" {
		return nil, malformed("The message comes from a user without a name.")
	}
	return resolved, errors.Join(
		checkLength("The enrollment's id", resolved.DeviceChannelID+":"+resolved.UserChannelID, longest),
		checkLength("UserShortName", e.UserShortName, longest),
		checkLength("UserLongName", e.UserLongName, longest))
}

func readCheckin(body []byte) (any, error) {
	if err := checkText(body); err != nil {
		return nil, err
	}
	message, err := mdm.DecodeCheckin(body)
	switch {
	case errors.Is(err, mdm.ErrUnrecognizedMessageType):
		return nil, malformed("The MessageType is not one of Apple's.")
	case err != nil:
		return nil, malformed("The check-in is not a property list of Apple's form.")
	}
	switch m := message.(type) {
	case *mdm.TokenUpdate:
		return m, checkTokenUpdate(m)
	case *mdm.GetToken:
		if m.Validate() != nil {
			return nil, malformed("The GetToken lacks its service type or parameters.")
		}
	}
	return message, nil
}

func checkTokenUpdate(m *mdm.TokenUpdate) error {
	const pushMagic = 127
	if m.Topic == "" || m.PushMagic == "" || len(m.Token) == 0 {
		return malformed("The TokenUpdate lacks its topic, token or push magic.")
	}
	return errors.Join(
		checkLength("Topic", m.Topic, longest),
		checkLength("PushMagic", m.PushMagic, pushMagic),
		checkLength("Token", m.Token.String(), longest))
}

func readAnswer(body []byte) (*mdm.CommandResults, error) {
	if err := checkText(body); err != nil {
		return nil, err
	}
	results, err := mdm.DecodeCommandResults(body)
	if err != nil {
		return nil, malformed("The answer is not a property list of Apple's form.")
	}
	return results, nil
}

// dispatch hands a check-in to its method and writes what that returns.
func dispatch(svc service.Checkin, r *mdm.Request, message any) ([]byte, error) {
	switch m := message.(type) {
	case *mdm.Authenticate:
		return nil, svc.Authenticate(r, m)
	case *mdm.TokenUpdate:
		return nil, svc.TokenUpdate(r, m)
	case *mdm.CheckOut:
		return nil, svc.CheckOut(r, m)
	case *mdm.UserAuthenticate:
		return svc.UserAuthenticate(r, m)
	case *mdm.SetBootstrapToken:
		return nil, svc.SetBootstrapToken(r, m)
	case *mdm.GetBootstrapToken:
		token, err := svc.GetBootstrapToken(r, m)
		if err != nil || token == nil { // none kept: an empty answer
			return nil, err
		}
		return plist.Marshal(token)
	case *mdm.DeclarativeManagement:
		return svc.DeclarativeManagement(r, m)
	case *mdm.GetToken:
		token, err := svc.GetToken(r, m)
		if err != nil {
			return nil, err
		}
		return plist.Marshal(token)
	}
	return nil, fmt.Errorf("check-in %T is not handled", message)
}
