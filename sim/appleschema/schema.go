// Package appleschema checks MDM messages against a folder of Apple's published device-management schema.
package appleschema

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Platform is the kind of device whose messages are checked; its zero value is no platform, use IOS.
type Platform struct {
	OS             string // the schema's name: iOS, macOS, tvOS, visionOS, watchOS
	Version        string // such as 17.4; empty means that versions are not compared
	UserChannel    bool   // messages of a user instead of the device
	UserEnrollment bool   // account-driven enrollment with a managed Apple Account
	SharedIPad     bool
}

// IOS is the device channel of an iPhone or iPad in device enrollment, of any version.
var IOS = Platform{OS: "iOS"}

// Schema holds the messages that a schema folder describes, seen from one platform. It is safe for concurrent use.
type Schema struct {
	platform Platform
	commands map[string]*document
	checkins map[string]*document
	profiles map[string]*document
	errors   map[string]*document
	machine  *document
}

// Load reads the folder that holds mdm/checkin, mdm/commands and, where they are there, mdm/profiles, mdm/errors and
// other/machineinfo.yaml.
// The schema it returns speaks about IOS.
func Load(dir string) (*Schema, error) {
	s := &Schema{platform: IOS}
	var err error
	if s.checkins, err = loadFolder(filepath.Join(dir, "mdm", "checkin"), requestType); err != nil {
		return nil, err
	}
	if s.commands, err = loadFolder(filepath.Join(dir, "mdm", "commands"), requestType); err != nil {
		return nil, err
	}
	if s.profiles, err = optional(filepath.Join(dir, "mdm", "profiles"), payloadType); err != nil {
		return nil, err
	}
	if s.errors, err = optional(filepath.Join(dir, "mdm", "errors"), errorCode); err != nil {
		return nil, err
	}
	s.machine, err = loadFile(filepath.Join(dir, "other", "machineinfo.yaml"))
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	return s, err
}

// optional is [loadFolder] for a folder that may be missing.
func optional(dir string, name func(*document) string) (map[string]*document, error) {
	documents, err := loadFolder(dir, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil //nolint:nilnil // a map without documents
	}
	return documents, err
}

// For returns the same schema seen from another platform.
func (s *Schema) For(p Platform) *Schema {
	other := *s
	other.platform = p
	return &other
}

type document struct {
	Payload struct {
		RequestType string             `yaml:"requesttype"`
		PayloadType string             `yaml:"payloadtype"`
		SupportedOS map[string]support `yaml:"supportedOS"`
	} `yaml:"payload"`
	PayloadKeys  []*key `yaml:"payloadkeys"`
	ResponseKeys []*key `yaml:"responsekeys"`
}

type key struct {
	Key         string             `yaml:"key"`
	Type        string             `yaml:"type"`
	Presence    string             `yaml:"presence"`
	RangeList   []any              `yaml:"rangelist"`
	Format      string             `yaml:"format"`
	Range       *bounds            `yaml:"range"`
	Repetition  *bounds            `yaml:"repetition"`
	SupportedOS map[string]support `yaml:"supportedOS"`
	Subkeys     []*key             `yaml:"subkeys"`
}

type bounds struct {
	Min *float64 `yaml:"min"`
	Max *float64 `yaml:"max"`
}

type support struct {
	Introduced     string  `yaml:"introduced"`
	Removed        string  `yaml:"removed"`
	DeviceChannel  *bool   `yaml:"devicechannel"`
	UserChannel    *bool   `yaml:"userchannel"`
	UserEnrollment channel `yaml:"userenrollment"`
	SharedIPad     channel `yaml:"sharedipad"`
}

type channel struct {
	Mode          string `yaml:"mode"`
	DeviceChannel *bool  `yaml:"devicechannel"`
	UserChannel   *bool  `yaml:"userchannel"`
}

func requestType(d *document) string { return d.Payload.RequestType }
func payloadType(d *document) string { return d.Payload.PayloadType }

// errorCode names an error by the only code that it may have.
func errorCode(d *document) string {
	for _, k := range d.PayloadKeys {
		if k.Key == "code" && len(k.RangeList) == 1 {
			return fmt.Sprint(k.RangeList[0])
		}
	}
	return ""
}

func loadFolder(dir string, name func(*document) string) (map[string]*document, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("reading schema folder: %w", err)
	}
	documents := make(map[string]*document, len(entries))
	for _, entry := range entries {
		if entry.IsDir() || !strings.HasSuffix(entry.Name(), ".yaml") {
			continue
		}
		d, err := loadFile(filepath.Join(dir, entry.Name()))
		if err != nil {
			return nil, err
		}
		n := name(d)
		if n == "" {
			return nil, fmt.Errorf("schema file %s names no message", entry.Name())
		}
		if documents[n] != nil {
			return nil, fmt.Errorf("schema file %s describes %s a second time", entry.Name(), n)
		}
		documents[n] = d
	}
	if len(documents) == 0 {
		return nil, fmt.Errorf("schema folder %s holds no YAML files", dir)
	}
	return documents, nil
}

func loadFile(path string) (*document, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading schema file: %w", err)
	}
	d := &document{}
	if err := yaml.Unmarshal(text, d); err != nil {
		return nil, fmt.Errorf("parsing schema file %s: %w", filepath.Base(path), err)
	}
	return d, nil
}
