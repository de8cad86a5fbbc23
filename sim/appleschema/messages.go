package appleschema

import (
	"encoding/json"
	"fmt"
	"slices"
)

// The envelopes of commands and answers are described in Apple's reference pages only, not in the YAML files.
var (
	commandEnvelope = []*key{
		{Key: "CommandUUID", Type: "<string>", Presence: "required"},
		{Key: "Command", Type: "<dictionary>", Presence: "required"},
	}
	commandCommon = []*key{
		{Key: "RequestType", Type: "<string>", Presence: "required"},
		{Key: "RequestRequiresNetworkTether", Type: "<boolean>"},
	}
	userOnly     = map[string]support{"iOS": {DeviceChannel: new(bool)}, "macOS": {DeviceChannel: new(bool)}}
	answerCommon = []*key{
		{
			Key: "Status", Type: "<string>", Presence: "required",
			RangeList: []any{"Acknowledged", "Error", "CommandFormatError", "Idle", "NotNow"},
		},
		{Key: "CommandUUID", Type: "<string>"},
		{Key: "UDID", Type: "<string>"},
		{Key: "EnrollmentID", Type: "<string>"},
		{Key: "EnrollmentUserID", Type: "<string>", SupportedOS: userOnly},
		{Key: "UserID", Type: "<string>", SupportedOS: userOnly},
		{Key: "UserShortName", Type: "<string>", SupportedOS: userOnly},
		{Key: "UserLongName", Type: "<string>", SupportedOS: userOnly},
		{Key: "NotOnConsole", Type: "<boolean>", SupportedOS: userOnly},
		{Key: "ErrorChain", Type: "<array>", Subkeys: []*key{{Key: "ErrorChainItem", Type: "<dictionary>", Subkeys: []*key{
			{Key: "ErrorCode", Type: "<integer>", Presence: "required"},
			{Key: "ErrorDomain", Type: "<string>", Presence: "required"},
			{Key: "LocalizedDescription", Type: "<string>", Presence: "required"},
			{Key: "USEnglishDescription", Type: "<string>"},
		}}}},
	}
)

// CheckCheckin checks a check-in's body against the schema of its MessageType.
func (s *Schema) CheckCheckin(body []byte) []Violation {
	c := &checker{platform: s.platform, message: "check-in"}
	dict, err := decode(body)
	if err != nil {
		c.report("", "%v", err)
		return c.found
	}
	name, _ := dict["MessageType"].(string)
	d := c.document("check-in "+name, "MessageType", s.checkins[name])
	if d == nil {
		return c.found
	}
	c.dictionary("", dict, d.PayloadKeys)
	c.identity(dict)
	return c.found
}

// CheckCommand checks a command as the server sends it: its envelope, and its keys by RequestType.
func (s *Schema) CheckCommand(body []byte) []Violation {
	c := &checker{platform: s.platform, message: "command"}
	dict, err := decode(body)
	if err != nil {
		c.report("", "%v", err)
		return c.found
	}
	c.dictionary("", dict, commandEnvelope)
	command, _ := dict["Command"].(map[string]any)
	name, _ := command["RequestType"].(string)
	d := c.document("command "+name, "Command.RequestType", s.commands[name])
	if d == nil {
		return c.found
	}
	c.dictionary("Command", command, slices.Concat(commandCommon, d.PayloadKeys))
	return c.found
}

