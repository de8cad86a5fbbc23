package activities

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/muster-mdm/muster/apple/abm"
	"github.com/muster-mdm/muster/apple/dep"
	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/store"
)

// Lister lists a server's devices and tells whose the server is: Apple's device assignment API.
type Lister interface {
	Account(ctx context.Context) (dep.Account, error)
	Fetch(ctx context.Context, cursor string, limit int) (dep.Page, error)
	Sync(ctx context.Context, cursor string, limit int) (dep.Page, error)
}

// Profiler says what devices are told that are switched on, and lets them go: Apple's device assignment API.
type Profiler interface {
	DefineProfile(ctx context.Context, fields json.RawMessage) (uuid string, err error)
	AssignProfile(ctx context.Context, uuid string, serials []string) (dep.Results, error)
	Disown(ctx context.Context, serials []string) (dep.Results, error)
}

// DEP is Apple's device assignment API for one server.
type DEP interface {
	Lister
	Profiler
}

// Business is Apple's Business API for one organisation.
type Business interface {
	OrgDevice(ctx context.Context, serial string) (abm.OrgDevice, error)
	AssignedServer(ctx context.Context, serial string) (serverID string, err error)
	OrgDevices(ctx context.Context, cursor string, limit int) (devices []abm.OrgDevice, next string, err error)
	StartActivity(ctx context.Context, kind abm.ActivityKind, serverID string, serials []string) (id string, err error)
	Activity(ctx context.Context, id string) (abm.ActivityState, error)
}

// ABMServers keeps what is known of the servers themselves.
type ABMServers interface {
	ABMSecrets(ctx context.Context, name string) (store.ABMSecrets, error)
	ABMFailed(ctx context.Context, server store.ABMServer, cause provision.BlockCause, detail string) (blocked bool, err error)
	ABMWorked(ctx context.Context, server string) error
	ABMThrottled(ctx context.Context, server string, pause time.Duration) error
	NoteABMAccount(ctx context.Context, name string, a store.ABMAccount) error
}

// ABMList keeps what the servers list, page by page.
type ABMList interface {
	NextABMTask(ctx context.Context, server string) (store.ABMTask, error)
	TakeABMPage(ctx context.Context, p store.ABMPage) (store.ABMTaken, error)
	ConcludeABMFetch(ctx context.Context, task store.ABMTask) (next store.ABMTask, missing int, err error)
	RestartABMFetch(ctx context.Context, t store.ABMTask, why string) error
}

// ABMWhereabouts keeps where devices came from and went to.
type ABMWhereabouts interface {
	UnsettledABM(ctx context.Context, server string, before time.Time, skip, limit int) ([]string, error)
	SettleABM(ctx context.Context, server string, meanings map[string]provision.ABMState) error
	NoteABMOrigins(ctx context.Context, server string, origins []store.ABMOrigin) error
	NoteABM(ctx context.Context, server, note string) error
}

// ABMDutyBook keeps what Apple is to be asked for.
type ABMDutyBook interface {
	ClaimABMDuties(ctx context.Context, server string, limit int) ([]store.ABMDuty, error)
	AnswerABMDuties(ctx context.Context, answers []store.ABMAnswer) error
	ABMDutyDelay
	NextABMDuties(ctx context.Context) (map[string]time.Time, error)
}

// ABMDutyDelay gives claimed duties back for later.
type ABMDutyDelay interface {
	PostponeABMDuties(ctx context.Context, duties []store.ABMDuty, pause time.Duration) error
	BlockABMDuties(ctx context.Context, duties []store.ABMDuty, pause time.Duration) error
	NoteABMActivity(ctx context.Context, duties []store.ABMDuty, activity string, look time.Duration) error
}

// ABMProfiles keeps device profiles and where they are defined.
type ABMProfiles interface {
	DeviceProfile(ctx context.Context, name string) (store.DeviceProfile, error)
	ProfileDefinition(ctx context.Context, profile string, content int, server string) (uuid string, err error)
	NoteProfileDefinition(ctx context.Context, d store.ProfileDefinition) error
}

