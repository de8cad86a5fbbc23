package settings

import (
	"fmt"
	"slices"
	"time"
)

// Database says where PostgreSQL is.
type Database struct {
	DatabaseURL string `env:"DATABASE_URL" secret:"true" help:"PostgreSQL connection URL"`
}

// Check refuses settings without a database.
func (d Database) Check() error {
	if d.DatabaseURL == "" {
		return fmt.Errorf("no database is set: give --database-url, %sDATABASE_URL or %sDATABASE_URL_FILE", Prefix, Prefix)
	}
	return nil
}

// Temporal says where Temporal is.
type Temporal struct {
	TemporalAddress   string `env:"TEMPORAL_ADDRESS" envDefault:"127.0.0.1:7233" help:"host:port of Temporal's frontend"`
	TemporalNamespace string `env:"TEMPORAL_NAMESPACE" envDefault:"default" help:"Temporal namespace"`
	TaskQueue         string `env:"TASK_QUEUE" envDefault:"devices" help:"Temporal task queue of the devices' workflows"`
}

// Log says how to log.
type Log struct {
	LogLevel  string `env:"LOG_LEVEL" envDefault:"info" help:"debug, info, warn or error"`
	LogFormat string `env:"LOG_FORMAT" envDefault:"text" help:"text or json"`
}

// Roles of a muster process.
const (
	RoleAPI    = "api"
	RoleMDM    = "mdm"
	RoleWorker = "worker"
)

// Serve are the settings of muster serve.
type Serve struct {
	Database
	Temporal
	Log
	Enrolling
	DatabaseMaxConns int      `env:"DATABASE_MAX_CONNS" envDefault:"20" help:"most connections in each of the two pools"`
	Roles            []string `env:"ROLES" envDefault:"api,mdm,worker" help:"what this process does: api, mdm, worker"`
	Listen           string   `env:"LISTEN" envDefault:"127.0.0.1:8080" help:"address to listen on"`
	PublicURL        string   `env:"PUBLIC_URL" help:"URL under which devices reach this service; default http(s)://LISTEN"`
	Organization     string   `env:"ORGANIZATION" envDefault:"Muster" help:"name shown in enrollment profiles"`

	TLSCertFile     string   `env:"TLS_CERT_FILE" help:"server certificate chain (PEM); empty = plain HTTP, behind a proxy"`
	TLSKeyFile      string   `env:"TLS_KEY_FILE" help:"key of the server certificate (PEM)"`
	ProxyCertHeader string   `env:"PROXY_CERT_HEADER" help:"header in which a trusted proxy passes the device's certificate"`
	TrustedProxies  []string `env:"TRUSTED_PROXIES" help:"addresses or CIDRs of proxies whose certificate header counts"`

	APNsURL      string `env:"APNS_URL" help:"another push service than Apple's, for rehearsals"`
	APNsCAFile   string `env:"APNS_CA_FILE" help:"CA certificates (PEM) of that push service"`
	PushCertFile string `env:"PUSH_CERT_FILE" help:"MDM push certificate (PEM) to store at start"`
	PushKeyFile  string `env:"PUSH_KEY_FILE" help:"key of the MDM push certificate (PEM)"`

	AssignmentRequirement string          `env:"ASSIGNMENT_REQUIREMENT" envDefault:"user" help:"user, or user_or_group"`
	SetupHold             time.Duration   `env:"SETUP_HOLD" envDefault:"30m" help:"longest hold in Setup Assistant"`
	SetupHoldPolicy       string          `env:"SETUP_HOLD_POLICY" envDefault:"release" help:"release, release_required_only or keep_and_alert when that time is up"`
	RetryAfter            []time.Duration `env:"RETRY_AFTER" envDefault:"1m,5m,15m,1h,6h,24h" help:"pauses before failed items are tried again"`
	NudgeAfter            []time.Duration `env:"NUDGE_AFTER" envDefault:"15m,1h,6h,24h" help:"pauses before a silent device is pushed again; the last repeats"`
	PollFirst             time.Duration   `env:"POLL_FIRST" envDefault:"5s" help:"first pause before asking after an installing app; doubles"`
	PollMost              time.Duration   `env:"POLL_MOST" envDefault:"5m" help:"longest pause before asking after an installing app"`
	RepushFirst           time.Duration   `env:"REPUSH_FIRST" envDefault:"1m" help:"first pause before an unanswered push is repeated; doubles"`
	RepushMost            time.Duration   `env:"REPUSH_MOST" envDefault:"6h" help:"longest pause before an unanswered push is repeated"`
	NotNowPause           time.Duration   `env:"NOT_NOW_PAUSE" envDefault:"1m" help:"pause before a device that answered NotNow is pushed"`

	IdentityValidity time.Duration `env:"IDENTITY_VALIDITY" envDefault:"17520h" help:"how long the certificates last that devices identify themselves by"`
	IdentityGrace    time.Duration `env:"IDENTITY_GRACE" envDefault:"0s" help:"how long they are let in after that"`

	RatePerSecond int `env:"RATE_PER_SECOND" envDefault:"50" help:"requests a second that one API token may make"`
	RateBurst     int `env:"RATE_BURST" envDefault:"200" help:"requests that one API token may make at once"`

	BootstrapToken string `env:"BOOTSTRAP_TOKEN" secret:"true" help:"an admin's API token that is valid from the first start"`
}

