package directory

import (
	"crypto/x509"
	"errors"
	"os"
	"strings"

	"github.com/muster-mdm/muster/provision"
)

// SettingsError is all that is wrong with a directory's settings, each with its field and the code [provision.DirectoryInvalid].
type SettingsError []*provision.Error

// Error returns all sentences.
func (m SettingsError) Error() string {
	sentences := make([]string, len(m))
	for i, mistake := range m {
		sentences[i] = mistake.Message
	}
	return strings.Join(sentences, " ")
}

// Unwrap gives each mistake to errors.As, the first one first.
func (m SettingsError) Unwrap() []error {
	all := make([]error, len(m))
	for i, mistake := range m {
		all[i] = mistake
	}
	return all
}

func (m *SettingsError) add(field, format string, args ...any) {
	*m = append(*m, provision.Errorf(provision.DirectoryInvalid, format, args...).At(field))
}

func (m SettingsError) orNil() error {
	if len(m) == 0 {
		return nil
	}
	return m
}

// Trust names the authorities whose certificates count, as PEM or as a file with it. Empty means the system's own.
type Trust struct {
	CA     string
	CAFile string
}

// pool is nil for the system's authorities.
func (t Trust) pool() (*x509.CertPool, error) {
	text := []byte(t.CA)
	if t.CAFile != "" {
		raw, err := os.ReadFile(t.CAFile)
		if err != nil {
			return nil, err
		}
		text = raw
	}
	if len(text) == 0 && t.CAFile == "" {
		return nil, nil
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, errors.New("it holds no certificate in PEM")
	}
	return pool, nil
}

func (t Trust) checkTrust(m *SettingsError) {
	if t.CA != "" && t.CAFile != "" {
		m.add("ca_file", "Give the CA certificate or its file, not both.")
		return
	}
	if _, err := t.pool(); err != nil {
		field := "ca"
		if t.CAFile != "" {
			field = "ca_file"
		}
		m.add(field, "The CA certificate can't be read: %v.", err)
	}
}
