package settings

import (
	"fmt"
	"net/url"
	"time"

	"github.com/muster-mdm/muster/api/enroll"
)

// Enrolling are the settings of what a device meets between its power-on and its first check-in, and of its certificate.
type Enrolling struct {
	EnrollAnchorsFile         string   `env:"ENROLL_ANCHORS_FILE" help:"certificate of the Apple iPhone Device CA (PEM), by which devices that are switched on are told from others"`
	EnrollInsecureMachineInfo bool     `env:"ENROLL_INSECURE_MACHINE_INFO" help:"believe anybody to be a device of Apple's: for simulators only"`
	EnrollMinimumOS           []string `env:"ENROLL_MINIMUM_OS" help:"oldest versions that may enroll, such as ios=17.4,macos=14.4"`

	ProfileSignCertFile string `env:"PROFILE_SIGN_CERT_FILE" help:"certificate chain (PEM) that signs enrollment profiles; default that of TLS, if any"`
	ProfileSignKeyFile  string `env:"PROFILE_SIGN_KEY_FILE" help:"key of that certificate (PEM)"`

	IdentityRenewBefore time.Duration `env:"IDENTITY_RENEW_BEFORE" envDefault:"8760h" help:"how long before their end devices' certificates are renewed; 0 = never"`
	SCEPURL             string        `env:"SCEP_URL" help:"another SCEP service than Muster's own, to issue devices' certificates"`
	SCEPChallenge       string        `env:"SCEP_CHALLENGE" secret:"true" help:"challenge of that SCEP service"`
	SCEPCAFile          string        `env:"SCEP_CA_FILE" help:"CA certificates (PEM) of that SCEP service"`

	ReenrollKeepsAssignment bool `env:"REENROLL_KEEPS_ASSIGNMENT" envDefault:"true" help:"whether a device that enrolls anew keeps its user and groups"`
}

// Check refuses what can't work, in a sentence that names the setting.
func (e Enrolling) Check() error {
	if e.EnrollAnchorsFile != "" && e.EnrollInsecureMachineInfo {
		return fmt.Errorf("%sENROLL_INSECURE_MACHINE_INFO believes anybody, so %sENROLL_ANCHORS_FILE is of no use; set one of them", Prefix, Prefix)
	}
	if (e.ProfileSignCertFile == "") != (e.ProfileSignKeyFile == "") {
		return fmt.Errorf("%sPROFILE_SIGN_CERT_FILE and %sPROFILE_SIGN_KEY_FILE go together; one of them is missing", Prefix, Prefix)
	}
	if _, err := enroll.ParseMinimumOS(e.EnrollMinimumOS); err != nil {
		return fmt.Errorf("%sENROLL_MINIMUM_OS: %w", Prefix, err)
	}
	if e.IdentityRenewBefore < 0 {
		return fmt.Errorf("%sIDENTITY_RENEW_BEFORE is %s; it can't be negative", Prefix, e.IdentityRenewBefore)
	}
	return e.checkSCEP()
}

func (e Enrolling) checkSCEP() error {
	given := 0
	for _, value := range []string{e.SCEPURL, e.SCEPChallenge, e.SCEPCAFile} {
		if value != "" {
			given++
		}
	}
	if given != 0 && given != 3 {
		return fmt.Errorf("%sSCEP_URL, %sSCEP_CHALLENGE and %sSCEP_CA_FILE go together; one of them is missing", Prefix, Prefix, Prefix)
	}
	if u, err := url.Parse(e.SCEPURL); err != nil || given != 0 && (u.Host == "" || u.Scheme != "https" && u.Scheme != "http") {
		return fmt.Errorf("%sSCEP_URL is %q; give an http or https address", Prefix, e.SCEPURL)
	}
	return nil
}
