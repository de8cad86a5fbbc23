package sim

import (
	"cmp"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// Config describes one device. Only Serial is required.
type Config struct {
	Serial       string
	UDID         string // empty: derived from the serial
	ProductName  string // such as iPhone14,5
	Model        string // such as MLPF3
	ModelName    string // iPhone, iPad; empty: from the product name
	OSVersion    string
	BuildVersion string
	DeviceName   string
	// AutomatedEnrollment makes the device one that was assigned in Apple Business Manager: supervised,
	// and with Await, waiting in Setup Assistant for DeviceConfigured.
	AutomatedEnrollment bool
	Await               bool

	Seed   uint64 // decides everything that is left to chance
	Faults Faults
	// Factory gives the device an identity of Apple's kind, which it needs to be switched on; nil: it has none.
	Factory *Factory
	// Person uses the web view of a device that its user activates; nil: nobody does.
	Person Person
	// SilentRenewal has the device just use a renewed identity. Without it the device first authenticates with it, as devices
	// were seen to do; Apple promises neither.
	SilentRenewal bool
	APNs          *APNs // nil: the device can't be pushed, only its own reconnections wake it

	// Client gives the transport; an *http.Transport is needed for https with a device certificate. Its cookies
	// and redirect policy are not used. Nil: a transport of the device's own.
	Client *http.Client
	Roots  *x509.CertPool // trusted for https; nil: the system's
	// Slots, when set, bounds how many devices exchange a message at once: a slot is its capacity.
	Slots chan struct{}

	Keys    *KeyPool // nil: the device makes its key itself
	KeyBits int      // size of a key that the device makes; 0: as the SCEP payload says

	// Catalog maps an iTunesStoreID in decimal, or a manifest URL, to the bundle identifier of its app.
	Catalog        map[string]string
	FetchManifests bool // read the bundle identifier from the manifest, as real devices do

	Backoff Span             // pause before a failed request is repeated, doubling from Min to Max; zero: 200 ms to 5 s
	Now     func() time.Time // the clock of installations and of the log; nil: time.Now
}

func (c Config) complete() (Config, error) {
	c.Serial = strings.ToUpper(strings.TrimSpace(c.Serial))
	if c.Serial == "" {
		return c, errors.New("a device needs a serial number")
	}
	if c.Await && !c.AutomatedEnrollment {
		return c, errors.New("only a device in automated enrollment can await its configuration")
	}
	draw := chance{seed: c.Seed}
	id := chance{}.bytes("udid", c.Serial)
	c.UDID = cmp.Or(c.UDID, fmt.Sprintf("00008110-%X", id[:8]))
	c.ProductName = cmp.Or(c.ProductName, "iPhone14,5")
	c.Model = cmp.Or(c.Model, "MLPF3")
	c.ModelName = cmp.Or(c.ModelName, strings.TrimRight(c.ProductName, "0123456789,"))
	c.OSVersion = cmp.Or(c.OSVersion, "18.1")
	c.BuildVersion = cmp.Or(c.BuildVersion, "22B83")
	c.DeviceName = cmp.Or(c.DeviceName, c.ModelName)
	if c.Backoff == (Span{}) {
		c.Backoff = Span{Min: 200 * time.Millisecond, Max: 5 * time.Second}
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Client == nil {
		c.Client = &http.Client{Transport: http.DefaultTransport.(*http.Transport).Clone()}
	}
	// Devices of a fleet share their seed; the serial makes their luck differ.
	seed := draw.bytes("device", c.Serial)
	for i := range 8 {
		c.Seed = c.Seed<<8 | uint64(seed[i])
	}
	return c, nil
}

// Faults are what goes wrong with a device. Shares are probabilities from 0 to 1; each fault strikes the same
// subject (a command's type and target, or a check-in) at most Limit times per enrollment, so that a run ends
// whatever the shares are.
type Faults struct {
	Limit int // 0: twice

	NotNow    float64 // share of commands answered NotNow
	NotNowFor Span    // after which the device connects again by itself; zero: 1 s

	// Refuse lists targets (payload, app or book identifiers) whose installation is answered with an Error so many
	// times, for ever when negative. RefuseShare strikes any installation.
	Refuse      map[string]int
	RefuseShare float64
	// Fail lists apps and books whose installation is acknowledged and then ends as Failed so many times.
	Fail map[string]int
	// Install is how long an app or a book is under way before it is Managed.
	Install Span

	// CannotUpdate: the device can't be told to update itself while it is set up. Update is how long that takes otherwise.
	CannotUpdate bool
	Update       Span

	LoseRequest          float64 // share of requests lost on their way to the server
	LoseAnswer           float64 // share of requests that the server processed but whose response was lost
	RepeatAnswer         float64 // share of answers that are sent a second time although the first was received
	DuplicateTokenUpdate float64 // share of enrollments that send TokenUpdate twice
}