// Check refuses what can't work, in a sentence that names the setting.
func (s Serve) Check() error {
	if err := s.Database.Check(); err != nil {
		return err
	}
	for _, r := range s.Roles {
		if !slices.Contains([]string{RoleAPI, RoleMDM, RoleWorker}, r) {
			return fmt.Errorf("%sROLES: %q is no role; take api, mdm, worker", Prefix, r)
		}
	}
	if len(s.Roles) == 0 {
		return fmt.Errorf("%sROLES is empty; take api, mdm, worker", Prefix)
	}
	if (s.TLSCertFile == "") != (s.TLSKeyFile == "") {
		return fmt.Errorf("%sTLS_CERT_FILE and %sTLS_KEY_FILE go together; one of them is missing", Prefix, Prefix)
	}
	if (s.PushCertFile == "") != (s.PushKeyFile == "") {
		return fmt.Errorf("%sPUSH_CERT_FILE and %sPUSH_KEY_FILE go together; one of them is missing", Prefix, Prefix)
	}
	if s.ProxyCertHeader != "" && len(s.TrustedProxies) == 0 {
		return fmt.Errorf("%sPROXY_CERT_HEADER needs %sTRUSTED_PROXIES: anybody could send the header otherwise", Prefix, Prefix)
	}
	if err := s.Enrolling.Check(); err != nil {
		return err
	}
	if err := s.checkIdentities(); err != nil {
		return err
	}
	return s.checkWords()
}

// shortestIdentity leaves a device time to enroll by its certificate at all.
const shortestIdentity = 24 * time.Hour

// checkIdentities takes a validity of zero, which means the authority's own default.
func (s Serve) checkIdentities() error {
	if s.IdentityValidity != 0 && s.IdentityValidity < shortestIdentity {
		return fmt.Errorf("%sIDENTITY_VALIDITY is %s; a certificate must last 24h at least", Prefix, s.IdentityValidity)
	}
	if s.IdentityGrace < 0 {
		return fmt.Errorf("%sIDENTITY_GRACE is %s; it can't be negative", Prefix, s.IdentityGrace)
	}
	return nil
}

func (s Serve) checkWords() error {
	for _, word := range []struct {
		variable, value string
		allowed         []string
	}{
		{"ASSIGNMENT_REQUIREMENT", s.AssignmentRequirement, []string{"user", "user_or_group"}},
		{"SETUP_HOLD_POLICY", s.SetupHoldPolicy, []string{"release", "release_required_only", "keep_and_alert"}},
		{"LOG_LEVEL", s.LogLevel, []string{"debug", "info", "warn", "error"}},
		{"LOG_FORMAT", s.LogFormat, []string{"text", "json"}},
	} {
		if !slices.Contains(word.allowed, word.value) {
			return fmt.Errorf("%s%s is %q; it must be one of %v", Prefix, word.variable, word.value, word.allowed)
		}
	}
	return nil
}

// Has reports whether the process plays a role.
func (s Serve) Has(role string) bool { return slices.Contains(s.Roles, role) }
