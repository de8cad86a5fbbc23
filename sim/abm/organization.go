package abm

import (
	"crypto/rand"
	"sync"
	"time"
)

const (
	defaultSessionLife  = 3 * time.Minute
	defaultActivityTime = 3 * time.Second
)

// Config describes an organisation at its founding. The zero Config is a good one.
type Config struct {
	Seed     uint64
	Name     string // of the organisation
	Domain   string // of its e-mail addresses
	AdminID  string // the person who downloads server tokens
	School   bool   // Apple School Manager: org_type edu
	Now      func() time.Time
	Quirks   Quirks
	Lifetime Lifetimes
}

// Lifetimes are how long things last; zero fields take Apple's values, or a usual one where Apple doesn't say.
type Lifetimes struct {
	Session  time.Duration // of an X-ADM-Auth-Session
	Activity time.Duration // that an organisation device activity takes
	Token    time.Duration // of a server token: a year
	Access   time.Duration // of a Business API access token: an hour
}

// Quirks choose between behaviours of which Apple's documents leave open, or reports contradict, which one is met.
type Quirks struct {
	QuotedErrors         bool `json:"quoted_errors"`          // error codes come in double quotes
	TokenErrorsForbidden bool `json:"token_errors_forbidden"` // token_rejected and its like come as 403 instead of 401
	ExhaustedWhenIdle    bool `json:"exhausted_when_idle"`    // a sync with nothing new answers EXHAUSTED_CURSOR
	ReturnAsModified     bool `json:"return_as_modified"`     // a device that comes back to a server is modified, not added
	SilentRelease        bool `json:"silent_release"`         // a release leaves no deleted record
}

// Organization is the virtual Apple Business Manager. Its methods may be called from several goroutines.
type Organization struct {
	cfg    Config
	chance chance

	mu         sync.Mutex
	offset     time.Duration
	quirks     Quirks
	unsigned   bool // the terms and conditions
	seq        int64
	generated  int // serials drawn so far
	secret     []byte
	servers    map[string]*server
	ranking    []*server // in the order of creation
	devices    map[string]*device
	order      []*device // in the order of addition
	profiles   map[string]*profile
	accounts   map[string]*account
	activities map[string]*activity
	running    []*activity
	started    int // activities so far
	faults     faultPlan
	counts     Counts
}

// New founds an organisation without servers, devices and faults, with its terms signed.
func New(cfg Config) *Organization {
	setDefault(&cfg.Name, "Virtual Organization")
	setDefault(&cfg.Domain, "example.org")
	setDefault(&cfg.AdminID, "admin@"+cfg.Domain)
	setDefault(&cfg.Lifetime.Session, defaultSessionLife)
	setDefault(&cfg.Lifetime.Activity, defaultActivityTime)
	setDefault(&cfg.Lifetime.Token, 365*24*time.Hour)
	setDefault(&cfg.Lifetime.Access, time.Hour)
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	secret := make([]byte, 32)
	_, _ = rand.Read(secret) // never fails, by its contract
	return &Organization{
		cfg: cfg, chance: chance{seed: cfg.Seed}, quirks: cfg.Quirks, secret: secret,
		servers: map[string]*server{}, devices: map[string]*device{}, profiles: map[string]*profile{},
		accounts: map[string]*account{}, activities: map[string]*activity{},
		faults: faultPlan{drawn: map[string]int{}, until: map[string]time.Time{}},
		counts: newCounts(),
	}
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// now is the organisation's own time, which Jump moves. The caller holds mu.
func (o *Organization) now() time.Time { return o.cfg.Now().Add(o.offset).UTC() }

// lock takes mu and first lets happen what is due by now.
func (o *Organization) lock() func() {
	o.mu.Lock()
	o.settle(o.now())
	return o.mu.Unlock
}
