package enroll

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/netip"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/muster-mdm/muster/api/intake"
	"github.com/muster-mdm/muster/api/throttle"
	"github.com/muster-mdm/muster/apple/identity"
	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/store"
)

// Entrants are devices that are switched on and ask to enroll.
type Entrants interface {
	// Entrant is what decides whether a device may. It fails with [provision.DeviceNotFound].
	Entrant(ctx context.Context, serial string) (store.Entrant, error)
	// EnrolledUnder is the serial number of the device that is managed under a UDID; "" = none.
	EnrolledUnder(ctx context.Context, udid string) (string, error)
}

// DoorConfig holds the settings of a [Door].
type DoorConfig struct {
	// Machines tell Apple's devices from anybody else; nil = nothing can, and all are refused.
	Machines *identity.Machines
	// MinimumOS that devices must have.
	MinimumOS MinimumOS
	// TrustedProxies say in X-Forwarded-For for whom they speak.
	TrustedProxies []netip.Prefix
	// Title is what problems with a code are headed with: the REST interface's table.
	Title func(provision.Code) string
	// Log and Metrics may be nil.
	Log     *slog.Logger
	Metrics prometheus.Registerer
}

// Door is the url of device profiles: a device that is switched on, and was told by Apple to enroll here, gets its enrollment
// profile. It answers POST of a signed MachineInfo. Whatever comes, it changes nothing but to keep the hash of a challenge that
// it handed out.
type Door struct {
	enroller  *Enroller
	entrants  Entrants
	config    DoorConfig
	addresses *throttle.Throttle
	serials   *throttle.Throttle
	outcomes  *prometheus.CounterVec
}

// A school that unpacks a thousand devices comes from one address, a device that lost its answer comes again after seconds.
const (
	perAddress, addressBurst = 50, 200
	perSerial, serialBurst   = 0.2, 6
)

// NewDoor returns the door to an enroller.
func NewDoor(e *Enroller, entrants Entrants, c DoorConfig) (*Door, error) {
	if c.Log == nil {
		c.Log = slog.Default()
	}
	d := &Door{
		enroller: e, entrants: entrants, config: c,
		addresses: throttle.New(perAddress, addressBurst), serials: throttle.New(perSerial, serialBurst),
		outcomes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "muster_enrollment_requests_total", Help: "Requests for an enrollment profile by devices that were switched on, by what came of them.",
		}, []string{"outcome"}),
	}
	if c.Metrics != nil {
		if err := c.Metrics.Register(d.outcomes); err != nil {
			return nil, err
		}
	}
	if c.Machines != nil && c.Machines.Insecure() {
		c.Log.Warn("INSECURE: machine information is believed from anybody; never let real devices enroll here", "setting", "MUSTER_ENROLL_INSECURE_MACHINE_INFO")
	}
	return d, nil
}

const configMedia = "application/x-apple-aspen-config"

// ServeHTTP gives a device its profile, or says why not.
func (d *Door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		d.Refuse(w, r, identity.MachineInfo{}, provision.Errorf(provision.MethodNotAllowed, "Devices that ask for their profile use POST."))
		return
	}
	m, err := d.machine(w, r)
	if err == nil {
		var profile []byte
		if profile, err = d.admit(r, m); err == nil {
			d.Give(w, r, m, profile)
			return
		}
	}
	d.Refuse(w, r, m, err)
}

// Give answers a request with a device's profile.
func (d *Door) Give(w http.ResponseWriter, r *http.Request, m identity.MachineInfo, profile []byte) {
	d.outcomes.WithLabelValues("profile").Inc()
	d.config.Log.InfoContext(r.Context(), "enrollment profile given", "serial", m.Serial, "product", m.Product, "os_version", m.OSVersion)
	w.Header().Set("Content-Type", configMedia)
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if _, err := w.Write(profile); err != nil { //nolint:gosec // a profile for a device, never a page
		d.config.Log.DebugContext(r.Context(), "answer to a device lost", "error", err)
	}
}

// maxMachineInfo bounds a request; with its certificates one has some 5 KiB.
const maxMachineInfo = 64 << 10

// machine finds out which device sends a request.
func (d *Door) machine(w http.ResponseWriter, r *http.Request) (identity.MachineInfo, error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxMachineInfo))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return identity.MachineInfo{}, intake.TooLarge("The request", maxMachineInfo)
	case err != nil:
		return identity.MachineInfo{}, provision.Errorf(provision.MachineInfoRefused, "The request can't be read to its end.")
	}
	return d.open(r, func(m *identity.Machines) (identity.MachineInfo, error) { return m.Open(body) })
}

// OpenHeader finds out which device a web view is in, by its first request. It fails with [provision.MachineInfoRefused],
// [provision.AnchorsMissing], and when the device asks too often; [Door.Refuse] knows what to say.
func (d *Door) OpenHeader(r *http.Request) (identity.MachineInfo, error) {
	return d.open(r, func(m *identity.Machines) (identity.MachineInfo, error) {
		return m.OpenHeader(r.Header.Get(deviceInfoHeader))
	})
}

// open reads a signed MachineInfo, unless the caller, or then the device, asks too often.
func (d *Door) open(r *http.Request, read func(*identity.Machines) (identity.MachineInfo, error)) (identity.MachineInfo, error) {
	if wait := d.addresses.Wait(d.addressOf(r)); wait > 0 {
		return identity.MachineInfo{}, tooOftenError{wait}
	}
	if d.config.Machines == nil {
		return identity.MachineInfo{}, provision.Errorf(provision.AnchorsMissing, "This server can't tell Apple's devices from others: MUSTER_ENROLL_ANCHORS_FILE isn't set.")
	}
	m, err := read(d.config.Machines)
	if err != nil {
		return m, err
	}
	if d.config.Machines.Insecure() {
		d.config.Log.WarnContext(r.Context(), "INSECURE: machine information believed without a certificate of Apple's", "serial", m.Serial, "remote", r.RemoteAddr)
	}
	if wait := d.serials.Wait(m.Serial); wait > 0 {
		return m, tooOftenError{wait}
	}
	return m, nil
}