// CheckAnswer checks what a device sends to its server URL; requestType is that of the command it answers,
// and empty for the Idle message.
func (s *Schema) CheckAnswer(requestType string, body []byte) []Violation {
	c := &checker{platform: s.platform, message: "answer to " + requestType}
	dict, err := decode(body)
	if err != nil {
		c.report("", "%v", err)
		return c.found
	}
	c.identity(dict)
	status, _ := dict["Status"].(string)
	if status == "Idle" {
		c.message = "idle message"
		c.dictionary("", dict, slices.DeleteFunc(slices.Clone(answerCommon), func(k *key) bool {
			return k.Key == "CommandUUID" || k.Key == "ErrorChain"
		}))
		return c.found
	}
	if _, ok := dict["CommandUUID"]; !ok {
		c.report("CommandUUID", "required key is missing")
	}
	// An answer to a command that Apple doesn't know can only be an error, and carries no keys of its own.
	var own []*key
	if d := s.commands[requestType]; d != nil {
		own = d.ResponseKeys
	} else if status == "Acknowledged" {
		c.report("Status", "the request type is unknown and can't be acknowledged")
	}
	common, rest := split(dict, answerCommon)
	c.dictionary("", common, answerCommon)
	c.lenient = status != "Acknowledged"
	c.dictionary("", rest, own)
	return c.found
}

// CheckProfile checks a configuration profile that isn't signed: its top level,
// and each payload whose type the schema folder describes.
func (s *Schema) CheckProfile(body []byte) []Violation {
	c := &checker{platform: s.platform, message: "profile"}
	dict, err := decode(body)
	if err != nil {
		c.report("", "%v", err)
		return c.found
	}
	top := s.profiles["TopLevel"]
	if top == nil {
		c.report("", "the schema folder does not describe profiles")
		return c.found
	}
	c.dictionary("", dict, top.PayloadKeys)
	payloads, _ := dict["PayloadContent"].([]any)
	for i, payload := range payloads {
		s.checkPayload(c, fmt.Sprintf("PayloadContent[%d]", i), payload)
	}
	return c.found
}

// CheckMachineInfo checks what a device says of itself, without its signature, when it asks for its enrollment profile.
func (s *Schema) CheckMachineInfo(body []byte) []Violation {
	c := &checker{platform: s.platform, message: "machine information"}
	dict, err := decode(body)
	switch {
	case err != nil:
		c.report("", "%v", err)
	case s.machine == nil:
		c.report("", "the schema folder does not describe machine information")
	default:
		c.dictionary("", dict, s.machine.PayloadKeys)
	}
	return c.found
}

// CheckError checks the body of a 403, in JSON, by its code.
func (s *Schema) CheckError(body []byte) []Violation {
	c := &checker{platform: s.platform, message: "error"}
	var dict map[string]any
	if err := json.Unmarshal(body, &dict); err != nil {
		c.report("", "%v", err)
		return c.found
	}
	name, _ := dict["code"].(string)
	if d := c.document("error "+name, "code", s.errors[name]); d != nil {
		c.dictionary("", dict, d.PayloadKeys)
	}
	return c.found
}

func (s *Schema) checkPayload(c *checker, path string, payload any) {
	dict, _ := payload.(map[string]any)
	name, _ := dict["PayloadType"].(string)
	d, common := s.profiles[name], s.profiles["CommonPayloadKeys"]
	if d == nil || common == nil {
		return // one of the many payloads that the folder leaves out
	}
	c.dictionary(path, dict, slices.Concat(common.PayloadKeys, d.PayloadKeys))
}

func split(dict map[string]any, keys []*key) (listed, rest map[string]any) {
	listed, rest = map[string]any{}, map[string]any{}
	for name, value := range dict {
		if len(candidates(keys, name)) > 0 {
			listed[name] = value
		} else {
			rest[name] = value
		}
	}
	return listed, rest
}

// document settles what the message is called, and reports one that Apple doesn't know or the platform doesn't have.
func (c *checker) document(message, path string, d *document) *document {
	c.message = message
	if d == nil {
		c.report(path, "unknown message")
		return nil
	}
	if reason := c.platform.unavailable(d.Payload.SupportedOS); reason != "" {
		c.report(path, "message is %s", reason)
	}
	return d
}

func (c *checker) identity(dict map[string]any) {
	id := "UDID"
	if c.platform.UserEnrollment {
		id = "EnrollmentID"
	}
	if v, ok := dict[id].(string); !ok || v == "" {
		c.report(id, "the sender names itself by no %s", id)
	}
}