// ABM is Apple Business Manager, or Apple School Manager: what its servers list, and what is asked of them for devices.
type ABM struct {
	Servers     ABMServers
	List        ABMList
	Whereabouts ABMWhereabouts
	Duties      ABMDutyBook
	Profiles    ABMProfiles
	// Connect returns what talks to Apple for a server: no DEP when it isn't linked, no Business when it has no API account.
	Connect func(store.ABMSecrets) (DEP, Business, error)
	// Now is the store's clock, by which it keeps throttles.
	Now    func() time.Time
	Config ABMConfig
}

// ABMConfig are the choices of [ABM]; zero values mean the defaults.
type ABMConfig struct {
	Addresses provision.EnrollmentAddresses
	// PageSize is how many devices a page has; default and most 1,000.
	PageSize int
	// MissingAfter is how long a device may be missing before it counts as unassigned, where Apple can't be asked; default a
	// day.
	MissingAfter time.Duration
	// RetryAfter are the pauses before Apple is asked again for what it did not do; the last repeats.
	RetryAfter []time.Duration
	// Poll is the pause between two looks at an activity of the Business API; default 15 seconds.
	Poll time.Duration
}

// Complete returns the choices with the defaults filled in.
func (c ABMConfig) Complete() ABMConfig {
	if c.PageSize == 0 {
		c.PageSize = dep.MaxDevices
	}
	if c.MissingAfter == 0 {
		c.MissingAfter = 24 * time.Hour
	}
	if c.RetryAfter == nil {
		// What fails at once is mostly a device that Apple knows only in a moment, what fails for long needs a person.
		c.RetryAfter = []time.Duration{time.Minute, 5 * time.Minute, 15 * time.Minute, time.Hour, 6 * time.Hour}
	}
	if c.Poll == 0 {
		c.Poll = 15 * time.Second
	}
	return c
}

// Why nothing is asked for a server although nothing is wrong.
const (
	ABMPaused   = "paused"
	ABMUnlinked = "unlinked"
	ABMDeleted  = "deleted"
)

// ABMHalt is why Apple can't be asked, or asked more, just now. The zero ABMHalt says that it can.
type ABMHalt struct {
	// Wait is how long Apple asked to be left alone.
	Wait time.Duration `json:"wait,omitempty"`
	// Blocked is what must be mended first.
	Blocked provision.BlockCause `json:"blocked,omitempty"`
	// Idle: [ABMPaused], [ABMUnlinked] or [ABMDeleted].
	Idle string `json:"idle,omitempty"`
}

func (h ABMHalt) set() bool { return h != ABMHalt{} }

// apple is a server while an activity asks for it.
type apple struct {
	*ABM
	server   store.ABMServer
	dep      DEP
	business Business
}

// reach returns what talks to Apple for a server, unless Apple asked to be left alone.
func (a *ABM) reach(ctx context.Context, server string) (*apple, ABMHalt, error) {
	secrets, err := a.Servers.ABMSecrets(ctx, server)
	switch {
	case provision.CodeOf(err) == provision.NotFound:
		return nil, ABMHalt{Idle: ABMDeleted}, nil
	case err != nil:
		return nil, ABMHalt{}, told(ctx, err)
	}
	if until := secrets.Server.ThrottledUntil; until != nil {
		if left := until.Sub(a.Now()); left > 0 {
			return nil, ABMHalt{Wait: left}, nil
		}
	}
	d, b, err := a.Connect(secrets)
	if err != nil {
		return nil, ABMHalt{}, told(ctx, err)
	}
	return &apple{ABM: a, server: secrets.Server, dep: d, business: b}, ABMHalt{}, nil
}

// usable says why the device assignment API needn't be asked: a token that ended by its date is known to be of no use.
func (a *apple) usable(ctx context.Context) (ABMHalt, error) {
	if a.dep == nil {
		return ABMHalt{Idle: ABMUnlinked}, nil
	}
	ends := a.server.TokenExpiresAt
	if ends == nil || a.Now().Before(*ends) {
		return ABMHalt{}, nil
	}
	detail := fmt.Sprintf("The server token ended on %s.", ends.UTC().Format(time.DateOnly))
	if _, err := a.Servers.ABMFailed(ctx, a.server, provision.BlockedTokenExpired, detail); err != nil {
		return ABMHalt{}, told(ctx, err)
	}
	return ABMHalt{Blocked: provision.BlockedTokenExpired}, nil
}
